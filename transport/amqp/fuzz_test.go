package amqp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// FuzzSASL: a response is refused, or means what writing the two again would say.
func FuzzSASL(f *testing.F) {
	f.Add("PLAIN", []byte("\x00guest\x00guest"))
	f.Add("PLAIN", []byte("authzid\x00guest\x00"))
	f.Add("AMQPLAIN", content.Table{{Name: "LOGIN", Value: "guest"}, {Name: "PASSWORD", Value: "guest"}}.Append(nil)[4:])
	f.Add("AMQPLAIN", content.Table{{Name: "LOGIN", Value: int32(1)}}.Append(nil)[4:])
	f.Add("EXTERNAL", []byte(nil))
	f.Fuzz(func(t *testing.T, mechanism string, response []byte) {
		user, password, err := credentials(mechanism, response)
		var x *exception
		switch {
		case err != nil:
			if !errors.As(err, &x) || x.code != accessRefused && x.code != commandInvalid {
				t.Fatal(err)
			}
		case mechanism == "PLAIN":
			if !strings.HasSuffix(string(response), "\x00"+user+"\x00"+password) {
				t.Fatalf("%q is %q and %q", response, user, password)
			}
		default:
			fields := content.Table{{Name: "LOGIN", Value: user}, {Name: "PASSWORD", Value: password}}.Append(nil)[4:]
			if u, p, err := credentials("AMQPLAIN", fields); u != user || p != password || err != nil {
				t.Fatalf("%q and %q became %q and %q, %v", user, password, u, p, err)
			}
		}
	})
}

// bytesConn is a socket whose peer has said all that it will say.
type bytesConn struct {
	in  bytes.Reader
	out bytes.Buffer
}

func (c *bytesConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *bytesConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *bytesConn) Close() error                { return nil }
func (c *bytesConn) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5672} }
func (c *bytesConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50000}
}
func (c *bytesConn) SetDeadline(time.Time) error      { return nil }
func (c *bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (c *bytesConn) SetWriteDeadline(time.Time) error { return nil }

// hear makes a connection of which the peer says b.
func hear(b []byte) (*connection, *bytesConn) {
	config := Default()
	config.LoginDelay = 0
	socket := &bytesConn{}
	socket.in.Reset(b)
	return newConnection(New(config, newFakeBroker()), socket, nil), socket
}

// FuzzHandshake: whatever comes before connection.open, the server answers with methods on channel 0 and stops, or has a session.
func FuzzHandshake(f *testing.F) {
	handshake := func(startOk wire.ConnectionStartOk, tuneOk wire.ConnectionTuneOk, vhost string) []byte {
		b := startOk.AppendFrame([]byte(wire.ProtocolHeader), 0)
		b = tuneOk.AppendFrame(b, 0)
		return (&wire.ConnectionOpen{VirtualHost: vhost}).AppendFrame(b, 0)
	}
	plain := wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US"}
	f.Add(handshake(plain, wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096}, "/"))
	f.Add(handshake(plain, wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131073, Heartbeat: 1}, "/"))
	bad := plain
	bad.Response, bad.ClientProperties = []byte("\x00guest\x00wrong"), capable.Append(nil)
	f.Add(handshake(bad, wire.ConnectionTuneOk{}, ""))
	f.Add([]byte("AMQP\x00\x01\x00\x00"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add((&wire.ConnectionClose{}).AppendFrame([]byte(wire.ProtocolHeader), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, socket := hear(b)
		err := c.handshake()
		opened := err == nil
		if opened != (c.session != nil && c.phase == phaseRunning) {
			t.Fatalf("phase %v, %v", c.phase, err)
		}
		if said := socket.out.Bytes(); !bytes.Equal(said, []byte(wire.ProtocolHeader)) {
			r := wire.NewReader()
			source := bytes.NewReader(said)
			for r.Fill(source) == nil {
				for f, ok, err := r.Next(); ok || err != nil; f, ok, err = r.Next() {
					if err != nil || f.Type != wire.FrameMethod || f.Channel != 0 {
						t.Fatalf("%q, %v", said, err)
					}
				}
			}
		}
	})
}

// FuzzTune: an answer is taken if and only if it is within the offer.
func FuzzTune(f *testing.F) {
	f.Add(uint16(2047), uint32(131072), uint16(60))
	f.Add(uint16(1), uint32(4096), uint16(0))
	f.Add(uint16(0), uint32(0), uint16(1))
	f.Add(uint16(2048), uint32(4095), uint16(65535))
	f.Fuzz(func(t *testing.T, channelMax uint16, frameMax uint32, heartbeat uint16) {
		answer := wire.ConnectionTuneOk{ChannelMax: channelMax, FrameMax: frameMax, Heartbeat: heartbeat}
		c, _ := hear(answer.AppendFrame(nil, 0))
		err := c.tune()
		within := channelMax >= 1 && channelMax <= 2047 && frameMax >= 4096 && frameMax <= 131072
		var x *exception
		if within != (err == nil) || err != nil && (!errors.As(err, &x) || x.code != notAllowed) {
			t.Fatalf("%+v: %v", answer, err)
		}
		if within && c.tuned != wire.ConnectionTune(answer) {
			t.Fatalf("%+v became %+v", answer, c.tuned)
		}
	})
}

// FuzzConversation plays a client and a state machine at once: the input says what the client sends, frame by frame and in pieces,
// and when and how the state machine answers, which may be late, out of the client's sight or an error. After every step the
// frames for the client must be ones that a client can follow, and the connection's counters must add up.
func FuzzConversation(f *testing.F) {
	f.Add([]byte("\x00\x00\x03\x00\x11\x00\x07\x00\x11\x03\x13\x05"))
	f.Add([]byte("\x00\x00\x0d\x00\x03\x00\x04\x00\x05\x00\x06\x00\x01\x00\x11\x05\x02\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x01\x08\x00\x09\x00\x08\x00\x11\x02\x13\x00\x13\x00\x12\x00\x07\x00\x02\x00\x11\x09"))
	f.Add([]byte("\x00\x00\x0a\x00\x0a\x10\x0b\x00\x0e\x00\x0f\x00\x10\x40AMQP\x11\x09"))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 400 {
			return
		}
		newTalk(t).play(program)
	})
}

