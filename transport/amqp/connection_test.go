package amqp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// capable are client properties that announce everything.
var capable = content.Table{{Name: "capabilities", Value: content.Table{
	{Name: "connection.blocked", Value: true}, {Name: "consumer_cancel_notify", Value: true}, {Name: "triagemq.nack_reason", Value: true},
}}}

// openFake connects a peer to a server with a fake broker and opens channel 1.
func openFake(t testing.TB, config Config, client content.Table) (*peer, *fakeSession, *Server) {
	t.Helper()
	b := newFakeBroker()
	s := serve(t, b, config)
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	p.open(client)
	session := receive(t, b.sessions, "session")
	p.send((&wire.ChannelOpen{}).AppendFrame(nil, 1))
	p.await(wire.IDChannelOpenOk)
	return p, session, s
}

// frames prints frames up to and with a method.
func (p *peer) frames(until wire.MethodID) string {
	p.t.Helper()
	var out strings.Builder
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("%v awaited after\n%s%v", until, out.String(), err)
		}
		if f.Type == wire.FrameHeartbeat {
			continue
		}
		p.print(&out, f)
		if f.Type == wire.FrameMethod && isMethod(f, until) {
			return out.String()
		}
	}
}

func (p *peer) publish(n int) {
	var b []byte
	for range n {
		b = (&wire.BasicPublish{RoutingKey: []byte("q")}).AppendFrame(b, 1)
		b = wire.AppendContent(b, 1, 131072, nil, []byte("body"))
	}
	p.send(b)
}

