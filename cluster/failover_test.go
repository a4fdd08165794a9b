package cluster

import (
	"context"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// shortcuts counts elections that began because the leader's process was found gone.
func shortcuts(c *testCluster) *atomic.Int32 {
	var n atomic.Int32
	for _, x := range c.nodes {
		x.cfg.Logger = hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: x.name, Level: logLevel(), Output: os.Stderr})
		x.cfg.Logger.(hclog.InterceptLogger).RegisterSink(hclog.NewSinkAdapter(&hclog.LoggerOptions{
			Level: hclog.Info, Output: lineCounter{"standing for election at once", &n},
		}))
	}
	return &n
}

// TestSuccessionOfAProcessThatEnded closes the leader, port and all, again and again. Each time another node stands for election because
// all agree that it is gone, and nothing that was sent is missing.
func TestSuccessionOfAProcessThatEnded(t *testing.T) {
	for _, size := range []int{3, 5} {
		c := newCluster(t, size, nil)
		stood := shortcuts(c)
		c.start()
		var sent []string
		number := map[*testNode]uint64{}
		for round := int32(1); round <= 3; round++ {
			leader := c.leader()
			before, _ := leader.group.Leadership()
			number[leader]++
			sent = append(sent, leader.send(leader.stream(), number[leader], number[leader])...)
			for _, x := range c.nodes {
				x.applied(sent...)
			}
			leader.stop()
			next := c.leader()
			after, _ := next.group.Leadership()
			if after.Term <= before.Term || stood.Load() < round {
				t.Errorf("%d nodes, round %d: term %d after %d, %d elections by agreement so far", size, round, after.Term, before.Term, stood.Load())
			}
			leader.start()
			leader.applied(sent...)
		}
	}
}

// TestBrokenConnectionsDeposeNobody breaks all connections that the leader has to a follower, which is all that a follower sees of some faults.
func TestBrokenConnectionsDeposeNobody(t *testing.T) {
	c := newCluster(t, 3, nil)
	stood := shortcuts(c)
	c.start()
	leader, follower := c.leader(), c.follower()
	before, _ := leader.group.Leadership()
	for n := uint64(1); n <= 5; n++ {
		layer := follower.group.instance().layer
		layer.mu.Lock()
		for lc := range layer.conns {
			if lc.from == leader.group.Self() {
				lc.Conn.Close()
			}
		}
		layer.mu.Unlock()
		eventually(t, "the suspicion is looked at", func() bool { return layer.accepted(leader.group.Self()) > 0 })
		follower.applied(leader.send(leader.stream(), n, n)...)
	}
	if after, _ := leader.group.Leadership(); after != before || stood.Load() != 0 {
		t.Errorf("leadership %+v became %+v, %d elections by agreement", before, after, stood.Load())
	}
}

// TestTwoNodesHaveNoShortcut: one of two is no majority.
func TestTwoNodesHaveNoShortcut(t *testing.T) {
	c := newCluster(t, 2, nil)
	stood := shortcuts(c)
	c.start()
	leader, follower := c.leader(), c.follower()
	was, _ := leader.group.Leadership()
	leader.stop()
	awaitLeadership(t, follower.group, func(l Leadership) bool { return l.Server == "" })
	if stood.Load() != 0 {
		t.Error("the one that is left stood for election")
	}
	leader.start()
	if l, _ := c.leader().group.Leadership(); l.Term <= was.Term {
		t.Errorf("term %d after %d", l.Term, was.Term)
	}
}