// talk is a conversation under way.
type talk struct {
	t       *testing.T
	c       *connection
	waiting []fakeCommand // submitted and not yet answered
	failed  map[fsm.Ref]bool
	tags    map[fsm.Ref][]string // of consumers that the state machine has
	lastTag map[fsm.Ref]uint64
	failOne bool // the next command fails
	opened  manners
	out     *wire.Reader
	over    bool
}

func newTalk(t *testing.T) *talk {
	k := &talk{t: t, failed: map[fsm.Ref]bool{}, tags: map[fsm.Ref][]string{}, lastTag: map[fsm.Ref]uint64{}, opened: manners{}, out: wire.NewReader()}
	k.c, _ = hear(nil)
	k.c.config = &Config{}
	*k.c.config = Default()
	k.c.config.MessageBytesMax, k.c.config.PartialBytesMax, k.c.config.WindowMessages = 5000, 8000, 2
	k.c.session, k.c.phase = k, phaseRunning
	k.c.tuned = wire.ConnectionTune{ChannelMax: 3, FrameMax: 4096}
	k.c.in.SetFrameMax(4096)
	return k
}

func (k *talk) Conn() uint32                       { return 1 }
func (k *talk) AwaitPublish(context.Context) error { return nil }
func (k *talk) AwaitApplied(context.Context) error { return nil }
func (k *talk) Close(context.Context)              {}
func (k *talk) Probe(context.Context, []byte) (fsm.Effect, bool, error) {
	return fsm.Effect{}, false, nil
}

// Submit is the broker's. A get holds the reader until it is answered, so it is answered at once.
func (k *talk) Submit(_ context.Context, commands []byte) error {
	for len(commands) > 0 {
		command, rest, ok := fsm.NextCommand(commands)
		if !ok {
			k.t.Fatal("damaged commands")
		}
		commands = rest
		ref := fsm.Ref{Conn: binary.BigEndian.Uint32(command[5:]), Channel: binary.BigEndian.Uint16(command[9:]), Incarnation: binary.BigEndian.Uint32(command[11:])}
		k.waiting = append(k.waiting, fakeCommand{fsm.CommandKind(command[4]), ref, slices.Clone(command[15:])})
	}
	if slices.ContainsFunc(k.waiting, func(c fakeCommand) bool { return c.kind == fsm.KindGet }) {
		k.settle(len(k.waiting))
	}
	return nil
}

// settle answers the first n commands that wait.
func (k *talk) settle(n int) {
	for range min(n, len(k.waiting)) {
		command := k.waiting[0]
		k.waiting = k.waiting[1:]
		k.answer(command)
	}
	k.c.Flush()
}

