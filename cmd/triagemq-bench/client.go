package main

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

const queue = "bench"

// meter counts what clients see. The first 8 bytes of a body are the time of its publish.
type meter struct {
	confirmed, acked atomic.Int64
	mu               sync.Mutex // guards the latencies
	confirm          []time.Duration
	endToEnd         []time.Duration
	firstAt          time.Duration // when the first message came
}

// load is what one publisher does: at most window unconfirmed messages of bodyBytes, one per turn of pace where there is one.
type load struct {
	window, bodyBytes int
	pace              <-chan time.Time
}

// clients are the two ways to talk to the nodes: as applications do, and as cheaply as can be.
var clients = map[string]struct {
	publish func(*meter, context.Context, *harness.Node, load) error
	consume func(m *meter, ctx context.Context, n *harness.Node, prefetch int) error
}{
	"amqp091": {(*meter).publish, (*meter).consume},
	"lean":    {(*meter).publishLean, (*meter).consumeLean},
}

// epoch keeps time stamps monotonic.
var epoch = time.Now()

func (m *meter) noteConfirm(d time.Duration) {
	m.confirmed.Add(1)
	m.mu.Lock()
	m.confirm = append(m.confirm, d)
	m.mu.Unlock()
}

func (m *meter) noteDelivery(body []byte) {
	d := time.Since(epoch) - time.Duration(binary.BigEndian.Uint64(body))
	m.mu.Lock()
	if len(m.endToEnd) == 0 {
		m.firstAt = time.Since(epoch)
	}
	m.endToEnd = append(m.endToEnd, d)
	m.mu.Unlock()
}

// reset forgets the warm-up.
func (m *meter) reset() {
	m.confirmed.Store(0)
	m.acked.Store(0)
	m.mu.Lock()
	m.confirm, m.endToEnd = nil, nil
	m.mu.Unlock()
}

// percentiles returns p50, p99 and the maximum.
func percentiles(d []time.Duration) (p50, p99, worst time.Duration) {
	if len(d) == 0 {
		return 0, 0, 0
	}
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2], d[len(d)*99/100], d[len(d)-1]
}

// publish sends until ctx ends, through amqp091-go.
func (m *meter) publish(ctx context.Context, n *harness.Node, o load) error {
	conn, err := amqp.Dial(n.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, o.window))
	sent := make(chan time.Duration, o.window)
	done := make(chan error, 1)
	go func() {
		for c := range confirms {
			if !c.Ack {
				done <- errors.New("a publish was refused")
				return
			}
			m.noteConfirm(time.Since(epoch) - <-sent)
		}
		done <- errors.New("the channel was closed")
	}()
	body := make([]byte, o.bodyBytes)
	for ctx.Err() == nil {
		if o.pace != nil {
			select {
			case <-o.pace:
			case <-ctx.Done():
				return nil
			}
		}
		now := time.Since(epoch)
		select {
		case sent <- now:
		case err := <-done:
			return err
		}
		binary.BigEndian.PutUint64(body, uint64(now))
		if err := ch.Publish("", queue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body}); err != nil {
			return err
		}
	}
	return nil
}

// consume acknowledges each message singly until ctx ends.
func (m *meter) consume(ctx context.Context, n *harness.Node, prefetch int) error {
	conn, err := amqp.Dial(n.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the channel was closed")
			}
			m.noteDelivery(d.Body)
			if err := d.Ack(false); err != nil {
				return err
			}
			m.acked.Add(1)
		case <-ctx.Done():
			return nil
		}
	}
}

// usage is the CPU time of the nodes and of this process.
type usage struct{ nodes, client time.Duration }

func readUsage(c *harness.Cluster) (u usage, err error) {
	for _, n := range c.Nodes {
		d, err := n.CPU()
		if err != nil {
			return u, err
		}
		u.nodes += d
	}
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, err
	}
	u.client = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	return u, nil
}
