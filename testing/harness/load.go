package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Load is a set of publishers and consumers on one queue, each pinned to a node, and the Ledger of what they saw.
type Load struct {
	Ledger *Ledger
	queue  string
	body   []byte
	stop   context.CancelFunc
	ctx    context.Context
	drain  context.CancelFunc
	drainC context.Context
	pubs   sync.WaitGroup
	cons   sync.WaitGroup
	ids    atomic.Uint64
}

// LoadConfig says how much.
type LoadConfig struct {
	Queue      string
	BodyBytes  int           // default 200
	Window     int           // unconfirmed publishes per publisher, default 64
	Prefetch   int           // default 64
	Pause      time.Duration // between publishes of one publisher; 0 = as fast as confirms come
	Publishers []*Node
	Consumers  []*Node
}

// StartLoad declares the queue and starts the clients. They reconnect to their own node whenever it is back.
func StartLoad(ctx context.Context, cfg LoadConfig) (*Load, error) {
	if cfg.BodyBytes == 0 {
		cfg.BodyBytes = 200
	}
	if cfg.Window == 0 {
		cfg.Window = 64
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = 64
	}
	first := append(append([]*Node{}, cfg.Publishers...), cfg.Consumers...)[0]
	if err := Declare(first, cfg.Queue, nil); err != nil {
		return nil, err
	}
	l := &Load{Ledger: newLedger(), queue: cfg.Queue, body: make([]byte, cfg.BodyBytes)}
	l.ctx, l.stop = context.WithCancel(ctx)
	l.drainC, l.drain = context.WithCancel(ctx)
	for _, n := range cfg.Publishers {
		l.pubs.Go(func() { l.again(l.ctx, n, "publisher", func(c *amqp.Connection) error { return l.publish(c, cfg) }) })
	}
	for _, n := range cfg.Consumers {
		l.cons.Go(func() {
			l.again(l.drainC, n, "consumer", func(c *amqp.Connection) error { return l.consume(c, cfg.Prefetch) })
		})
	}
	return l, nil
}

// Declare makes a durable queue through a node.
func Declare(n *Node, queue string, args amqp.Table) error {
	conn, err := amqp.Dial(n.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclare(queue, true, false, false, false, args)
	return err
}

// StopPublishing ends the publishers and waits for their last confirms.
func (l *Load) StopPublishing() {
	l.stop()
	l.pubs.Wait()
}

// Drain waits until every confirmed message was acknowledged by a consumer, then ends the consumers.
func (l *Load) Drain(ctx context.Context) error {
	err := Poll(ctx, func() error {
		if missing := l.Ledger.Missing(); len(missing) > 0 {
			return fmt.Errorf("%d confirmed messages are missing, for example %v", len(missing), missing[:min(5, len(missing))])
		}
		return nil
	})
	l.drain()
	l.cons.Wait()
	return err
}

// again runs f on a fresh connection to n, over and over until ctx ends.
func (l *Load) again(ctx context.Context, n *Node, role string, f func(*amqp.Connection) error) {
	for ctx.Err() == nil {
		conn, err := amqp.DialConfig(n.URL(), amqp.Config{Heartbeat: 30 * time.Second, Properties: amqp.Table{"connection_name": role + " on " + n.Name}})
		if err == nil {
			err = f(conn)
			if ctx.Err() == nil {
				l.Ledger.disconnected(n.Name, role, err)
			}
			conn.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *Load) publish(conn *amqp.Connection, cfg LoadConfig) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	window := make(chan struct{}, cfg.Window)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	over, end := context.WithCancel(context.Background())
	defer end()
	for l.ctx.Err() == nil {
		select {
		case window <- struct{}{}:
		case e := <-closed:
			return closeError(e)
		}
		id := fmt.Sprint(l.ids.Add(1))
		l.Ledger.attempted(id)
		dc, err := ch.PublishWithDeferredConfirm("", l.queue, false, false, amqp.Publishing{MessageId: id, DeliveryMode: amqp.Persistent, Body: l.body})
		if err != nil {
			return err
		}
		waiting.Go(func() {
			ok, err := dc.WaitContext(over)
			if err == nil && (ok || !ch.IsClosed()) { // the client reports what was in flight when a channel ends as refused; its outcome is unknown
				l.Ledger.settled(id, ok)
			}
			<-window
		})
		if cfg.Pause > 0 {
			time.Sleep(cfg.Pause)
		}
	}
	return l.lastConfirms(window, closed)
}

// lastConfirms waits until nothing is in flight, or the channel is closed.
func (l *Load) lastConfirms(window chan struct{}, closed <-chan *amqp.Error) error {
	for range cap(window) {
		select {
		case window <- struct{}{}:
		case e := <-closed:
			return closeError(e)
		case <-time.After(60 * time.Second):
			return errors.New("confirms are missing 60 s after the last publish")
		}
	}
	for range cap(window) {
		<-window
	}
	return nil
}

func closeError(e *amqp.Error) error {
	if e == nil {
		return errors.New("channel closed")
	}
	return e
}

func (l *Load) consume(conn *amqp.Connection, prefetch int) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	deliveries, err := ch.Consume(l.queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return closeError(<-closed)
			}
			l.Ledger.delivered(d.MessageId, d.Redelivered)
			if err := d.Ack(false); err != nil {
				return err
			}
			l.Ledger.acked(d.MessageId)
		case <-l.drainC.Done():
			return nil
		}
	}
}

