package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

const warmUp = 3 * time.Second

// throughput publishes and consumes as fast as windows allow.
func throughput(ctx context.Context, c *harness.Cluster, o options) error {
	return measure(ctx, c, o, nil)
}

// fixedRate publishes o.rate messages a second in all.
func fixedRate(ctx context.Context, c *harness.Cluster, o options) error {
	pace := make(chan time.Time, o.rate)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(pace)
		began, sent := time.Now(), 0
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			now := <-tick.C
			for due := int(now.Sub(began).Seconds() * float64(o.rate)); sent < due; sent++ {
				select {
				case pace <- now:
				case <-ctx.Done():
				}
			}
		}
	}()
	return measure(ctx, c, o, pace)
}

// measure runs publishers and consumers, spread over the nodes, and prints what came of it.
func measure(ctx context.Context, c *harness.Cluster, o options, pace <-chan time.Time) error {
	run, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	m := &meter{}
	start := func(f func() error) {
		all.Go(func() {
			if err := f(); err != nil {
				cancel(err)
			}
		})
	}
	for k := range o.consumers {
		start(func() error { return clients[o.client].consume(m, run, c.Nodes[(k+1)%3], o.window) })
	}
	for k := range o.publishers {
		start(func() error {
			return clients[o.client].publish(m, run, c.Nodes[k%3], load{o.window, o.bodyBytes, pace})
		})
	}
	if err := pass(run, warmUp); err != nil {
		return err
	}
	m.reset()
	before, err := readUsage(c)
	if err != nil {
		return err
	}
	if err := pass(run, o.duration); err != nil {
		return err
	}
	after, err := readUsage(c)
	if err != nil {
		return err
	}
	m.report(o, before, after)
	return nil
}

func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *meter) report(o options, before, after usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	confirmed, acked := m.confirmed.Load(), m.acked.Load()
	fmt.Printf("confirmed %.0f/s, acknowledged %.0f/s, %d-byte bodies\n", float64(confirmed)/o.duration.Seconds(), float64(acked)/o.duration.Seconds(), o.bodyBytes)
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(max(1, acked)) }
	fmt.Printf("CPU per message: nodes %.1f µs (all three), client %.1f µs\n", each(after.nodes-before.nodes), each(after.client-before.client))
	p50, p99, worst := percentiles(m.confirm)
	fmt.Printf("publish to confirm: p50 %v, p99 %v, worst %v\n", p50, p99, worst)
	p50, p99, worst = percentiles(m.endToEnd)
	fmt.Printf("publish to delivery: p50 %v, p99 %v, worst %v\n", p50, p99, worst)
}

// lone sends one message every 250 ms from one follower to a consumer on the other, one in flight.
func lone(ctx context.Context, c *harness.Cluster, o options) error {
	leader, err := c.AwaitLeader(ctx)
	if err != nil {
		return err
	}
	followers := c.Others(leader)
	run, cancel := context.WithCancelCause(ctx)
	m := &meter{}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	fail := func(err error) {
		if err != nil {
			cancel(err)
		}
	}
	all.Go(func() { fail(clients[o.client].consume(m, run, followers[1], 1)) })
	all.Go(func() { fail(clients[o.client].publish(m, run, followers[0], load{1, o.bodyBytes, tick.C})) })
	if err := pass(run, warmUp); err != nil {
		return err
	}
	m.reset()
	if err := pass(run, o.duration); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p50, p99, worst := percentiles(m.confirm)
	fmt.Printf("%d lone messages of %d bytes, publisher and consumer on different followers\n", len(m.endToEnd), o.bodyBytes)
	fmt.Printf("publish to confirm: p50 %v, p99 %v, worst %v\n", p50, p99, worst)
	p50, p99, worst = percentiles(m.endToEnd)
	fmt.Printf("publish to delivery: p50 %v, p99 %v, worst %v\n", p50, p99, worst)
	return nil
}

// backlog fills the queue, reports memory, stops and starts all nodes, and drains.
func backlog(ctx context.Context, c *harness.Cluster, o options) error {
	empty, err := residents(c)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := fill(ctx, c, o); err != nil {
		return err
	}
	fmt.Printf("filled %d messages of %d bytes: %.0f/s\n", o.messages, o.bodyBytes, float64(o.messages)/time.Since(began).Seconds())
	full, err := residents(c)
	if err != nil {
		return err
	}
	for i, n := range c.Nodes {
		fmt.Printf("%s: resident %d MiB, %.0f bytes per message beyond the body\n", n.Name, full[i]>>20, float64(full[i]-empty[i])/float64(o.messages)-float64(o.bodyBytes))
	}
	stop, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.Terminate(stop); err != nil {
		return err
	}
	began = time.Now()
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	if err := c.AwaitReady(stop); err != nil {
		return err
	}
	fmt.Printf("restart of all nodes until ready: %.1f s\n", time.Since(began).Seconds())
	if err := drain(ctx, c, o); err != nil {
		return err
	}
	return reportSnapshots(c)
}

func residents(c *harness.Cluster) (out []int64, err error) {
	for _, n := range c.Nodes {
		b, err := n.ResidentBytes()
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func fill(ctx context.Context, c *harness.Cluster, o options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &meter{}
	left := make(chan time.Time)
	ended := make(chan error, o.publishers)
	for k := range o.publishers {
		go func() { ended <- clients[o.client].publish(m, ctx, c.Nodes[k%3], load{o.window, o.bodyBytes, left}) }()
	}
	for range o.messages {
		select {
		case left <- time.Time{}:
		case err := <-ended:
			return errors.Join(errors.New("a publisher ended"), err)
		}
	}
	return harness.Poll(ctx, func() error {
		if n := m.confirmed.Load(); n < int64(o.messages) {
			return fmt.Errorf("%d confirmed", n)
		}
		return nil
	})
}

// drain takes everything back through one consumer.
func drain(ctx context.Context, c *harness.Cluster, o options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	m := &meter{}
	var consumer sync.WaitGroup
	defer consumer.Wait()
	defer cancel(nil)
	began := time.Since(epoch)
	consumer.Go(func() { cancel(clients[o.client].consume(m, ctx, c.Nodes[0], o.window)) })
	err := harness.Poll(ctx, func() error {
		if n := m.acked.Load(); n < int64(o.messages) {
			return fmt.Errorf("%d of %d messages came back", n, o.messages)
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	took := time.Since(epoch) - began
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Printf("first message %v after consuming began\n", (m.firstAt - began).Round(time.Millisecond))
	fmt.Printf("drained %d messages: %.0f/s\n", o.messages, float64(o.messages)/took.Seconds())
	return nil
}