// TestAskedAboutAHealthyLeader: whatever a node is asked, it agrees to nothing that it does not see.
func TestAskedAboutAHealthyLeader(t *testing.T) {
	c := newCluster(t, 3, nil)
	stood := shortcuts(c)
	c.start()
	leader, follower := c.leader(), c.follower()
	l, _ := leader.group.Leadership()
	for _, q := range []question{
		{askLeader, l.Term, leader.group.Self()}, {askLeader, l.Term + 1, leader.group.Self()}, {askLeader, l.Term, "nobody"},
		{askLeader, l.Term, follower.group.Self()}, {askOrigin, 0, leader.group.Self()}, {askOrigin, 0, "nobody"}, {askPresence, l.Term + 1, ""},
	} {
		for _, x := range []*testNode{leader, follower} {
			asker := c.nodes[0]
			if x == asker {
				asker = c.nodes[1]
			}
			a, err := asker.group.ask(t.Context(), x.group.Self(), q)
			if err != nil || a.yes || a.nonce != x.group.nonce {
				t.Errorf("%s asked %+v: %+v, %v", x.name, q, a, err)
			}
		}
	}
	if a, err := follower.group.ask(t.Context(), leader.group.Self(), question{askPresence, l.Term, ""}); err != nil || !a.yes {
		t.Errorf("the leader denies its term: %+v, %v", a, err)
	}
	if after, _ := leader.group.Leadership(); after != l || stood.Load() != 0 {
		t.Errorf("leadership %+v became %+v", l, after)
	}
}

// TestGone: a leader is told of a stream that broke, and finds with the others whether the process behind it has ended.
func TestGone(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, lost := c.leader(), c.follower()
	server := lost.group.Self()
	lost.applied(lost.send(lost.stream(), 1, 1)...)
	if leader.group.Gone(t.Context(), server) {
		t.Error("gone while its stream is open")
	}
	lost.group.mu.Lock()
	s := lost.group.stream
	lost.group.mu.Unlock()
	s.conn.Close()
	told := func() bool {
		leader.machine.mu.Lock()
		defer leader.machine.mu.Unlock()
		return slices.Contains(leader.machine.lost, server)
	}
	leader.until("being told of the broken stream", told)
	if leader.group.Gone(t.Context(), server) || leader.group.Gone(t.Context(), "nobody") || leader.group.Gone(t.Context(), leader.group.Self()) {
		t.Error("gone while it listens")
	}
	lost.stop()
	eventually(t, "found gone", func() bool { return leader.group.Gone(t.Context(), server) })
	other := c.running()[0]
	if other == leader {
		other = c.running()[1]
	}
	other.stop()
	if leader.group.Gone(t.Context(), server) {
		t.Error("found gone by one of three")
	}
}

// TestTransferDoesNotWaitForOneThatHangs: while nothing is sent all followers look alike to raft. One that takes nothing any more must not be chosen, nor waited
// for at the end.
func TestTransferDoesNotWaitForOneThatHangs(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.HeartbeatTimeout, cfg.ElectionTimeout = 3*time.Second, 3*time.Second }).start()
	leader := c.leader()
	var hung, other *testNode
	for _, x := range c.nodes { // raft takes the first of equals
		switch {
		case x == leader:
		case hung == nil:
			hung = x
		default:
			other = x
		}
	}
	release := hung.hang(t)
	defer release()
	begin := time.Now()
	if err := leader.group.TransferLeadership(t.Context()); err != nil {
		t.Fatal(err)
	}
	if next := awaitLeadership(t, other.group, func(l Leadership) bool { return l.Self }); next.Server != other.group.Self() {
		t.Errorf("handed over to %s", next.Server)
	}
	leader.stop()
	if took := time.Since(begin); took > 8*time.Second { // raft's own patience is 10 s, twice
		t.Errorf("the leader was gone after %v", took)
	}
}

// hang keeps a node's raft from taking requests until release is called: its connections are there, and nothing answers.
func (x *testNode) hang(t *testing.T) (release func()) {
	in := x.group.instance()
	seen := make(chan raft.Observation)
	observer := raft.NewObserver(seen, true, nil) // raft waits until each observation is taken
	in.raft.RegisterObserver(observer)
	ctx, cancel := context.WithCancel(t.Context())
	var injected sync.WaitGroup
	injected.Go(func() { _ = in.transport.InjectTimeoutNow(ctx) })
	eventually(t, "raft hangs", func() bool { _, id := in.raft.LeaderWithID(); return id == "" })
	return sync.OnceFunc(func() {
		cancel()
		injected.Wait()
		over := make(chan struct{})
		var drained sync.WaitGroup
		drained.Go(func() {
			for {
				select {
				case <-seen:
				case <-over:
					return
				}
			}
		})
		in.raft.DeregisterObserver(observer)
		close(over)
		drained.Wait()
	})
}