// Ledger records what clients saw, per message id.
type Ledger struct {
	mu          sync.Mutex
	messages    map[string]*fate
	disconnects []string
	lastConfirm time.Time
	longestGap  time.Duration
	confirmed   int
	problems    []string
}

type fate struct {
	confirmed, refused, acked bool
	deliveries                int
	first                     int // deliveries without the redelivered flag
}

func newLedger() *Ledger { return &Ledger{messages: map[string]*fate{}} }

func (g *Ledger) attempted(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.messages[id] = &fate{}
}

func (g *Ledger) settled(id string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.messages[id]
	f.confirmed, f.refused = ok, !ok
	if !ok {
		return
	}
	g.confirmed++
	now := time.Now()
	if !g.lastConfirm.IsZero() {
		g.longestGap = max(g.longestGap, now.Sub(g.lastConfirm))
	}
	g.lastConfirm = now
}

func (g *Ledger) delivered(id string, redelivered bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.messages[id]
	if f == nil {
		g.problems = append(g.problems, fmt.Sprintf("phantom: %q was never published", id))
		return
	}
	if f.refused {
		g.problems = append(g.problems, fmt.Sprintf("%s was refused and yet delivered", id))
	}
	// The first delivery may be seen after the second: a node that was paused hands over what the log gave it before the others took over.
	if f.deliveries++; !redelivered {
		f.first++
	}
	if !redelivered && f.first > 1 {
		g.problems = append(g.problems, fmt.Sprintf("%s was delivered %d times without the redelivered flag", id, f.first))
	}
}

func (g *Ledger) acked(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.messages[id]; f != nil {
		f.acked = true
	}
}

func (g *Ledger) disconnected(node, role string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.disconnects = append(g.disconnects, fmt.Sprintf("%s: %s: %v", node, role, err))
}

// Confirmed is the number of confirmed publishes so far.
func (g *Ledger) Confirmed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.confirmed
}

// Missing lists confirmed messages that no consumer has acknowledged yet.
func (g *Ledger) Missing() (ids []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, f := range g.messages {
		if f.confirmed && !f.acked {
			ids = append(ids, id)
		}
	}
	return ids
}

// Problems lists what must never happen: phantoms, refused but delivered, duplicates without a mark.
func (g *Ledger) Problems() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.problems...)
}

// Disconnects lists connections that ended before the load did, as "node: role: reason".
func (g *Ledger) Disconnects() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.disconnects...)
}

// TakeLongestGap returns the longest time between two confirms since the last call.
func (g *Ledger) TakeLongestGap() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	gap := g.longestGap
	g.longestGap = 0
	return gap
}

// Summary is one line for logs.
func (g *Ledger) Summary() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var acked, again, unknown, refused int
	for _, f := range g.messages {
		switch {
		case f.refused:
			refused++
		case !f.confirmed:
			unknown++
		}
		if f.acked {
			acked++
		}
		again += max(0, f.deliveries-1)
	}
	return fmt.Sprintf("%d attempted, %d confirmed, %d refused, %d unknown, %d acknowledged, %d redeliveries, %d disconnects",
		len(g.messages), g.confirmed, refused, unknown, acked, again, len(g.disconnects))
}