func TestConfirmsAreGathered(t *testing.T) {
	p, session, _ := openFake(t, testConfig(), capable)
	p.send((&wire.ConfirmSelect{NoWait: true}).AppendFrame(nil, 1))
	p.publish(9)
	var ref fsm.Ref
	for n := uint64(1); n <= 9; n++ {
		ref = session.await(t, fsm.KindPublish).ref
	}
	settled := func(n uint64) fsm.Effect { return fsm.Effect{Kind: fsm.Published, Ref: ref, Confirm: n} }
	refused := settled(4)
	refused.Code, refused.Text = fsm.ResourceError, "queue 'q' is full"
	session.effects(settled(1), settled(2), settled(3), refused, settled(5),
		fsm.Effect{Kind: fsm.Returned, Ref: ref, RoutingKey: []byte("q"), Body: []byte("body")}, settled(6))
	session.effects(settled(8), settled(9)) // never so from apply; a gap must not be confirmed with the rest
	session.effects(settled(7))
	got := p.frames(wire.IDBasicReturn)
	got += p.frames(wire.IDBasicNack)
	got += p.frames(wire.IDBasicReturn)
	for range 4 {
		got += p.frames(wire.IDBasicAck)
	}
	want := `1 basic.ack DeliveryTag=3 Multiple
1 basic.return ReplyCode=506 ReplyText="RESOURCE_ERROR - queue 'q' is full" Exchange="" RoutingKey=""
1 header 0
1 basic.nack DeliveryTag=4
1 basic.ack DeliveryTag=5
1 basic.return ReplyCode=312 ReplyText=NO_ROUTE Exchange="" RoutingKey=q
1 header 4
1 body body
1 basic.ack DeliveryTag=6
1 basic.ack DeliveryTag=8
1 basic.ack DeliveryTag=9
1 basic.ack DeliveryTag=7
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestHeldPublisherStillConsumes: while an alarm holds a publisher, nothing of it is read, but its deliveries flow and its windows
// are refilled; it hears of the alarm once.
func TestHeldPublisherStillConsumes(t *testing.T) {
	config := testConfig()
	config.WindowMessages = 2
	p, session, _ := openFake(t, config, capable)
	session.mu.Lock()
	session.gate = make(chan struct{})
	session.mu.Unlock()
	session.handler.Blocked("low on memory")
	session.handler.Blocked("low on memory & low on disk")
	p.send((&wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true, NoWait: true}).AppendFrame(nil, 1))
	ref := session.await(t, fsm.KindConsume).ref
	session.effects(fsm.Effect{Kind: fsm.Replied, Ref: ref, Command: fsm.KindConsume, Consumer: "c"})
	p.publish(1)
	session.await(t, fsm.KindPublish)
	if got := p.frames(wire.IDConnectionBlocked); got != "0 connection.blocked Reason=\"low on memory & low on disk\"\n" {
		t.Fatal(got)
	}
	deliver := fsm.Effect{Kind: fsm.Delivered, Ref: ref, Consumer: "c", Body: []byte("b")}
	for tag := uint64(1); tag <= 5; tag++ {
		deliver.Tag = tag
		session.effects(deliver)
		p.await(wire.IDBasicDeliver)
		session.await(t, fsm.KindGrant)
	}
	p.publish(1) // not read
	session.handler.Blocked("")
	if got := p.frames(wire.IDConnectionUnblocked); strings.Contains(got, "blocked Reason") {
		t.Fatal(got)
	}
	select {
	case c := <-session.commands:
		t.Fatalf("read while held: %v", c.kind)
	default:
	}
	session.mu.Lock()
	close(session.gate)
	session.mu.Unlock()
	session.await(t, fsm.KindPublish)
}

// TestSlowReader: a client that does not read gets no more than its window, and stops being read.
func TestSlowReader(t *testing.T) {
	config := testConfig()
	config.OutputBytesMax = 64 << 10
	p, session, s := openFake(t, config, nil)
	p.send((&wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true, NoWait: true}).AppendFrame(nil, 1))
	consume := session.await(t, fsm.KindConsume)
	session.effects(fsm.Effect{Kind: fsm.Replied, Ref: consume.ref, Command: fsm.KindConsume, Consumer: "c"})
	deliver := fsm.Effect{Kind: fsm.Delivered, Ref: consume.ref, Consumer: "c", Body: make([]byte, 1<<20)}
	const count = 16 // more than the sockets' buffers hold
	for tag := uint64(1); tag <= count; tag++ {
		deliver.Tag = tag
		session.effects(deliver)
	}
	var c *connection
	for _, live := range s.live() {
		c = live
	}
	waitFor(t, "the reader to stop", func() bool {
		p.send(wire.AppendHeartbeat(nil))
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.readerAt == placeRoom
	})
	for range count { // now it reads, and goes on
		p.await(wire.IDBasicDeliver)
	}
	p.send((&wire.BasicAck{DeliveryTag: 1}).AppendFrame(nil, 1))
	session.await(t, fsm.KindAck)
}

// waitFor polls a condition that has no signal.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitMax)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestNodeEndsConnection(t *testing.T) {
	p, session, _ := openFake(t, testConfig(), nil)
	session.handler.End(fsm.Forced, "the node lost its place")
	if got := p.frames(wire.IDConnectionClose); got != "0 connection.close ReplyCode=320 ReplyText=\"CONNECTION_FORCED - the node lost its place\"\n" {
		t.Fatal(got)
	}
	if _, err := p.next(); !errors.Is(err, io.EOF) { // print answered with close-ok
		t.Fatal(err)
	}
	<-session.closed
}

// TestPeerThatDoesNotAnswerClose is cut off after the close time-out.
func TestPeerThatDoesNotAnswerClose(t *testing.T) {
	config := testConfig()
	config.CloseTimeout = 50 * time.Millisecond
	p, session, _ := openFake(t, config, nil)
	session.handler.End(fsm.Forced, "over")
	p.await(wire.IDConnectionClose)
	if _, err := p.next(); err == nil {
		t.Fatal("still open")
	}
}

func TestSocketLossClosesSession(t *testing.T) {
	p, session, _ := openFake(t, testConfig(), nil)
	p.conn.Close()
	receiveClosed(t, session.closed)
}

func receiveClosed(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(waitMax):
		t.Fatal("not closed")
	}
}

// TestStoppingNode: the session takes nothing any more, but its last confirms still reach the client before the end.
func TestStoppingNode(t *testing.T) {
	p, session, _ := openFake(t, testConfig(), nil)
	p.send((&wire.ConfirmSelect{NoWait: true}).AppendFrame(nil, 1))
	p.publish(1)
	ref := session.await(t, fsm.KindPublish).ref
	session.mu.Lock()
	session.over = true
	session.mu.Unlock()
	p.publish(1)
	session.effects(fsm.Effect{Kind: fsm.Published, Ref: ref, Confirm: 1})
	p.await(wire.IDBasicAck)
	session.handler.End(fsm.Forced, "shutdown")
	p.await(wire.IDConnectionClose)
}

func TestNodeThatIsNotAccepting(t *testing.T) {
	b := newFakeBroker()
	b.accepting = make(chan struct{})
	s := serve(t, b, testConfig())
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	p.send([]byte(wire.ProtocolHeader))
	waitFor(t, "the connection", func() bool { return len(s.live()) == 1 })
	close(b.accepting)
	p.await(wire.IDConnectionStart)
}

func TestRefusedSession(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&broker.Refusal{Code: fsm.NotAllowed, Text: "vhost x not found"}, `ReplyCode=530 ReplyText="NOT_ALLOWED - vhost x not found"`},
		{broker.ErrNotAccepting, "ReplyCode=320 "},
		{context.DeadlineExceeded, "ReplyCode=320 "},
	} {
		b := newFakeBroker()
		b.refusal = c.err
		p := &peer{t: t, conn: dial(t, serve(t, b, testConfig())), in: wire.NewReader()}
		out := p.play("protocol") + p.play("0 connection.start-ok Mechanism=PLAIN Response=:guest:guest") +
			p.play("0 connection.tune-ok ChannelMax=1 FrameMax=4096\n0 connection.open VirtualHost=/")
		if !strings.Contains(out, c.want) || !strings.HasSuffix(out, "closed\n") {
			t.Errorf("%v: %s", c.err, out)
		}
	}
}

// TestHalfOpenHandshakes: who says nothing is dropped at the time-out, and one address cannot take all the places.
func TestHalfOpenHandshakes(t *testing.T) {
	config := testConfig()
	config.HandshakeTimeout = 100 * time.Millisecond
	config.HandshakesPerAddress = 3
	s := serve(t, newFakeBroker(), config)
	var held []net.Conn
	for range 3 {
		held = append(held, dial(t, s))
	}
	waitFor(t, "three handshakes", func() bool { return s.Stats().ConnectionsOpened == 3 })
	if _, err := io.ReadAll(dial(t, s)); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	if s.Stats().ConnectionsRefused != 1 {
		t.Fatalf("%+v", s.Stats())
	}
	for _, conn := range held {
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
	}
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	p.open(nil)
}

func TestHeartbeats(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the two seconds that two missed heartbeats take")
	}
	s := serve(t, newFakeBroker(), testConfig())
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	begin := time.Now()
	p.play("protocol")
	p.play("0 connection.start-ok Mechanism=PLAIN Response=:guest:guest")
	p.send((&wire.ConnectionOpen{VirtualHost: "/"}).AppendFrame((&wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096, Heartbeat: 1}).AppendFrame(nil, 0), 0))
	heartbeats := 0
	for {
		f, err := p.next()
		if err != nil {
			break
		}
		if f.Type == wire.FrameHeartbeat {
			heartbeats++
		}
	}
	if silence := time.Since(begin); heartbeats < 3 || silence < 2*time.Second || silence > 4*time.Second {
		t.Fatalf("%d heartbeats, dropped after %v", heartbeats, silence)
	}
	if s.Stats().PeersStalled != 1 {
		t.Fatalf("%+v", s.Stats())
	}
}

// TestEverySplitPoint: a whole conversation comes out the same however its bytes arrive.
func TestEverySplitPoint(t *testing.T) {
	talk := []byte(wire.ProtocolHeader)
	talk = (&wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest")}).AppendFrame(talk, 0)
	talk = (&wire.ConnectionTuneOk{ChannelMax: 9, FrameMax: 4096}).AppendFrame(talk, 0)
	talk = (&wire.ConnectionOpen{VirtualHost: "/"}).AppendFrame(talk, 0)
	for channel := uint16(1); channel <= 2; channel++ {
		talk = (&wire.ChannelOpen{}).AppendFrame(talk, channel)
		talk = (&wire.BasicPublish{RoutingKey: []byte("q")}).AppendFrame(talk, channel)
		talk = wire.AppendContentHeader(talk, channel, nil, 6)
	}
	body := func(channel uint16, text string) {
		frame := wire.AppendContent(nil, channel, 4096, nil, []byte(text))
		talk = append(talk, frame[len(wire.AppendContentHeader(nil, channel, nil, 0)):]...)
	}
	body(1, "one")
	body(2, "TWO")
	body(1, "ONE")
	talk = (&wire.BasicAck{DeliveryTag: 1}).AppendFrame(talk, 1)
	body(2, "two")
	talk = (&wire.ConnectionClose{ReplyCode: 200}).AppendFrame(talk, 0)

	b := newFakeBroker()
	s := serve(t, b, testConfig())
	hear := func(cuts ...int) string {
		conn := dial(t, s)
		defer conn.Close()
		go func() {
			at := 0
			for _, cut := range append(cuts, len(talk)) {
				_, _ = conn.Write(talk[at:cut])
				at = cut
			}
		}()
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
		session := receive(t, b.sessions, "session")
		receiveClosed(t, session.closed)
		var out strings.Builder
		for len(session.commands) > 0 {
			c := <-session.commands
			fmt.Fprintf(&out, "%v %v %q\n", c.kind, c.ref, c.payload)
		}
		return out.String()
	}
	want := hear()
	if strings.Count(want, "basic.publish") != 2 || !strings.Contains(want, "oneONE") || !strings.Contains(want, "TWOtwo") {
		t.Fatal(want)
	}
	for cut := 1; cut < len(talk); cut++ {
		if got := hear(cut); got != want {
			t.Fatalf("cut at %d:\n%s\nwant\n%s", cut, got, want)
		}
	}
	var every []int
	for cut := 1; cut < len(talk); cut++ {
		every = append(every, cut)
	}
	if got := hear(every...); got != want {
		t.Fatalf("byte by byte:\n%s\nwant\n%s", got, want)
	}
}

func TestPartialMessagesAreBounded(t *testing.T) {
	config := testConfig()
	config.MessageBytesMax, config.PartialBytesMax = 1<<20, 1<<20
	p, _, _ := openFake(t, config, nil)
	for channel := uint16(2); channel <= 4; channel++ {
		b := (&wire.ChannelOpen{}).AppendFrame(nil, channel)
		b = (&wire.BasicPublish{RoutingKey: []byte("q")}).AppendFrame(b, channel)
		b = wire.AppendContentHeader(b, channel, nil, 1<<20)
		content := wire.AppendContent(nil, channel, 131072, nil, bytes.Repeat([]byte("x"), 900<<10))
		p.send(append(b, content[len(wire.AppendContentHeader(nil, channel, nil, 0)):]...))
	}
	_, arguments := p.await(wire.IDConnectionClose)
	var m wire.ConnectionClose
	if err := m.Decode(arguments); err != nil || m.ReplyCode != 506 {
		t.Fatal(m, err)
	}
}

// TestFailedChannelDropsItsPartialMessage: what had come of it is neither submitted nor kept.
func TestFailedChannelDropsItsPartialMessage(t *testing.T) {
	p, session, s := openFake(t, testConfig(), nil)
	c := s.live()[0]
	b := (&wire.BasicAck{DeliveryTag: 9}).AppendFrame(nil, 1)
	b = (&wire.BasicPublish{RoutingKey: []byte("q")}).AppendFrame(b, 1)
	p.send(wire.AppendContentHeader(b, 1, nil, 10))
	ref := session.await(t, fsm.KindAck).ref
	session.effects(fsm.Effect{Kind: fsm.ChannelFailed, Ref: ref, Command: fsm.KindAck, Code: fsm.PreconditionFailed, Text: "unknown delivery tag 9"})
	p.await(wire.IDChannelClose)
	b = wire.AppendContent(nil, 1, 131072, nil, []byte("0123456789"))
	b = (&wire.ChannelCloseOk{}).AppendFrame(b, 1)
	p.send((&wire.ChannelOpen{}).AppendFrame(b, 1))
	p.await(wire.IDChannelOpenOk)
	if next := receive(t, session.commands, "command"); next.kind != fsm.KindCloseChannel || next.ref != ref {
		t.Fatalf("%v of %v", next.kind, next.ref)
	}
	p.conn.Close()
	waitFor(t, "the end", func() bool { return len(s.live()) == 0 })
	if c.partial != 0 {
		t.Fatalf("%d bytes of unfinished messages are left", c.partial)
	}
}

// TestTagUsedAgain: a client cancels and consumes with the same tag in one write. The second consumer keeps its window, and is
// granted more as its messages leave; before, the first one's end took it away and deliveries stopped for good.
func TestTagUsedAgain(t *testing.T) {
	config := testConfig()
	config.WindowMessages = 2
	p, session, _ := openFake(t, config, nil)
	var b []byte
	for range 2 {
		b = (&wire.BasicConsume{Queue: "q", ConsumerTag: "c"}).AppendFrame(b, 1)
		b = (&wire.BasicCancel{ConsumerTag: "c"}).AppendFrame(b, 1)
	}
	p.send((&wire.BasicConsume{Queue: "q", ConsumerTag: "c"}).AppendFrame(b, 1))
	for range 3 {
		session.await(t, fsm.KindConsume)
	}
	ref := fsm.Ref{Conn: 1, Channel: 1, Incarnation: 1}
	replied := func(kind fsm.CommandKind) fsm.Effect {
		return fsm.Effect{Kind: fsm.Replied, Ref: ref, Command: kind, Consumer: "c"}
	}
	session.effects(replied(fsm.KindConsume), replied(fsm.KindCancel), replied(fsm.KindConsume), replied(fsm.KindCancel), replied(fsm.KindConsume))
	for tag := uint64(1); tag <= 4; tag++ {
		session.effects(fsm.Effect{Kind: fsm.Delivered, Ref: ref, Consumer: "c", Tag: tag, Body: []byte("b")})
		p.await(wire.IDBasicDeliver)
		session.await(t, fsm.KindGrant)
	}
}

// TestWindowsAreShared: consumers that are asked for in one write share the bytes as well as those asked for one by one.
func TestWindowsAreShared(t *testing.T) {
	config := testConfig()
	p, session, s := openFake(t, config, nil)
	var b []byte
	const count = 100
	for i := range count {
		b = (&wire.BasicConsume{Queue: "q", ConsumerTag: fmt.Sprint(i), NoWait: true}).AppendFrame(b, 1)
	}
	p.send(b)
	var ref fsm.Ref
	for range count {
		ref = session.await(t, fsm.KindConsume).ref
	}
	for i := range count {
		session.effects(fsm.Effect{Kind: fsm.Replied, Ref: ref, Command: fsm.KindConsume, Consumer: fmt.Sprint(i)})
	}
	c := s.live()[0]
	c.mu.Lock()
	defer c.mu.Unlock()
	ch, total := c.channels[1], 0
	for _, window := range ch.consumers {
		total += int(window.bytes)
	}
	if len(ch.consumers) != count || ch.windows != count || total > 7*int(config.WindowBytes) {
		t.Fatalf("%d consumers, %d windows of %d bytes in all", len(ch.consumers), ch.windows, total)
	}
}

// TestPeerThatTakesNothing: no heartbeats, nothing is read: after the stall limit the peer is dropped and its session ends.
func TestPeerThatTakesNothing(t *testing.T) {
	config := testConfig()
	config.WriteStallMax = 200 * time.Millisecond
	p, session, s := openFake(t, config, nil)
	if err := p.conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	ref := fsm.Ref{Conn: 1, Channel: 1, Incarnation: 1}
	begin := time.Now()
	for tag := uint64(1); tag <= 16; tag++ { // more than the sockets' buffers hold
		session.effects(fsm.Effect{Kind: fsm.Delivered, Ref: ref, Consumer: "c", Tag: tag, Body: make([]byte, 1<<20)})
	}
	receiveClosed(t, session.closed)
	if took := time.Since(begin); took < config.WriteStallMax || s.Stats().PeersStalled != 1 {
		t.Fatalf("dropped after %v, %+v", took, s.Stats())
	}
}

// TestSlowPeerIsNotDropped: whoever takes a little within each stall limit may go on for as long as it needs.
func TestSlowPeerIsNotDropped(t *testing.T) {
	config := testConfig()
	config.WriteStallMax = 400 * time.Millisecond
	p, session, s := openFake(t, config, nil)
	ref := fsm.Ref{Conn: 1, Channel: 1, Incarnation: 1}
	const bodyBytes = 8 << 20
	session.effects(fsm.Effect{Kind: fsm.Delivered, Ref: ref, Consumer: "c", Tag: 1, Body: make([]byte, bodyBytes)})
	begin, taken := time.Now(), 0
	piece := make([]byte, 256<<10)
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	for taken < bodyBytes {
		<-ticker.C
		n, err := io.ReadFull(p.conn, piece)
		if taken += n; err != nil {
			t.Fatalf("after %v and %d bytes: %v", time.Since(begin), taken, err)
		}
	}
	if took := time.Since(begin); took < 2*config.WriteStallMax || s.Stats().PeersStalled != 0 {
		t.Fatalf("taken within %v, %+v", took, s.Stats())
	}
}

// TestAnnouncedCapabilities: clients gate their features on these, so all of RabbitMQ's are there, and each is carried out.
func TestAnnouncedCapabilities(t *testing.T) {
	want := []string{
		"authentication_failure_close", "basic.nack", "connection.blocked", "consumer_cancel_notify", "consumer_priorities", "direct_reply_to",
		"exchange_exchange_bindings", "per_consumer_qos", "publisher_confirms",
	}
	if got := slices.Sorted(slices.Values(capabilities)); !slices.Equal(got, want) {
		t.Errorf("%v are announced, want %v", got, want)
	}
}
