package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

const (
	failoverPrefetch = 64
	failoverDial     = 5 * time.Second // of a dial with its handshake; a node that has ended refuses at once
	reconnectPause   = 2 * time.Millisecond
	publishTick      = time.Millisecond
)

// failoverLoad is a publisher and a consumer for each node.
type failoverLoad struct {
	cluster *harness.Cluster
	ledger  *failoverLedger
	rate    float64 // of each publisher
	body    int

	clients    []*failoverClient
	victim     atomic.Int32 // number of the node that is being ended, -1: none
	parts      sync.WaitGroup
	publishing context.CancelFunc
}

// failoverClient is at home on a node, and on the next one while that is not there.
type failoverClient struct {
	load      *failoverLoad
	home      int
	consumes  bool
	now       atomic.Pointer[connection] // nil: none
	homewards atomic.Bool                // the connection is ended to go home
}

// connection is one connection of a client.
type connection struct {
	conn *amqp.Connection
	node int
	over atomic.Bool
}

func (c *connection) isOver() bool { return c.over.Load() || c.conn.IsClosed() }

func newFailoverLoad(c *harness.Cluster, o options) *failoverLoad {
	f := &failoverLoad{cluster: c, ledger: &failoverLedger{}, rate: float64(o.rate) / float64(len(c.Nodes)), body: o.bodyBytes}
	f.victim.Store(-1)
	for home := range c.Nodes {
		f.clients = append(f.clients, &failoverClient{load: f, home: home}, &failoverClient{load: f, home: home, consumes: true})
	}
	return f
}

// start lets the clients work: publishers until stopPublishing, consumers until ctx ends.
func (f *failoverLoad) start(ctx context.Context) {
	publishing, stop := context.WithCancel(ctx)
	f.publishing = stop
	for _, c := range f.clients {
		if c.consumes {
			f.parts.Go(func() { c.again(ctx, c.consume) })
		} else {
			p := &pacer{next: time.Since(epoch), every: time.Duration(float64(time.Second) / f.rate)}
			f.parts.Go(func() {
				c.again(publishing, func(ctx context.Context, on *connection) error { return c.publish(ctx, on, p) })
			})
		}
	}
}

func (f *failoverLoad) stopPublishing() { f.publishing() }
func (f *failoverLoad) wait()           { f.parts.Wait() }

// goHome ends the connections of a home's clients that are elsewhere; nil once all are at home.
func (f *failoverLoad) goHome(home int) error {
	var err error
	for _, c := range f.clients {
		on := c.now.Load()
		if c.home != home || on != nil && on.node == home {
			continue
		}
		err = errors.New("a client is not at home yet")
		if on != nil && !on.over.Swap(true) {
			c.homewards.Store(true)
			on.conn.Close()
		}
	}
	return err
}

// again works on one connection after another: at home if that can be reached, else on the nodes behind it.
func (c *failoverClient) again(ctx context.Context, work func(context.Context, *connection) error) {
	for ctx.Err() == nil {
		on := c.connect()
		if on == nil {
			_ = pass(ctx, reconnectPause)
			continue
		}
		c.now.Store(on)
		err := work(ctx, on)
		on.over.Store(true)
		c.now.Store(nil)
		if ctx.Err() == nil && !c.homewards.Swap(false) && on.node != int(c.load.victim.Load()) {
			c.load.ledger.disconnected(fmt.Sprintf("a client on %s: %v", c.load.cluster.Nodes[on.node].Name, err))
		}
		on.conn.CloseDeadline(time.Now().Add(failoverDial))
	}
}

func (c *failoverClient) connect() *connection {
	nodes := c.load.cluster.Nodes
	for k := range nodes {
		at := (c.home + k) % len(nodes)
		conn, err := amqp.DialConfig(nodes[at].URL(), amqp.Config{
			Heartbeat: 10 * time.Second, Dial: amqp.DefaultDial(failoverDial),
		})
		if err == nil {
			return &connection{conn: conn, node: at}
		}
	}
	return nil
}

// pacer is the schedule of a publisher; it goes on while the publisher is held up.
type pacer struct {
	next  time.Duration // since epoch
	every time.Duration
	late  []uint64 // scheduled, not sent
}

// due plans what is due by now.
func (p *pacer) due(l *failoverLedger, home int) {
	for now := time.Since(epoch); p.next <= now; p.next += p.every {
		p.late = append(p.late, l.plan(p.next, home))
	}
}

func (c *failoverClient) publish(ctx context.Context, on *connection, p *pacer) error {
	ch, err := on.conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1<<12))
	f := flight{ledger: c.load.ledger}
	var reading sync.WaitGroup
	reading.Go(func() {
		for confirmation := range confirms {
			f.confirmed(confirmation)
		}
		f.abandon()
	})
	defer reading.Wait()
	defer ch.Close()
	tick := time.NewTicker(publishTick)
	defer tick.Stop()
	closed := on.conn.NotifyClose(make(chan *amqp.Error, 1))
	body := make([]byte, c.load.body)
	for {
		p.due(c.load.ledger, c.home)
		for len(p.late) > 0 {
			binary.BigEndian.PutUint64(body, p.late[0])
			f.sent(p.late[0])
			p.late = p.late[1:]
			if err := ch.Publish("", queue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body}); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case err := <-closed:
			return fmt.Errorf("closed: %w", err)
		case <-ctx.Done():
			f.drain(drainsBound)
			return nil
		}
	}
}

// flight is what a connection has sent and has no confirm of.
type flight struct {
	ledger *failoverLedger
	mu     sync.Mutex // guards what follows
	first  uint64     // delivery tag of ids[0], less one
	ids    []uint64
}

func (f *flight) sent(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids = append(f.ids, id)
}

// confirmed takes confirms in order: amqp091-go sorts them.
func (f *flight) confirmed(c amqp.Confirmation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.first < c.DeliveryTag && len(f.ids) > 0 {
		if c.Ack {
			f.ledger.confirm(f.ids[0])
		}
		f.first, f.ids = f.first+1, f.ids[1:]
	}
}

func (f *flight) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ledger.abandon(f.ids)
	f.ids = nil
}

// drain waits for the last confirms.
func (f *flight) drain(bound time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	_ = harness.Poll(ctx, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.ids) > 0 {
			return errors.New("confirms are missing")
		}
		return nil
	})
}

func (c *failoverClient) consume(ctx context.Context, on *connection) error {
	ch, err := on.conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(failoverPrefetch, 0, false); err != nil {
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
			c.load.ledger.deliver(binary.BigEndian.Uint64(d.Body), c.home, on)
			if err := d.Ack(false); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
