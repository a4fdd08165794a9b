package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// quick gives votes soon.
func quick(cfg *Config) { cfg.StableFor = 100 * time.Millisecond }

// add starts another node that joins the cluster.
func (c *testCluster) add(name string) *testNode {
	c.t.Helper()
	cfg := testConfig(c.t, name)
	cfg.PeerAddr, cfg.GossipAddr = freeAddr(c.t), freeAddr(c.t)
	for _, x := range c.nodes {
		cfg.Join = append(cfg.Join, x.cfg.GossipAddr)
	}
	x := &testNode{t: c.t, name: name, cfg: cfg}
	quick(&x.cfg)
	x.start()
	c.nodes = append(c.nodes, x)
	return x
}

// voters waits until the leader's configuration has exactly the running nodes, all of them voters.
func (c *testCluster) voters() {
	c.t.Helper()
	c.eventually(fmt.Sprint(len(c.running()), " voters and no other member"), func() bool {
		members, votes := c.leader().group.Members(), 0
		for _, m := range members {
			if m.Voter {
				votes++
			}
		}
		return votes == len(c.running()) && len(members) == votes
	})
}

// eventually waits for what nothing tells of: raft has no word for a configuration that has changed.
func (c *testCluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// TestGrow grows a cluster of one to three while it takes items, and shrinks it again.
func TestGrow(t *testing.T) {
	c := newCluster(t, 1, quick).start()
	first := c.leader()
	all := first.send(first.stream(), 1, 10)
	for _, name := range []string{"n2", "n3"} {
		c.add(name)
	}
	c.voters()
	for i, x := range c.nodes {
		if i > 0 {
			all = append(all, x.send(x.stream(), 1, 5)...)
		}
	}
	for _, x := range c.nodes {
		x.applied(all...)
	}
	for len(c.nodes) > 1 {
		leaver := c.nodes[0] // the founder first
		if err := c.orders(leaver.group.Leave); err != nil {
			t.Fatal(err)
		}
		leaver.stop()
		c.nodes = c.nodes[1:]
		c.voters()
	}
	last := c.leader()
	last.applied(last.send(last.stream(), 6, 10)...)
}

// TestReplaceLostDisk starts a node of three again with an empty folder, under the same name and addresses.
func TestReplaceLostDisk(t *testing.T) {
	c := newCluster(t, 3, quick).start()
	x := c.follower()
	lost := x.group.Self()
	x.stop()
	if err := os.RemoveAll(x.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	x.start()
	if x.group.Self() == lost {
		t.Fatal("the same server id")
	}
	c.voters()
	x.applied(x.send(x.stream(), 1, 3)...)
	for _, m := range c.leader().group.Members() {
		if m.Server == lost {
			t.Error("the lost server is still a member")
		}
	}
}

// TestAddressChange moves a node, then all of them at once.
func TestAddressChange(t *testing.T) {
	skipUnderRace(t)
	c := newCluster(t, 3, quick).start()
	x := c.follower()
	x.stop()
	x.cfg.PeerAddr = freeAddr(t)
	x.start()
	leader := c.leader()
	c.eventually("the new address in the configuration", func() bool {
		s := leader.group.configurationOf(x.group.Self())
		return s != nil && string(s.Address) == x.cfg.PeerAddr
	})
	c.stop()
	var join []string
	for _, x := range c.nodes {
		x.cfg.PeerAddr, x.cfg.GossipAddr = freeAddr(t), freeAddr(t)
		join = append(join, x.cfg.GossipAddr)
	}
	for _, x := range c.nodes {
		x.cfg.Join = join
	}
	c.start()
	leader = c.leader()
	leader.applied(leader.send(leader.stream(), 1, 3)...)
}

// TestStepOfYesterday removes a server between the pilot's look and its step: no step may take it in again, with a vote or without.
func TestStepOfYesterday(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, gone := c.leader(), c.follower()
	id, address := gone.group.Self(), gone.group.PeerAddr()
	r := leader.group.readyReign()
	if r == nil {
		t.Skip("it leads no more")
	}
	p := &pilot{reign: r}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	gone.stop()
	if err := r.remove(ctx, id, removal{force: true}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []step{
		{do: doPromote, server: id, address: address, voter: true},
		{do: doMove, server: id, address: freeAddr(t), voter: true},
		{do: doMove, server: id, address: freeAddr(t)},
		{do: doPromote, server: "n9-gone", address: address, voter: true},
	} {
		if err := p.take(ctx, step); err != nil {
			t.Errorf("%+v: %v", step, err)
		}
		for _, s := range r.servers() {
			if string(s.ID) == id || string(s.ID) == "n9-gone" {
				t.Fatalf("%+v took %v in", step, s)
			}
		}
	}
}

// TestOneChangeAtATime: a change that a reign left under way is waited for by the next one, whose decisions it would undo.
func TestOneChangeAtATime(t *testing.T) {
	g := newGroup(testConfig(t, "n1"), newTestMachine())
	defer g.cancel()
	release, err := newReign(g, nil, 1).claimChanges(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	next := newReign(g, nil, 1)
	if _, err := next.claimChanges(ctx); err == nil {
		t.Fatal("two changes at a time")
	}
	release()
	if _, err := next.claimChanges(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestStandingOfADeposedLeader asks a leader that has lost its majority and does not know it yet: it must not say that anybody was removed.
func TestStandingOfADeposedLeader(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		quick(cfg)
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaseTimeout = 4*time.Second, 4*time.Second, 4*time.Second
	}).start()
	leader := c.leader()
	r := leader.group.readyReign()
	var wg sync.WaitGroup
	for _, x := range c.nodes {
		if x != leader {
			wg.Go(x.stop)
		}
	}
	wg.Wait()
	if !r.admits() {
		t.Skip("it took too long: the leader knows")
	}
	if s, err := r.standing("nobody-1", true); err == nil || s == standingRemoved {
		t.Errorf("standing %q, %v", s, err)
	}
}

// TestStandingAsksInItsOwnName refuses a server that asks for another.
func TestStandingAsksInItsOwnName(t *testing.T) {
	c := newCluster(t, 3, quick).start()
	x := c.follower()
	leader := c.leader()
	_, err := x.group.askServer(context.Background(), leader.group.Self(), administration{Do: doLeave, Server: leader.group.Self()})
	if !errors.As(err, &answeredError{}) {
		t.Errorf("leaving in the name of the leader: %v", err)
	}
}
