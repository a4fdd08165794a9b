package amqp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// These tests let amqp091-go, the client of most Go programs, loose on a real node.

func connect(t testing.TB, s *Server) *amqp091.Connection {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + s.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func openChannel(t testing.TB, conn *amqp091.Connection) *amqp091.Channel {
	t.Helper()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatalf("%s: closed", what)
		}
		return v
	case <-time.After(waitMax):
		t.Fatalf("%s: nothing came", what)
	}
	panic("unreachable")
}

func TestClientPublishesAndConsumes(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	conn := connect(t, s)
	ch := openChannel(t, conn)
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	const count = 3000
	confirms := ch.NotifyPublish(make(chan amqp091.Confirmation, count))
	for i := range count {
		body := fmt.Appendf(nil, "message %d", i)
		if err := ch.PublishWithContext(context.Background(), "", q.Name, true, false, amqp091.Publishing{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count {
		if c := receive(t, confirms, "confirm"); !c.Ack || c.DeliveryTag != uint64(i+1) {
			t.Fatalf("confirm %d: %+v", i, c)
		}
	}
	other := openChannel(t, conn)
	if err := other.Qos(100, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := other.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range count { // beyond the window of 1,000: grants work
		d := receive(t, deliveries, "delivery")
		if want := fmt.Sprintf("message %d", i); string(d.Body) != want || d.DeliveryTag != uint64(i+1) {
			t.Fatalf("delivery %d: %q, tag %d", i, d.Body, d.DeliveryTag)
		}
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNoAckConsumerBeyondItsWindow: nothing comes from this client while it consumes, so the grants need the writer's word.
func TestNoAckConsumerBeyondItsWindow(t *testing.T) {
	config := testConfig()
	config.WindowMessages, config.WindowBytes = 10, 4096
	s := serve(t, ForNode(newNode(t)), config)
	conn := connect(t, s)
	ch := openChannel(t, conn)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	const count = 500
	for range count {
		if err := ch.PublishWithContext(context.Background(), "", "q", false, false, amqp091.Publishing{Body: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	deliveries, err := openChannel(t, connect(t, s)).Consume("q", "c", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range count {
		receive(t, deliveries, "delivery")
	}
}

func TestLargeMessages(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	conn := connect(t, s)
	ch := openChannel(t, conn)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, 1, 131072 - 8, 131072, 1 << 20, 16 << 20} {
		body := make([]byte, size)
		for j := range body {
			body[j] = byte(i + j)
		}
		confirm, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", "q", false, false, amqp091.Publishing{Body: body})
		if err != nil {
			t.Fatal(err)
		}
		if !confirm.Wait() {
			t.Fatalf("%d bytes: nack", size)
		}
		d, ok, err := ch.Get("q", true)
		if err != nil || !ok || string(d.Body) != string(body) {
			t.Fatalf("%d bytes: ok %v, %d bytes, %v", size, ok, len(d.Body), err)
		}
	}
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	_ = ch.PublishWithContext(context.Background(), "", "q", false, false, amqp091.Publishing{Body: make([]byte, 16<<20+1)})
	if e := receive(t, closed, "channel.close"); e.Code != 406 {
		t.Fatal(e)
	}
	openChannel(t, conn) // the connection lives on
}

func TestClientErrors(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	conn := connect(t, s)
	for name, c := range map[string]struct {
		do   func(ch *amqp091.Channel) error
		code int
	}{
		"missing queue": {func(ch *amqp091.Channel) error {
			_, err := ch.QueueDeclarePassive("none", false, false, false, false, nil)
			return err
		}, 404},
		"reserved name": {func(ch *amqp091.Channel) error {
			_, err := ch.QueueDeclare("amq.x", false, false, false, false, nil)
			return err
		}, 403},
		"no exchange": {func(ch *amqp091.Channel) error { return ch.QueueBind("none", "k", "none", false, nil) }, 404},
		"exchange type": {func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclare("x", "odd", false, false, false, false, nil)
		}, 406},
		"default exch.":  {func(ch *amqp091.Channel) error { return ch.ExchangeDelete("", false, false) }, 403},
		"nothing before": {func(ch *amqp091.Channel) error { return ch.QueueBind("", "k", "amq.direct", false, nil) }, 404},
	} {
		var e *amqp091.Error
		if err := c.do(openChannel(t, conn)); !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := amqp091.Dial("amqp://guest:wrong@" + s.Addr().String() + "/"); err == nil || err != amqp091.ErrCredentials {
		t.Errorf("wrong password: %v", err)
	}
	var e *amqp091.Error
	if _, err := amqp091.Dial("amqp://guest:guest@" + s.Addr().String() + "/none"); !errors.As(err, &e) && !errors.Is(err, amqp091.ErrVhost) {
		t.Errorf("missing vhost: %v", err)
	}
}

// TestServerCloses: clients learn why (320), and Close joins everything (goleak).
func TestServerCloses(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	closed := connect(t, s).NotifyClose(make(chan *amqp091.Error, 1))
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	defer cancel()
	s.Close(ctx)
	if e := receive(t, closed, "connection.close"); e.Code != 320 {
		t.Fatal(e)
	}
	if stats := s.Stats(); stats.ConnectionsOpened != stats.ConnectionsClosed {
		t.Fatalf("%+v", stats)
	}
}

// TestHeaderBeyondFrameMax: a header cannot be split. A consumer that agreed on less than its publisher gets it whole, as from
// RabbitMQ, and the body in frames of its own size.
func TestHeaderBeyondFrameMax(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	ch := openChannel(t, connect(t, s))
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("h", 20_000)
	if err := ch.PublishWithContext(context.Background(), "", "q", false, false, amqp091.Publishing{
		Headers: amqp091.Table{"long": long}, Body: make([]byte, 10_000),
	}); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	p.play("protocol")
	p.play("0 connection.start-ok Mechanism=PLAIN Response=:guest:guest")
	p.send((&wire.ConnectionOpen{VirtualHost: "/"}).AppendFrame((&wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096}).AppendFrame(nil, 0), 0))
	p.send((&wire.BasicGet{Queue: "q"}).AppendFrame((&wire.ChannelOpen{}).AppendFrame(nil, 1), 1))
	p.await(wire.IDBasicGetOk)
	header, err := p.next()
	if err != nil || header.Type != wire.FrameHeader || !strings.Contains(string(header.Payload), long) {
		t.Fatalf("a frame of type %d with %d octets, %v", header.Type, len(header.Payload), err)
	}
	for body := 0; body < 10_000; {
		f, err := p.next()
		if err != nil || f.Type != wire.FrameBody || len(f.Payload) > 4096-wire.FrameOverhead {
			t.Fatalf("a frame of type %d with %d octets, %v", f.Type, len(f.Payload), err)
		}
		body += len(f.Payload)
	}
	p.send((&wire.BasicPublish{RoutingKey: []byte("q")}).AppendFrame(nil, 1))
	p.send(wire.AppendContentHeader(nil, 1, content.Table{{Name: "long", Value: long}}.Append([]byte{0x20, 0}), 0))
	if got := p.frames(wire.IDConnectionClose); !strings.Contains(got, "ReplyCode=501") {
		t.Fatal(got)
	}
}
