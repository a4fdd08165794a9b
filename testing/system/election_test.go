package system

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

const (
	electionKills = 5
	electionHeld  = 5 // deliveries that a consumer has in its hands
	// electionHeartbeat is short, so that a round lasts longer than the silence that ends a connection.
	electionHeartbeat = time.Second
	electionPace      = 20 * time.Millisecond // of clients that are slow on purpose
)

// TestElectionsCloseNothing kills the leader while clients of the other nodes are in the middle of everything that a client can do. Nothing of theirs may end
// or be refused: no connection, no channel, no handshake, no transaction, and nothing may happen twice. In every other round the leader hangs before it dies:
// then nobody sees that it is gone, and clients wait while raft's time-outs pass.
func TestElectionsCloseNothing(t *testing.T) {
	c := harness.Start(t, 3)
	for round := range electionKills {
		leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		crowd := gather(t, round, c.Others(leader))
		crowd.progress(t, 3)
		before, after := crowd.handshakes(t, "before"), crowd.handshakes(t, "after")
		begin := time.Now()
		close(before)
		if round%2 == 1 {
			leader.Pause()
			close(after)
			must(c.AwaitLeader(within(t, 30*time.Second), leader))(t)
			leader.Kill()
		} else {
			leader.Kill()
			close(after)
			must(c.AwaitLeader(within(t, 30*time.Second), leader))(t)
		}
		elected := time.Since(begin)
		crowd.progress(t, 3)
		check(t, leader.Start())
		check(t, c.AwaitReady(within(t, 30*time.Second), leader))
		crowd.leave(t)
		t.Logf("round %d: %s died, the next leader was there after %v; %d steps of %d clients", round, leader.Name, elected.Round(time.Millisecond), crowd.steps(), len(crowd.clients))
		if t.Failed() {
			return
		}
	}
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
}

// crowd is the clients of a round.
type crowd struct {
	ctx     context.Context // ends when the clients are to leave
	stop    context.CancelFunc
	clients []*straddler
	nodes   []*harness.Node
	ended   sync.WaitGroup
	failed  chan error // of each client at most one
}

// straddler is a client that goes on from before an election until after it.
type straddler struct {
	name  string
	step  func() error // has to succeed, however long it takes
	leave func() error // what has to be true in the end
	steps atomic.Int64
}

// activities are what a client does over and over on a connection of its own; name is for the queues that it uses.
var activities = map[string]func(s *straddler, ctx context.Context, conn *amqp.Connection) error{
	"idle":     beIdle,
	"topology": changeTopology,
	"reads":    readOnly,
	"confirms": publishSlowly,
	"tx":       commit,
	"consumer": holdUnacked,
}

// gather connects clients of every kind to each of the nodes, and sets them to work.
func gather(t *testing.T, round int, nodes []*harness.Node) *crowd {
	c := &crowd{nodes: nodes, failed: make(chan error, 1000)}
	c.ctx, c.stop = context.WithCancel(t.Context())
	t.Cleanup(c.stop)
	for _, n := range nodes {
		for kind, prepare := range activities {
			conn := must(amqp.DialConfig(n.URL(), amqp.Config{Heartbeat: electionHeartbeat}))(t)
			t.Cleanup(func() { conn.Close() })
			s := &straddler{name: fmt.Sprintf("%s-%s-%d", kind, n.Name, round)}
			check(t, prepare(s, c.ctx, conn))
			c.set(s, conn)
		}
		s := &straddler{name: fmt.Sprintf("dial-%s-%d", n.Name, round)}
		s.step = func() error { return visit(n, amqp.Config{}) }
		c.set(s, nil)
	}
	return c
}

// set lets a client work until the crowd leaves.
func (c *crowd) set(s *straddler, conn *amqp.Connection) {
	c.clients = append(c.clients, s)
	c.ended.Go(func() {
		if err := s.run(c.ctx, conn); err != nil {
			c.failed <- fmt.Errorf("%s, after %d steps: %w", s.name, s.steps.Load(), err)
		}
	})
}

func (s *straddler) run(ctx context.Context, conn *amqp.Connection) error {
	for ctx.Err() == nil {
		if err := s.step(); err != nil {
			return err
		}
		s.steps.Add(1)
	}
	if s.leave != nil {
		if err := s.leave(); err != nil {
			return err
		}
	}
	if conn != nil {
		return conn.Close()
	}
	return nil
}

