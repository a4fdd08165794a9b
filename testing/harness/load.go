package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Load is a set of publishers and consumers, each pinned to a node, and the Ledger of what they saw.
type Load struct {
	Ledger *Ledger
	cfg    LoadConfig
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
	FanOut     []string      // queues behind a fanout exchange of the name Queue; none: Queue itself, by the default exchange
	BodyBytes  int           // default 200
	Window     int           // unconfirmed publishes per publisher, default 64
	Prefetch   int           // default 64
	Pause      time.Duration // between publishes of one publisher; 0 = as fast as confirms come
	Priorities int           // publishes take the priorities 0 to Priorities-1 in turn; 0: none
	NackEvery  int           // a consumer hands every so manieth delivery back; 0: none
	Churn      time.Duration // connections end, with whatever is in flight, and begin anew after it; 0: they stay
	Publishers []*Node
	Consumers  []*Node // one consumer per queue on each
}

// queues are those that a publish reaches.
func (cfg *LoadConfig) queues() []string {
	if len(cfg.FanOut) > 0 {
		return cfg.FanOut
	}
	return []string{cfg.Queue}
}

// route is how publishers reach them.
func (cfg *LoadConfig) route() (exchange, key string) {
	if len(cfg.FanOut) > 0 {
		return cfg.Queue, ""
	}
	return "", cfg.Queue
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
	if err := cfg.declare(first); err != nil {
		return nil, err
	}
	l := &Load{Ledger: newLedger(cfg.queues()), cfg: cfg, body: make([]byte, cfg.BodyBytes)}
	l.ctx, l.stop = context.WithCancel(ctx)
	l.drainC, l.drain = context.WithCancel(ctx)
	for _, n := range cfg.Publishers {
		l.pubs.Go(func() { l.again(l.ctx, n, "publisher", func(c *amqp.Connection) error { return l.publish(c, n.Name) }) })
	}
	l.Consume(cfg.Consumers...)
	return l, nil
}

// Consume adds consumers, one per queue on each of the nodes. It must not run beside Drain.
func (l *Load) Consume(nodes ...*Node) {
	for _, n := range nodes {
		for q := range l.cfg.queues() {
			l.cons.Go(func() {
				l.again(l.drainC, n, "consumer", func(c *amqp.Connection) error { return l.consume(c, n.Name, q) })
			})
		}
	}
}

func (cfg *LoadConfig) declare(n *Node) error {
	for _, q := range cfg.queues() {
		if err := Declare(n, q, nil); err != nil {
			return err
		}
	}
	if len(cfg.FanOut) == 0 {
		return nil
	}
	return onChannel(n, func(ch *amqp.Channel) error {
		err := ch.ExchangeDeclare(cfg.Queue, amqp.ExchangeFanout, true, false, false, false, nil)
		for _, q := range cfg.FanOut {
			if err == nil {
				err = ch.QueueBind(q, "", cfg.Queue, false, nil)
			}
		}
		return err
	})
}

// Declare makes a durable queue through a node.
func Declare(n *Node, queue string, args amqp.Table) error {
	return onChannel(n, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(queue, true, false, false, false, args)
		return err
	})
}

// QueueLength asks a node how many messages are ready in a queue.
func QueueLength(n *Node, queue string) (ready int, err error) {
	err = onChannel(n, func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		ready = q.Messages
		return err
	})
	return ready, err
}

func onChannel(n *Node, f func(*amqp.Channel) error) error {
	conn, err := amqp.Dial(n.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return f(ch)
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

// errChurn ends a connection that has lived long enough.
var errChurn = errors.New("the load ends this connection")

// again runs f on a fresh connection to n, over and over until ctx ends.
func (l *Load) again(ctx context.Context, n *Node, role string, f func(*amqp.Connection) error) {
	for ctx.Err() == nil {
		conn, err := amqp.DialConfig(n.URL(), amqp.Config{Heartbeat: 10 * time.Second, Dial: dial, Properties: amqp.Table{"connection_name": role + " on " + n.Name}})
		if err == nil {
			err = f(conn)
			if ctx.Err() == nil && err != errChurn {
				l.Ledger.disconnected(Disconnect{n.Name, role, fmt.Sprint(err), time.Now()})
			}
			conn.CloseDeadline(time.Now().Add(10 * time.Second))
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// dial gives up soon: while a host is cut off, the kernel asks again after 1, 2, 4, … seconds, and a client that waited for it would be back long after its node.
func dial(network, addr string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, addr, dialBound)
	if err != nil {
		return nil, err
	}
	retransmitSoon(conn.(*net.TCPConn))
	return conn, conn.SetDeadline(time.Now().Add(handshakeBound)) // amqp091-go lifts it after the handshake
}

const (
	dialBound      = 500 * time.Millisecond
	handshakeBound = 5 * time.Second
)

// life ends when a connection has lived long enough; never where there is no churn.
func (l *Load) life() <-chan time.Time {
	if l.cfg.Churn == 0 {
		return nil
	}
	return time.After(l.cfg.Churn)
}

func (l *Load) publish(conn *amqp.Connection, node string) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	window := make(chan struct{}, l.cfg.Window)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	over, end := context.WithCancel(context.Background())
	defer end()
	life := l.life()
	exchange, key := l.cfg.route()
	for l.ctx.Err() == nil {
		select {
		case window <- struct{}{}:
		case e := <-closed:
			return closeError(e)
		case <-life:
			return errChurn
		}
		n := l.ids.Add(1)
		id := fmt.Sprint(n)
		l.Ledger.attempted(id, node)
		p := amqp.Publishing{MessageId: id, DeliveryMode: amqp.Persistent, Body: l.body}
		if l.cfg.Priorities > 0 {
			p.Priority = uint8(n % uint64(l.cfg.Priorities))
		}
		dc, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, p)
		if err != nil {
			return err
		}
		waiting.Go(func() {
			ok, err := dc.WaitContext(over)
			if err == nil && (ok || !ch.IsClosed()) { // the client reports what was in flight when a channel ends as refused; its outcome is unknown
				l.Ledger.settled(id, node, ok)
			}
			<-window
		})
		if l.cfg.Pause > 0 {
			time.Sleep(l.cfg.Pause)
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
			l.Ledger.problem("confirms are missing 60 s after the last publish")
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

// consume takes the deliveries of queue number q.
func (l *Load) consume(conn *amqp.Connection, node string, q int) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Qos(l.cfg.Prefetch, 0, false); err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	deliveries, err := ch.Consume(l.cfg.queues()[q], "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	life := l.life()
	for n := 1; ; n++ {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return closeError(<-closed)
			}
			if err := l.take(d, node, q, n); err != nil {
				return err
			}
		case <-life:
			return errChurn
		case <-l.drainC.Done():
			return nil
		}
	}
}

// take settles the n-th delivery of a consumer.
func (l *Load) take(d amqp.Delivery, node string, q, n int) error {
	l.Ledger.delivered(d.MessageId, node, q, d.Redelivered)
	if l.cfg.NackEvery > 0 && n%l.cfg.NackEvery == 0 {
		return d.Nack(false, true)
	}
	if err := d.Ack(false); err != nil {
		return err
	}
	l.Ledger.acked(d.MessageId, node, q)
	return nil
}