func (k *talk) answer(command fakeCommand) {
	ref := command.ref
	e := fsm.Effect{Kind: fsm.Replied, Ref: ref, Command: command.kind}
	switch {
	case command.kind == fsm.KindCloseChannel:
		delete(k.tags, ref)
		k.failed[ref] = true
	case k.failed[ref]:
		return
	case k.failOne && command.kind != fsm.KindOpenChannel && command.kind != fsm.KindGrant:
		k.failOne = false
		k.failed[ref] = true
		delete(k.tags, ref)
		e.Kind, e.Code, e.Text = fsm.ChannelFailed, fsm.PreconditionFailed, "failed"
	case command.kind == fsm.KindOpenChannel, command.kind == fsm.KindAck, command.kind == fsm.KindNack, command.kind == fsm.KindGrant:
		return
	case command.kind == fsm.KindPublish:
		e = fsm.Effect{Kind: fsm.Published, Ref: ref, Confirm: k.confirmOf(ref)}
		if e.Confirm == 0 {
			return
		}
	case command.kind == fsm.KindConsume:
		e.Consumer = k.awaitedTag(ref)
		if slices.Contains(k.tags[ref], e.Consumer) {
			e.Kind, e.Code = fsm.SessionFailed, fsm.NotAllowed
		}
		k.tags[ref] = append(k.tags[ref], e.Consumer)
	case command.kind == fsm.KindCancel:
		e.Consumer = string(command.payload[2 : 2+command.payload[1]])
		k.tags[ref] = slices.DeleteFunc(k.tags[ref], func(tag string) bool { return tag == e.Consumer })
	case command.kind == fsm.KindGet && len(command.payload)%2 == 0:
		k.lastTag[ref]++
		e = fsm.Effect{Kind: fsm.Delivered, Ref: ref, Get: true, Tag: k.lastTag[ref], Body: make([]byte, 5000)}
	}
	k.c.Effect(&e)
}

// confirmOf numbers a channel's publishes as they are applied; 0 while it is not in confirm mode.
func (k *talk) confirmOf(ref fsm.Ref) uint64 {
	ch := k.c.channels[ref.Channel]
	if ch == nil || ch.ref != ref || !ch.confirms || ch.run.last >= ch.published {
		return 0
	}
	return max(ch.run.last, ch.run.next-min(ch.run.next, 1)) + 1
}

// awaitedTag is the tag of the consumer whose reply is due.
func (k *talk) awaitedTag(ref fsm.Ref) string {
	if ch := k.c.channels[ref.Channel]; ch != nil && ch.ref == ref {
		if x, ok := ch.expected.first(); ok && x.window != nil {
			return x.window.tag
		}
	}
	return "gone"
}

// play takes two octets a step: what happens, and with what.
func (k *talk) play(program []byte) {
	for len(program) >= 2 && !k.over {
		op, x := program[0], program[1]
		program = program[2:]
		switch {
		case op%24 < 17:
			k.feed(k.frames(op%24, x))
		case op%24 == 17:
			k.settle(int(x))
		case op%24 == 18:
			k.failOne = true
		case op%24 == 19:
			k.deliver(x)
		case op%24 == 20:
			k.cancel(x)
		case op%24 == 21 && x == 0:
			k.c.End(fsm.NotAllowed, "over")
		case op%24 == 22: // the input itself
			n := min(int(x), len(program))
			k.feed(program[:n])
			program = program[n:]
		default: // one frame in two reads
			b := k.frames(op%18, x)
			k.feed(b[:len(b)/2])
			k.feed(b[len(b)/2:])
		}
		k.drain()
	}
}

