// Package system tests whole clusters of real processes on loopback, through clients that we did not write.
package system

import (
	"context"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

func TestMain(m *testing.M) {
	m.Run()
	harness.RemoveBinary()
}

// within gives a step of a test its bound.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dial connects to a node; the test ends the connection.
func dial(t *testing.T, n *harness.Node) *amqp.Connection {
	t.Helper()
	conn := must(amqp.Dial(n.URL()))(t)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func channel(t *testing.T, n *harness.Node) *amqp.Channel {
	t.Helper()
	return must(dial(t, n).Channel())(t)
}

// confirmed publishes and waits for the confirm.
func confirmed(t *testing.T, ch *amqp.Channel, queue string, p amqp.Publishing) {
	t.Helper()
	dc := must(ch.PublishWithDeferredConfirm("", queue, false, false, p))(t)
	if !must(dc.WaitContext(within(t, 30*time.Second)))(t) {
		t.Fatalf("publish to %s was refused", queue)
	}
}

// next takes one delivery.
func next(t *testing.T, deliveries <-chan amqp.Delivery) amqp.Delivery {
	t.Helper()
	select {
	case d, ok := <-deliveries:
		if !ok {
			t.Fatal("the consumer's channel is closed")
		}
		return d
	case <-time.After(30 * time.Second):
		t.Fatal("no delivery within 30 s")
	}
	panic("unreachable")
}

// judge fails the test for whatever a load must never show.
func judge(t *testing.T, l *harness.Load) {
	t.Helper()
	if p := l.Ledger.Problems(); len(p) > 0 {
		t.Errorf("%d problems:\n%s", len(p), strings.Join(p[:min(10, len(p))], "\n"))
	}
	t.Log(l.Ledger.Summary())
}
