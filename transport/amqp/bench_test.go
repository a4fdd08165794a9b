package amqp

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// nullSession takes everything.
type nullSession struct{ bytes int }

func (s *nullSession) Conn() uint32 { return 1 }
func (s *nullSession) Submit(_ context.Context, b []byte) error {
	s.bytes += len(b)
	return nil
}
func (s *nullSession) AwaitPublish(context.Context) error { return nil }
func (s *nullSession) AwaitApplied(context.Context) error { return nil }
func (s *nullSession) Probe(context.Context, []byte) (fsm.Effect, bool, error) {
	return fsm.Effect{}, false, nil
}
func (s *nullSession) Close(context.Context) {}

var _ broker.Handler = (*connection)(nil)

// streamConn is a socket that hands out the same bytes without end.
type streamConn struct {
	net.Conn
	b  []byte
	at int
}

func (c *streamConn) Read(p []byte) (n int, err error) {
	for n < len(p) {
		k := copy(p[n:], c.b[c.at:])
		n += k
		c.at = (c.at + k) % len(c.b)
	}
	return n, nil
}

// benchConnection is an open connection without sockets and goroutines, with channel 1 open and a consumer.
func benchConnection(b testing.TB) (*connection, *channel) {
	near, far := net.Pipe()
	b.Cleanup(func() { near.Close(); far.Close() })
	c := newConnection(New(Default(), nil), near, nil)
	c.session = &nullSession{}
	c.phase = phaseRunning
	c.tuned = wire.ConnectionTune{ChannelMax: 10, FrameMax: 131072}
	c.in.SetFrameMax(131072)
	ch := &channel{conn: c, ref: fsm.Ref{Conn: 1, Channel: 1, Incarnation: 1}}
	c.channels[1] = ch
	ch.consumerStarted(ch.newConsumer("ctag"))
	b.Cleanup(c.lost)
	return c, ch
}

// BenchmarkPublish is one basic.publish of 1 KiB with confirms, from the read buffer to Submit.
func BenchmarkPublish(b *testing.B) {
	c, ch := benchConnection(b)
	ch.confirms = true
	src := &streamConn{Conn: c.socket}
	src.b = (&wire.BasicPublish{Exchange: []byte("exchange"), RoutingKey: []byte("key")}).AppendFrame(nil, 1)
	src.b = wire.AppendContent(src.b, 1, 131072, []byte{0x18, 0, 2, 5}, make([]byte, 1024))
	b.SetBytes(int64(len(src.b)))
	b.ReportAllocs()
	for b.Loop() {
		for before := ch.published; ch.published == before; {
			if err := c.handleFrames(); err != nil {
				b.Fatal(err)
			}
			if err := c.submit(); err != nil {
				b.Fatal(err)
			}
			if err := c.awaitPublish(); err != nil {
				b.Fatal(err)
			}
			if err := c.in.Fill(src); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(ch.published)/float64(b.N), "publishes/op")
}

// BenchmarkDeliver is one Delivered of 1 KiB, with the writer's share of the bookkeeping once for 64.
func BenchmarkDeliver(b *testing.B) {
	c, ch := benchConnection(b)
	e := &fsm.Effect{Kind: fsm.Delivered, Ref: ch.ref, Consumer: "ctag", Exchange: []byte("exchange"), RoutingKey: []byte("key"),
		Properties: []byte{0x18, 0, 2, 5}, Body: make([]byte, 1024)}
	var delivered []*consumer
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.Tag++
		c.Effect(e)
		if i%64 == 63 {
			c.Flush()
			buffer, _ := c.takeOutput(&delivered)
			_, _ = io.Discard.Write(buffer.b)
			c.wrote(buffer, delivered)
			if err := c.attend(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkConfirm is one Published, 64 to an entry.
func BenchmarkConfirm(b *testing.B) {
	c, ch := benchConnection(b)
	e := &fsm.Effect{Kind: fsm.Published, Ref: ch.ref}
	var delivered []*consumer
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.Confirm++
		c.Effect(e)
		if i%64 == 63 {
			c.Flush()
			buffer, _ := c.takeOutput(&delivered)
			c.wrote(buffer, delivered)
		}
	}
}
