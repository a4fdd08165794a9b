package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func (c *testCluster) orders(do func(ctx context.Context) error) error {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return do(ctx)
}

func TestTransferFromAnyNode(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	asked := c.follower()
	for _, to := range c.nodes {
		if err := c.orders(func(ctx context.Context) error { return asked.group.TransferLeadershipTo(ctx, to.name) }); err != nil {
			t.Fatalf("to %s: %v", to.name, err)
		}
		if l := c.leader(); l != to {
			t.Fatalf("%s leads, not %s", l.name, to.name)
		}
	}
	before := c.leader()
	if err := c.orders(func(ctx context.Context) error { return asked.group.TransferLeadershipTo(ctx, "") }); err != nil {
		t.Fatal(err)
	}
	if c.leader() == before {
		t.Error("no other node leads")
	}
	if err := c.orders(func(ctx context.Context) error { return asked.group.TransferLeadershipTo(ctx, "n7") }); !errors.Is(err, ErrUnknown) {
		t.Errorf("to an unknown node: %v", err)
	}
}

// TestRemove removes a dead server and refuses what would cost the quorum.
func TestRemove(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader := c.leader()
	gone, stays := c.follower(), (*testNode)(nil)
	for _, x := range c.nodes {
		if x != gone && x != leader {
			stays = x
		}
	}
	id := gone.group.Self()
	err := c.orders(func(ctx context.Context) error { return stays.group.RemoveServer(ctx, gone.name, false) })
	if !errors.Is(err, ErrAlive) {
		t.Fatalf("removing a server that lives: %v", err)
	}
	gone.stop()
	// Without the other follower the leader would be alone in a configuration of two.
	refused := c.orders(func(ctx context.Context) error { return leader.group.RemoveServer(ctx, stays.name, false) })
	if !errors.Is(refused, ErrAlive) {
		t.Errorf("removing the other one: %v", refused)
	}
	stuck := func(ctx context.Context) error {
		for ctx.Err() == nil {
			if err := stays.group.MayLeave(ctx); err != nil { // once the leader misses the other one
				return err
			}
		}
		return ctx.Err()
	}
	if err := c.orders(stuck); !errors.Is(err, ErrWouldLoseQuorum) {
		t.Errorf("the other one leaving: %v", err)
	}
	if err := c.orders(func(ctx context.Context) error { return removeOnceSilent(ctx, stays.group, id) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(leader.machine.departures(), id) {
		t.Error("its origin was not closed first")
	}
	for _, m := range leader.group.Members() {
		if m.Server == id {
			t.Error("it is still a member")
		}
	}
	if err := c.orders(stays.group.MayLeave); err != nil {
		t.Errorf("leaving two: %v", err)
	}
}

// TestNewLeaderRemovesNobody asks a leader of a moment ago, which has heard of the others but not yet of the one that is to go, though that one lives.
func TestNewLeaderRemovesNobody(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader := c.leader()
	leader.group.mu.Lock()
	reigning := leader.group.reign
	leader.group.mu.Unlock()
	r := newReign(leader.group, reigning.raft, reigning.term)
	going := c.follower().group.Self()
	for _, x := range c.nodes {
		if id := x.group.Self(); id != going {
			r.heardAt[id] = time.Now().Add(patience) // however slow this machine is
		}
	}
	if err := r.mayRemove(going, removal{}); !errors.Is(err, ErrNotNow) {
		t.Errorf("in the first moments: %v", err)
	}
	if err := r.mayRemove(going, removal{leaving: true}); err != nil {
		t.Errorf("by its own wish: %v", err)
	}
	if err := r.mayRemove(going, removal{force: true}); err != nil {
		t.Errorf("forced: %v", err)
	}
	r.since = time.Now().Add(-goneAfter)
	if err := r.mayRemove(going, removal{}); err != nil {
		t.Errorf("after two seconds without a word: %v", err)
	}
}

// removeOnceSilent removes a server that was just stopped: the leader counts it as alive for a moment.
func removeOnceSilent(ctx context.Context, g *Group, server string) error {
	for {
		err := g.RemoveServer(ctx, server, false)
		if !errors.Is(err, ErrAlive) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// TestLeave has the leader of three leave, then a restart refused.
func TestLeave(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leaver := c.leader()
	id := leaver.group.Self()
	if err := c.orders(leaver.group.Leave); err != nil {
		t.Fatal(err)
	}
	select {
	case <-leaver.group.Departed():
	default:
		t.Error("it does not know that it left")
	}
	leaver.stop()
	other := c.leader()
	for _, m := range other.group.Members() {
		if m.Server == id {
			t.Error("it is still a member")
		}
	}
	if _, err := Open(leaver.cfg, newTestMachine()); !errors.Is(err, ErrDeparted) {
		t.Errorf("started again: %v", err)
	}
	other.applied(other.send(other.stream(), 1, 3)...)
}

func TestLastVoterStays(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	x := c.leader()
	if err := c.orders(x.group.Leave); !errors.Is(err, ErrLastVoter) {
		t.Errorf("leaving: %v", err)
	}
	if err := c.orders(func(ctx context.Context) error { return x.group.RemoveServer(ctx, "n1", true) }); !errors.Is(err, ErrLastVoter) {
		t.Errorf("removing by force: %v", err)
	}
}

// TestRemovedIsTold removes a server that is down, and starts it again.
func TestRemovedIsTold(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, gone := c.leader(), c.follower()
	id := gone.group.Self()
	gone.stop()
	if err := c.orders(func(ctx context.Context) error { return removeOnceSilent(ctx, leader.group, id) }); err != nil {
		t.Fatal(err)
	}
	gone.start()
	select {
	case <-gone.group.Departed():
	case <-time.After(patience):
		t.Fatal("it was not told")
	}
	if gone.group.How() != DepartedRemoved {
		t.Errorf("departure %q", gone.group.How())
	}
	if leader.group.configurationOf(gone.group.Self()) != nil {
		t.Error("it is a member again")
	}
}

func (g *Group) configurationOf(server string) *raft.Server {
	for _, s := range g.configuration() {
		if string(s.ID) == server {
			return &s
		}
	}
	return nil
}

func (m *testMachine) departures() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.departs)
}
