package cluster

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestLoneNodeLeadsAndApplies(t *testing.T) {
	for _, kind := range []LogKind{LogWAL, LogBolt} {
		t.Run(string(kind), func(t *testing.T) {
			c := newCluster(t, 1, func(cfg *Config) { cfg.LogStore = kind }).start()
			x := c.leader()
			sent := x.send(x.stream(), 1, 20)
			x.applied(sent...)
			x.stop()
			x.start()
			x.applied(sent...)
			c.leader()
			x.applied(x.send(x.stream(), 21, 22)...)
		})
	}
}

func TestThreeNodesApplyTheSame(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	c.leader()
	var sent []string
	for _, x := range c.nodes {
		sent = append(sent, x.send(x.stream(), 1, 50)...)
	}
	for _, x := range c.nodes {
		x.applied(sent...)
	}
	want := c.nodes[0].machine.view().Items
	for _, x := range c.nodes[1:] {
		if got := x.machine.view().Items; !slices.Equal(got, want) {
			t.Errorf("%s applied %d items in another order than n1's %d", x.name, len(got), len(want))
		}
	}
	for _, m := range c.nodes[1].group.Members() {
		if !m.Voter || !m.GossipAlive || m.AMQP != "amqp-of-"+m.Name || m.Version != "test" {
			t.Errorf("member %+v", m)
		}
	}
}

func TestPropose(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, follower := c.leader(), c.follower()
	ctx := context.Background()
	if err := leader.group.Propose(ctx, testItem("duty", 1, "tick")); err != nil {
		t.Fatal(err)
	}
	if err := follower.group.Propose(ctx, testItem("duty", 2, "tock")); err != ErrNotLeader {
		t.Errorf("proposing on a follower: %v", err)
	}
	follower.applied("tick")
}

// TestDutiesMayHandOver: what hands leadership over may be what Follow waits for, as a leader's duties are.
func TestDutiesMayHandOver(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	old := c.leader()
	transferred := make(chan error, 1)
	duties := make(chan struct{})
	end := sync.OnceFunc(func() { close(duties) })
	old.machine.mu.Lock()
	old.machine.follow = func() { <-duties }
	old.machine.mu.Unlock()
	go func() {
		defer end()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		transferred <- old.group.TransferLeadership(ctx)
	}()
	select {
	case err := <-transferred:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		end() // or nothing could be closed
		t.Fatal("duties and Follow wait for one another")
	}
	if next := c.leader(); next == old {
		t.Errorf("%s leads on", old.name)
	}
	old.applied(old.send(old.stream(), 1, 1)...)
}
