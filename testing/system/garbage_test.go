package system

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestGarbage sends nonsense to every port, leaves connections half open, and sends frames over the limit. The node answers with an error or closes, goes on
// serving, and does not grow.
func TestGarbage(t *testing.T) {
	c := harness.Start(t, 3)
	n := c.Nodes[0]
	before := must(n.ResidentBytes())(t)
	noise := make([]byte, 1<<20)
	rand.Read(noise)
	requests := [][]byte{noise, noise[:7], {}, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), []byte("AMQP\x00\x01\x00\x00"), []byte("AMQP\x00\x00\x09\x01\x01\x00\x00\xff\xff\xff\xff")}
	for _, addr := range []string{n.AMQP, n.HTTP, n.Peer, n.Gossip} {
		for k := range 60 {
			conn := must(net.Dial("tcp", addr))(t)
			defer conn.Close() // those that the node does not close stay half open until the end
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			conn.Write(requests[k%len(requests)])
			if k%2 == 0 {
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, io.LimitReader(conn, 1<<16))
			}
		}
	}
	if !n.Running() {
		t.Fatalf("the node ended:\n%s", n.LogTail(30))
	}
	ch := channel(t, n)
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("alive", true, false, false, false, nil))(t)
	confirmed(t, ch, "alive", amqp.Publishing{Body: []byte("still here")})
	if after := must(n.ResidentBytes())(t); after > before+100<<20 {
		t.Errorf("resident memory went from %d to %d MiB", before>>20, after>>20)
	}
}

// TestWrongProtocolHeader speaks AMQP 1.0 and expects the header that the broker supports and a close (AMQP 0-9-1 §4.2.2).
func TestWrongProtocolHeader(t *testing.T) {
	c := harness.Start(t, 1)
	conn := must(net.Dial("tcp", c.Nodes[0].AMQP))(t)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	must(conn.Write([]byte("AMQP\x00\x01\x00\x00")))(t)
	if got := must(io.ReadAll(conn))(t); string(got) != "AMQP\x00\x00\x09\x01" {
		t.Errorf("got %q", got)
	}
}

// TestMessageOverTheLimit publishes 17 MiB: the channel fails with 406, the connection stays.
func TestMessageOverTheLimit(t *testing.T) {
	c := harness.Start(t, 1)
	conn := dial(t, c.Nodes[0])
	ch := must(conn.Channel())(t)
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	check(t, ch.Publish("", "q", false, false, amqp.Publishing{Body: make([]byte, 17<<20)}))
	if e := <-closed; e == nil || e.Code != amqp.PreconditionFailed {
		t.Errorf("closed with %v, want 406", e)
	}
	must(conn.Channel())(t)
}

const idleConnections = 2000

// TestIdleConnections holds many idle connections on one node and bounds what each costs.
func TestIdleConnections(t *testing.T) {
	c := harness.Start(t, 3)
	n := c.Nodes[1]
	before := must(n.ResidentBytes())(t)
	open := make(chan error, 16)
	for range 16 {
		go func() {
			for range idleConnections / 16 {
				conn, err := amqp.Dial(n.URL())
				if err != nil {
					open <- err
					return
				}
				t.Cleanup(func() { conn.Close() })
			}
			open <- nil
		}()
	}
	for range 16 {
		check(t, <-open)
	}
	each := (must(n.ResidentBytes())(t) - before) / idleConnections
	t.Logf("%d idle connections cost %d KiB each", idleConnections, each>>10)
	if each > 128<<10 {
		t.Errorf("an idle connection costs %d KiB", each>>10)
	}
	ch := channel(t, n)
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("alive", true, false, false, false, nil))(t)
	confirmed(t, ch, "alive", amqp.Publishing{Body: fmt.Append(nil, "still here")})
}