// frames is what the client sends.
func (k *talk) frames(op, x byte) []byte {
	channel, flag := 1+uint16(x)%3, x&0x10 != 0
	tag := string("ab"[x>>5&1])
	publish := (&wire.BasicPublish{RoutingKey: []byte("q"), Mandatory: flag}).AppendFrame(nil, channel)
	body := make([]byte, 20*int(x))
	switch op {
	case 0:
		return (&wire.ChannelOpen{}).AppendFrame(nil, channel)
	case 1:
		return (&wire.ChannelClose{}).AppendFrame(nil, channel)
	case 2:
		return (&wire.ChannelCloseOk{}).AppendFrame(nil, channel)
	case 3:
		return wire.AppendContent(publish, channel, 4096, nil, body)
	case 4:
		return publish
	case 5:
		return wire.AppendContentHeader(nil, channel, nil, uint64(x)*30)
	case 6:
		return wire.AppendContent(nil, channel, 4096, nil, make([]byte, 100*int(x>>4)))[len(wire.AppendContentHeader(nil, channel, nil, 0)):]
	case 7:
		return (&wire.BasicAck{DeliveryTag: uint64(x >> 5), Multiple: flag}).AppendFrame(nil, channel)
	case 8:
		return (&wire.BasicConsume{Queue: "q", ConsumerTag: tag, NoWait: flag}).AppendFrame(nil, channel)
	case 9:
		return (&wire.BasicCancel{ConsumerTag: tag, NoWait: flag}).AppendFrame(nil, channel)
	case 10:
		return (&wire.BasicGet{Queue: "qq"[x>>7:], NoAck: flag}).AppendFrame(nil, channel)
	case 11:
		return (&wire.BasicQos{PrefetchCount: uint16(x), Global: flag}).AppendFrame(nil, channel)
	case 12:
		return (&wire.QueueDeclare{Queue: "q", NoWait: flag}).AppendFrame(nil, channel)
	case 13:
		return (&wire.ConfirmSelect{NoWait: flag}).AppendFrame(nil, channel)
	case 14:
		return (&wire.BasicNack{DeliveryTag: uint64(x >> 5), Requeue: flag}).AppendFrame(nil, channel)
	case 15:
		return (&wire.ExchangeBind{Source: "x", Destination: "y", NoWait: flag}).AppendFrame(nil, channel)
	case 16:
		return wire.AppendMethod(nil, channel, []wire.Method{&wire.TxSelect{}, &wire.TxCommit{}, &wire.TxCommit{}, &wire.TxRollback{}}[x>>6])
	}
	return (&wire.ChannelFlow{Active: x < 0xF0}).AppendFrame(nil, channel)
}

// feed is connection.read without a socket.
func (k *talk) feed(b []byte) {
	source := bytes.NewReader(b)
	for source.Len() > 0 && !k.over {
		if err := k.c.in.Fill(source); err != nil {
			k.t.Fatal(err)
		}
		err := errors.Join(k.c.handleFrames(), k.c.submit())
		k.drain()
		if err == nil {
			err = k.c.attend()
		}
		var x *exception
		if errors.As(err, &x) {
			k.c.mu.Lock()
			k.c.closeLocked(x)
			k.c.mu.Unlock()
		}
		k.over = k.over || err != nil
		k.drain()
	}
}

func (k *talk) deliver(x byte) {
	for _, ch := range k.c.channels {
		if tags := k.tags[ch.ref]; ch.id() == 1+uint16(x)%3 && len(tags) > 0 {
			k.lastTag[ch.ref]++
			k.c.Effect(&fsm.Effect{Kind: fsm.Delivered, Ref: ch.ref, Consumer: tags[0], Tag: k.lastTag[ch.ref], Body: make([]byte, x)})
			k.c.Flush()
		}
	}
}

func (k *talk) cancel(x byte) {
	for _, ch := range k.c.channels {
		if tags := k.tags[ch.ref]; ch.id() == 1+uint16(x)%3 && len(tags) > 0 {
			k.c.Effect(&fsm.Effect{Kind: fsm.ConsumerCancelled, Ref: ch.ref, Consumer: tags[0]})
			k.tags[ch.ref] = tags[1:]
		}
	}
}

// drain is the writer: it takes what is encoded, checks it, and checks the connection's books.
func (k *talk) drain() {
	var delivered []*consumer
	b, _ := k.c.takeOutput(&delivered)
	if b != nil {
		source := bytes.NewReader(slices.Clone(b.b))
		k.c.wrote(b, delivered)
		for source.Len() > 0 {
			if err := k.out.Fill(source); err != nil && !errors.Is(err, io.EOF) {
				k.t.Fatal(err)
			}
			for f, ok, err := k.out.Next(); ok || err != nil; f, ok, err = k.out.Next() {
				if err != nil {
					k.t.Fatal(err)
				}
				over, err := k.opened.check(f)
				if err != nil {
					k.t.Fatal(err)
				}
				k.over = k.over || over
			}
		}
	}
	k.audit()
}

func (k *talk) audit() {
	c := k.c
	partial, gets := 0, 0
	for _, ch := range c.channels {
		gets += ch.gets
		if ch.content.own != nil {
			partial += len(ch.content.own.b)
		}
		if ch.tx != nil && ch.tx.commands != nil {
			partial += len(ch.tx.commands.b)
		}
		if ch.tx != nil {
			for _, r := range ch.tx.replies {
				partial += len(r.content.b)
			}
		}
		if ch.windows < len(ch.consumers) {
			k.t.Fatalf("channel %d has %d consumers and %d windows", ch.id(), len(ch.consumers), ch.windows)
		}
	}
	if partial != c.partial || gets != c.gets || gets < 0 {
		k.t.Fatalf("%d bytes of unfinished messages are counted as %d, %d gets as %d", partial, c.partial, gets, c.gets)
	}
}