// progress waits until every client has made so many more steps.
func (c *crowd) progress(t *testing.T, more int64) {
	t.Helper()
	want := make([]int64, len(c.clients))
	for i, s := range c.clients {
		want[i] = s.steps.Load() + more
	}
	check(t, harness.Poll(within(t, 30*time.Second), func() error {
		select {
		case err := <-c.failed:
			t.Fatal(err)
		default:
		}
		for i, s := range c.clients {
			if s.steps.Load() < want[i] {
				return fmt.Errorf("%s stands still after %d steps", s.name, s.steps.Load())
			}
		}
		return nil
	}))
}

// leave ends the clients and fails the test for those that did not end well.
func (c *crowd) leave(t *testing.T) {
	t.Helper()
	c.stop()
	ended := make(chan struct{})
	go func() {
		c.ended.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("not all clients end")
	}
	for {
		select {
		case err := <-c.failed:
			t.Error(err)
		default:
			return
		}
	}
}

func (c *crowd) steps() (sum int64) {
	for _, s := range c.clients {
		sum += s.steps.Load()
	}
	return sum
}

// handshakes begins connections that stop in front of one of the frames that a client sends until it has a channel: the protocol header, start-ok, tune-ok,
// connection.open, channel.open. They go on when the test closes the channel that is returned.
func (c *crowd) handshakes(t *testing.T, when string) chan struct{} {
	t.Helper()
	open := make(chan struct{})
	for _, n := range c.nodes {
		for frame := 1; frame <= 5; frame++ {
			name, reached := fmt.Sprintf("handshake-%s-%s-frame-%d", n.Name, when, frame), make(chan struct{})
			config := amqp.Config{Heartbeat: 10 * time.Second, Dial: func(_, address string) (net.Conn, error) {
				conn, err := net.DialTimeout("tcp", address, 5*time.Second)
				return &gatedConn{Conn: conn, at: frame, reached: reached, open: open}, err
			}}
			c.ended.Go(func() {
				if err := visit(n, config); err != nil {
					c.failed <- fmt.Errorf("%s: %w", name, err)
				}
			})
			select {
			case <-reached:
			case err := <-c.failed:
				t.Fatal(err)
			case <-time.After(10 * time.Second):
				t.Fatalf("%s does not come to its frame", name)
			}
		}
	}
	return open
}

// gatedConn is a socket that holds one write until it may go on. Writes are one after another.
type gatedConn struct {
	net.Conn
	writes, at int
	reached    chan struct{} // closed when the write waits
	open       <-chan struct{}
}

func (g *gatedConn) Write(b []byte) (int, error) {
	if g.writes++; g.writes == g.at {
		close(g.reached)
		<-g.open
	}
	return g.Conn.Write(b)
}

// visit makes a connection, uses it for something of its own, and closes it.
func visit(n *harness.Node, config amqp.Config) error {
	conn, err := amqp.DialConfig(n.URL(), config)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if _, err := ch.QueueDeclare("", false, true, true, false, nil); err != nil {
		return err
	}
	return conn.Close()
}

// beIdle has nothing but heartbeats on its connection.
func beIdle(s *straddler, ctx context.Context, conn *amqp.Connection) error {
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	s.step = func() error {
		select {
		case err := <-closed:
			return fmt.Errorf("closed: %w", err)
		default:
			pace(ctx)
			return nil
		}
	}
	return nil
}

// changeTopology makes and removes a queue and an exchange with a message under way.
func changeTopology(s *straddler, _ context.Context, conn *amqp.Connection) error {
	ch, err := conn.Channel()
	s.step = func() error {
		_, declared := ch.QueueDeclare(s.name, true, false, false, false, nil)
		made := ch.ExchangeDeclare(s.name, "topic", true, false, false, false, nil)
		bound := ch.QueueBind(s.name, "k.#", s.name, false, nil)
		published := ch.Publish(s.name, "k.1", false, false, amqp.Publishing{Body: []byte("m")})
		got, ok, fetched := ch.Get(s.name, false)
		if fetched == nil && !ok {
			fetched = errors.New("basic.get finds no message")
		}
		if err := errors.Join(declared, made, bound, published, fetched); err != nil {
			return err
		}
		rejected := got.Nack(false, true)
		purged, purge := ch.QueuePurge(s.name, false)
		if purge == nil && purged != 1 {
			purge = fmt.Errorf("%d messages purged, want 1", purged)
		}
		unbound := ch.QueueUnbind(s.name, "k.#", s.name, nil)
		_, deleted := ch.QueueDelete(s.name, false, false, false)
		return errors.Join(rejected, purge, unbound, deleted, ch.ExchangeDelete(s.name, false, false))
	}
	return err
}

