package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// drainBound is how long LoseLeader waits for the clients of the leader's node to go away by themselves.
const drainBound = 2 * time.Second

// Chaos takes the leader away from the cluster again and again, at once and then `every` after the last time, until ctx ends or the returned function is called. That
// one returns how often it happened, and what went wrong with it.
func (w *World) Chaos(ctx context.Context, every time.Duration) (stop func() (int, error)) {
	w.chaotic = true
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var times int
	var failed error
	wg.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for failed == nil {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			// A change that has begun is finished, so that the cluster is whole when this returns.
			bounded, end := context.WithTimeout(context.WithoutCancel(ctx), faultBound)
			failed = w.LoseLeader(bounded)
			end()
			times++
			timer.Reset(every)
		}
	})
	return func() (int, error) {
		cancel()
		wg.Wait()
		return times, failed
	}
}

// LoseLeader makes the cluster change its leader while clients of the balancer keep their connections: it sends new clients elsewhere, and once the
// leader's node has none left it kills it and starts it again. A leader whose clients stay is stopped (SIGSTOP) until another one leads: its clients wait
// as long, but are not disconnected.
func (w *World) LoseLeader(ctx context.Context) error {
	leader, err := w.Cluster.AwaitLeader(ctx)
	if err != nil {
		return err
	}
	w.Front.Avoid(leader.AMQP)
	defer w.Front.Avoid("")
	w.http.Avoid(leader.HTTP)
	defer w.http.Avoid("")
	if w.drained(ctx, leader) {
		return w.killAndStart(ctx, leader)
	}
	w.Logf("chaos: %s led, with %d clients; it is stopped until another leads", leader.Name, w.Front.Carried(leader.AMQP))
	leader.Pause()
	_, err = w.Cluster.AwaitLeader(ctx, leader)
	leader.Resume()
	return errors.Join(err, w.Cluster.AwaitReady(ctx))
}

func (w *World) killAndStart(ctx context.Context, leader *harness.Node) error {
	w.Logf("chaos: %s led, without clients; it is killed and started again", leader.Name)
	leader.Kill()
	if _, err := w.Cluster.AwaitLeader(ctx, leader); err != nil {
		return err
	}
	if err := leader.Start(); err != nil {
		return err
	}
	return w.Cluster.AwaitReady(ctx)
}

func (w *World) drained(ctx context.Context, n *harness.Node) bool {
	ctx, cancel := context.WithTimeout(ctx, drainBound)
	defer cancel()
	return harness.Poll(ctx, func() error {
		if w.Front.Carried(n.AMQP)+w.http.Carried(n.HTTP) > 0 {
			return errors.New("has clients")
		}
		return nil
	}) == nil
}
