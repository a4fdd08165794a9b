package system

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

const (
	txWorkers = 3   // one on each node; a worker whose node is gone goes to the next one
	txKills   = 8   // of the leader and of a node that does not lead, in turn
	txJobs    = 900 // that are there when a node is killed
	txBatch   = 3   // jobs in a transaction, at most
)

// TestTransactionsUnderKills moves jobs from one queue to two others: each transaction acknowledges some and publishes each of them twice. Nodes are killed
// meanwhile, the leader and the workers' own. However a commit ended, its transaction must be there wholly or not at all: in the end every job is in both
// queues, once, and none is left.
func TestTransactionsUnderKills(t *testing.T) {
	c := harness.Start(t, 3)
	ch := channel(t, c.Nodes[0])
	for _, queue := range []string{"jobs", "done", "audit"} {
		must(ch.QueueDeclare(queue, true, false, false, false, nil))(t)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var movers sync.WaitGroup
	var committed, uncertain atomic.Int64
	for k := range txWorkers {
		movers.Go(func() {
			for at := k; ctx.Err() == nil; at++ {
				m := mover{committed: &committed, uncertain: &uncertain}
				_ = m.run(ctx, c.Nodes[at%len(c.Nodes)]) // it ends with its node
			}
		})
	}
	for k := range txKills {
		addJobs(t, c, k)
		killAmid(t, c, k, &committed)
	}
	const jobs = txKills * txJobs
	check(t, harness.Poll(within(t, 120*time.Second), func() error {
		if n := must(harness.QueueLength(c.Nodes[0], "done"))(t); n < jobs {
			return fmt.Errorf("%d of %d jobs are done", n, jobs)
		}
		return nil
	}))
	cancel()
	movers.Wait()
	t.Logf("%d transactions were answered, %d had an unknown outcome", committed.Load(), uncertain.Load())
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))

	for _, queue := range []string{"done", "audit"} {
		if seen := drained(t, c.Nodes[1], queue); len(seen) != jobs || slices.Max(slices.Collect(maps.Values(seen))) > 1 {
			t.Errorf("%s has %d of %d jobs, some up to %d times", queue, len(seen), jobs, slices.Max(slices.Collect(maps.Values(seen))))
		}
	}
	if left := drained(t, c.Nodes[1], "jobs"); len(left) > 0 {
		t.Errorf("%d jobs are left: %v", len(left), left)
	}
}

// addJobs publishes the jobs of a round, in a transaction.
func addJobs(t *testing.T, c *harness.Cluster, round int) {
	t.Helper()
	ch := channel(t, c.Nodes[round%len(c.Nodes)])
	check(t, ch.Tx())
	for job := range txJobs {
		check(t, ch.Publish("", "jobs", false, false, amqp.Publishing{MessageId: fmt.Sprint(round, "-", job)}))
	}
	check(t, ch.TxCommit())
}

// killAmid kills a node as soon as transactions of the round are committed, and starts it again.
func killAmid(t *testing.T, c *harness.Cluster, round int, committed *atomic.Int64) {
	t.Helper()
	from := committed.Load()
	victim := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	if round%2 == 1 {
		victim = c.Others(victim)[round/2%2]
	}
	check(t, harness.Poll(within(t, 60*time.Second), func() error {
		if committed.Load() < from+10 {
			return errors.New("no transactions are committed")
		}
		return nil
	}))
	victim.Kill()
	check(t, victim.Start())
	check(t, c.AwaitReady(within(t, 60*time.Second)))
}

// mover is a worker's life on one connection.
type mover struct {
	committed, uncertain *atomic.Int64
	ch                   *amqp.Channel
}

func (m *mover) run(ctx context.Context, n *harness.Node) error {
	conn, err := amqp.Dial(n.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	if m.ch, err = conn.Channel(); err != nil {
		return err
	}
	if err := errors.Join(m.ch.Tx(), m.ch.Qos(2*txBatch, 0, false)); err != nil {
		return err
	}
	jobs, err := m.ch.Consume("jobs", "", false, false, false, false, nil)
	for err == nil {
		err = m.move(ctx, jobs)
	}
	return err
}

// move is one transaction, with as many jobs as there are.
func (m *mover) move(ctx context.Context, jobs <-chan amqp.Delivery) error {
	for n := 0; n == 0 || n < txBatch && len(jobs) > 0; n++ {
		select {
		case d, ok := <-jobs:
			if !ok {
				return amqp.ErrClosed
			}
			if err := m.finish(ctx, d); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return m.commit()
}

// finish publishes a job twice and acknowledges it.
func (m *mover) finish(ctx context.Context, d amqp.Delivery) error {
	for _, queue := range []string{"done", "audit"} {
		if err := m.ch.PublishWithContext(ctx, "", queue, false, false, amqp.Publishing{MessageId: d.MessageId}); err != nil {
			return err
		}
	}
	return d.Ack(false)
}

func (m *mover) commit() error {
	if err := m.ch.TxCommit(); err != nil {
		m.uncertain.Add(1)
		return err
	}
	m.committed.Add(1)
	return nil
}

// drained takes everything out of a queue and counts the ids.
func drained(t *testing.T, n *harness.Node, queue string) map[string]int {
	t.Helper()
	ch, seen := channel(t, n), map[string]int{}
	for {
		d, ok := must2(ch.Get(queue, true))(t)
		if !ok {
			return seen
		}
		seen[d.MessageId]++
	}
}

func must2[A, B any](a A, b B, err error) func(*testing.T) (A, B) {
	return func(t *testing.T) (A, B) {
		t.Helper()
		check(t, err)
		return a, b
	}
}
