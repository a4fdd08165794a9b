package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

const (
	settleFor   = time.Second             // of undisturbed load before a leader is ended
	observeFor  = 1500 * time.Millisecond // of sends that are looked at after it
	roundBound  = 60 * time.Second
	drainsBound = 60 * time.Second
)

// failover ends the leader again and again under a fixed load, with SIGKILL and then with SIGTERM, and prints how long clients noticed it. A publisher and a
// consumer are at home on each node. Those of the leader that ends go to another node, and home again when it is back.
//
// Gaps are measured from the times at which messages were scheduled, not from those at which a client that was held up came to send them: a gap is the longest
// that any message of that time took.
func failover(ctx context.Context, c *harness.Cluster, o options) error {
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := newFailoverLoad(c, o)
	defer f.wait()
	defer cancel(nil)
	f.start(run)
	for home := range c.Nodes {
		if err := harness.Poll(run, func() error { return f.goHome(home) }); err != nil {
			return err
		}
	}
	duplicated := 0
	for _, way := range []ending{{"kill -9", o.kills, kill}, {"SIGTERM", o.terms, terminate}} {
		var all []failoverRound
		for k := range way.rounds {
			r, err := f.round(run, way.end)
			if err != nil {
				return fmt.Errorf("%s number %d: %w", way.name, k+1, err)
			}
			all, duplicated = append(all, r), duplicated+r.twice
			if o.verbose {
				fmt.Printf("%s %d: %s: publish gap %v, delivery gap %v, reconnecting %v\n", way.name, k+1, r.victim, round(r.publish), round(r.deliver), round(r.reconnect))
			}
		}
		way.report(o, all)
	}
	return f.judge(run, duplicated)
}

// ending is a way to end the leader.
type ending struct {
	name   string
	rounds int
	end    func(context.Context, *harness.Node) error
}

func kill(_ context.Context, n *harness.Node) error {
	n.Kill()
	return nil
}

func terminate(ctx context.Context, n *harness.Node) error { return n.Terminate(ctx) }

// failoverRound is what one end of a leader cost.
type failoverRound struct {
	victim    string
	publish   time.Duration // of clients on the other nodes
	deliver   time.Duration // published and taken by clients on the other nodes
	reconnect time.Duration // publishes of clients of the node that ended
	ended     time.Duration // until its process had ended
	twice     int           // messages delivered to two connections that both live
}

// round ends the leader once and waits until everything is as before.
func (f *failoverLoad) round(ctx context.Context, end func(context.Context, *harness.Node) error) (r failoverRound, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundBound)
	defer cancel()
	leader, err := f.cluster.AwaitLeader(ctx)
	if err != nil {
		return r, err
	}
	if err := pass(ctx, settleFor); err != nil {
		return r, err
	}
	home := slices.Index(f.cluster.Nodes, leader)
	r.victim = leader.Name
	f.victim.Store(int32(home))
	defer f.victim.Store(-1)
	begin := time.Since(epoch)
	if err := end(ctx, leader); err != nil {
		return r, err
	}
	r.ended = time.Since(epoch) - begin
	if err := pass(ctx, observeFor); err != nil {
		return r, err
	}
	until := begin + observeFor
	if err := harness.Poll(ctx, func() error { return f.ledger.settled(begin-settleFor, until, home) }); err != nil {
		return r, err
	}
	r.twice = f.ledger.duplicates()
	r.publish, r.deliver, r.reconnect = f.ledger.gaps(begin-settleFor/10, until, home)
	if err := leader.Start(); err != nil {
		return r, err
	}
	if err := f.cluster.AwaitReady(ctx); err != nil {
		return r, err
	}
	return r, harness.Poll(ctx, func() error { return f.goHome(home) })
}

func (e ending) report(o options, all []failoverRound) {
	if len(all) == 0 {
		return
	}
	fmt.Printf("%s of the leader, %d times, %d messages a second\n", e.name, len(all), o.rate)
	column := func(name string, of func(failoverRound) time.Duration) {
		var d []time.Duration
		for _, r := range all {
			d = append(d, of(r))
		}
		slices.Sort(d)
		at := func(share int) time.Duration { return round(d[min(len(d)-1, len(d)*share/100)]) }
		fmt.Printf("  %-44s min %v, median %v, p90 %v, p99 %v, max %v\n", name, round(d[0]), at(50), at(90), at(99), round(d[len(d)-1]))
	}
	column("publish gap, clients on surviving nodes", func(r failoverRound) time.Duration { return r.publish })
	column("delivery gap, clients on surviving nodes", func(r failoverRound) time.Duration { return r.deliver })
	column("publish gap, clients that reconnect", func(r failoverRound) time.Duration { return r.reconnect })
	column("until the process had ended", func(r failoverRound) time.Duration { return r.ended })
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// judge ends the load, waits for what is under way, and prints what must not be.
func (f *failoverLoad) judge(ctx context.Context, duplicated int) error {
	f.stopPublishing()
	drain, cancel := context.WithTimeout(ctx, drainsBound)
	defer cancel()
	drained := harness.Poll(drain, func() error {
		if missing := f.ledger.missing(); missing > 0 {
			return fmt.Errorf("%d confirmed messages were not delivered", missing)
		}
		return nil
	})
	sent, confirmed, unknown := f.ledger.counts()
	lost, duplicated := f.ledger.missing(), duplicated+f.ledger.duplicates()
	fmt.Printf("%d published, %d confirmed, %d unknown (their connection ended); lost %d, duplicated %d, disconnected on surviving nodes %d\n",
		sent, confirmed, unknown, lost, duplicated, len(f.ledger.disconnects()))
	var faults []string
	if lost+duplicated > 0 || len(f.ledger.disconnects()) > 0 {
		faults = append(faults, "a promise is broken")
		faults = append(faults, f.ledger.disconnects()...)
	}
	if len(faults) > 0 {
		return errors.Join(errors.New(strings.Join(faults, "; ")), drained)
	}
	return nil
}