// readOnly asks what writes nothing to the log.
func readOnly(s *straddler, _ context.Context, conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclare(s.name, true, false, false, false, nil)
	s.step = func() error {
		_, again := ch.QueueDeclare(s.name, true, false, false, false, nil)
		_, passive := ch.QueueDeclarePassive(s.name, true, false, false, false, nil)
		_, got, fetched := ch.Get(s.name, true)
		if got {
			fetched = errors.New("basic.get finds a message in an empty queue")
		}
		return errors.Join(again, passive, fetched, ch.ExchangeDeclarePassive("amq.topic", "topic", true, false, false, false, nil))
	}
	return err
}

// publishSlowly waits for each confirm. In the end every message is in the queue once.
func publishSlowly(s *straddler, ctx context.Context, conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, declared := ch.QueueDeclare(s.name, true, false, false, false, nil)
	s.step = func() error {
		pace(ctx)
		return publishConfirmed(ch, s.name, s.steps.Load())
	}
	s.leave = func() error { return hasMessages(ch, s.name, s.steps.Load()) }
	return errors.Join(declared, ch.Confirm(false))
}

// commit takes a message and publishes two, in a transaction: each commit leaves one more.
func commit(s *straddler, _ context.Context, conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, declared := ch.QueueDeclare(s.name, true, false, false, false, nil)
	first := errors.Join(declared, ch.Tx(), ch.Publish("", s.name, true, false, amqp.Publishing{}), ch.TxCommit())
	s.step = func() error {
		got, ok, err := ch.Get(s.name, false)
		if err == nil && !ok {
			err = errors.New("basic.get finds no message")
		}
		if err != nil {
			return err
		}
		one := ch.Publish("", s.name, true, false, amqp.Publishing{})
		two := ch.Publish("", s.name, true, false, amqp.Publishing{})
		return errors.Join(one, two, got.Ack(false), ch.TxCommit())
	}
	s.leave = func() error { return hasMessages(ch, s.name, 1+s.steps.Load()) }
	return first
}

// holdUnacked consumes what it publishes and keeps some deliveries in its hands. Each message comes once, in order.
func holdUnacked(s *straddler, _ context.Context, conn *amqp.Connection) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	_, declared := ch.QueueDeclare(s.name, true, false, false, false, nil)
	deliveries, consumed := ch.Consume(s.name, "", false, false, false, false, nil)
	var held []amqp.Delivery
	s.step = func() error {
		if err := publishConfirmed(ch, s.name, s.steps.Load()); err != nil {
			return err
		}
		d, ok := <-deliveries
		if want := fmt.Sprint(s.steps.Load()); !ok || d.MessageId != want || d.Redelivered {
			return fmt.Errorf("delivery %q, redelivered %v, consumer there %v; want %s", d.MessageId, d.Redelivered, ok, want)
		}
		if held = append(held, d); len(held) <= electionHeld {
			return nil
		}
		d, held = held[0], held[1:]
		return d.Ack(false)
	}
	s.leave = func() error {
		acked := held[len(held)-1].Ack(true)
		return errors.Join(acked, hasMessages(ch, s.name, 0))
	}
	return errors.Join(declared, consumed, ch.Confirm(false))
}

func publishConfirmed(ch *amqp.Channel, queue string, number int64) error {
	confirm, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{MessageId: fmt.Sprint(number)})
	if err == nil && !confirm.Wait() {
		err = fmt.Errorf("publish %d is refused", number)
	}
	return err
}

func hasMessages(ch *amqp.Channel, queue string, want int64) error {
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err == nil && int64(q.Messages) != want {
		err = fmt.Errorf("%d messages, want %d", q.Messages, want)
	}
	return err
}

// pace lets a slow client wait.
func pace(ctx context.Context) {
	ticker := time.NewTicker(electionPace)
	defer ticker.Stop()
	select {
	case <-ticker.C:
	case <-ctx.Done():
	}
}
