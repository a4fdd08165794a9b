package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// eventually looks again and again at what nobody signals.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func awaitEnd(t *testing.T, s *Stream) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("the stream does not end")
	}
}

// hold stops a machine in its next Apply until the returned function is called.
func (m *testMachine) hold() (release func()) {
	gate := make(chan struct{})
	m.mu.Lock()
	m.gate = gate
	m.mu.Unlock()
	return sync.OnceFunc(func() {
		m.mu.Lock()
		m.gate = nil
		m.mu.Unlock()
		close(gate)
	})
}

func TestEndOfReignClosesStreamsAndDropsTheQueue(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, follower := c.leader(), c.follower()
	release := leader.machine.hold()
	defer release()
	own, remote := leader.stream(), follower.stream()
	leader.send(own, 1, 1) // in flight from now on: its apply is held
	r := leader.group.readyReign()
	eventually(t, "the first entry to be in flight", func() bool { n, _ := r.waiting(); return n == 0 })
	leader.send(own, 2, 5)
	follower.send(remote, 1, 5)
	eventually(t, "the queue to fill", func() bool { n, _ := r.waiting(); return n == 9 })

	transferred := make(chan error, 1)
	go func() { transferred <- leader.group.TransferLeadership(context.Background()) }()
	awaitEnd(t, own)
	awaitEnd(t, remote)
	if n, _ := r.waiting(); n != 0 {
		t.Errorf("%d items stay in the queue of a reign that is over", n)
	}
	if err := r.admit(nil, nil, item{data: testItem("x", 1, "late")}); err != ErrNotLeader {
		t.Errorf("admitting to a reign that is over: %v", err)
	}
	release()
	if err := <-transferred; err != nil {
		t.Errorf("transfer: %v", err)
	}
	c.leader()
	follower.applied(follower.send(follower.stream(), 1, 5)...)
	if got := follower.machine.view(); got.Last[leader.name] != 1 {
		t.Errorf("of the old leader's items %d applied, only the first was in flight", got.Last[leader.name])
	}
}

func TestFlowControl(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, follower := c.leader(), c.follower()
	release := leader.machine.hold()
	defer release()
	s := follower.stream()
	const items, size = 320, 64 << 10
	var sent atomic.Int64
	done := make(chan error, 1)
	go func() {
		for n := range uint64(items) {
			if err := s.Send(testItem("big", n+1, fmt.Sprint(n)+strings.Repeat("x", size))); err != nil {
				done <- err
				return
			}
			sent.Add(size)
		}
		done <- nil
	}()
	r := leader.group.readyReign()
	eventually(t, "the queue to fill", func() bool { _, bytes := r.waiting(); return bytes > queueBytesMax-2*size })
	// The leader does not read for longer than silence is allowed to last, and the stream lives by its beacons.
	heard := func() int {
		follower.machine.mu.Lock()
		defer follower.machine.mu.Unlock()
		return follower.machine.heard[leader.group.Self()]
	}
	before := heard()
	follower.until("beacons of a leader that does not read", func() bool { return heard() >= before+int(silenceMax/beaconInterval)+2 })
	// One entry is in flight; what is on its way is bounded by the queue, the window and the item that Send holds.
	if n := sent.Load(); n > queueBytesMax+windowBytes+entryBytes+2*size {
		t.Errorf("%d bytes were sent to a leader that does not read", n)
	}
	select {
	case err := <-done:
		t.Fatalf("sending ended: %v", err)
	case <-s.Done():
		t.Fatal("the stream ended")
	default:
	}
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	follower.until("applying all", func() bool { return follower.machine.view().Last["big"] == items })
}

func TestBadItemClosesItsStreamOnly(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, follower := c.leader(), c.follower()
	own, remote := leader.stream(), follower.stream()
	if err := remote.Send([]byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, remote)
	if cause := remote.endCause(); !strings.Contains(cause, "not an item") {
		t.Errorf("the stream ended because of %q", cause)
	}
	follower.applied(leader.send(own, 1, 1)...)
	if err := own.Send([]byte("nonsense")); err != ErrStreamOver {
		t.Errorf("a bad item in process: %v", err)
	}
	if err := own.Send(testItem("n", 1, "x")); err != ErrStreamOver {
		t.Errorf("sending on: %v", err)
	}
	follower.applied(follower.send(follower.stream(), 1, 1)...)
}

func TestNewerStreamReplacesOlder(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader, follower := c.leader(), c.follower()
	for _, x := range []*testNode{leader, follower} {
		first := x.stream()
		second := x.stream()
		awaitEnd(t, first)
		if err := first.Send(testItem("x", 1, "late")); err != ErrStreamOver {
			t.Errorf("%s: sending on a replaced stream: %v", x.name, err)
		}
		follower.applied(x.send(second, 1, 3)...)
	}
	// The leader does not rely on the origin for it.
	r := leader.group.readyReign()
	old, err := r.attach("origin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.attach("origin"); err != nil {
		t.Fatal(err)
	}
	if err := old.admit(item{data: testItem("x", 1, "late")}); err != ErrStreamOver {
		t.Errorf("admitting through a replaced intake: %v", err)
	}
}

// testOrigin behaves as a broker does: it numbers items, sends what it has not applied on every new stream, once more for each gap it sees, and never on a
// timer.
func (x *testNode) testOrigin(ctx context.Context, total uint64) error {
	for ctx.Err() == nil {
		s, err := x.group.OpenStream(ctx)
		if err != nil {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if x.feed(ctx, s, total) {
			return nil
		}
	}
	return ctx.Err()
}

// feed sends until all is applied (true) or the stream is over.
func (x *testNode) feed(ctx context.Context, s *Stream, total uint64) bool {
	m := x.machine
	next, gapAt := uint64(0), uint64(0)
	for {
		m.mu.Lock()
		last, changed, gap := m.state.Last[x.name], m.changed, m.gaps[x.name]
		m.mu.Unlock()
		switch {
		case last == total:
			return true
		case next == 0:
			next = last + 1
		case gap == last+1 && gapAt != gap && next > gap:
			next, gapAt = gap, gap
		}
		if next <= total && next <= last+64 { // the window
			if s.Send(testItem(x.name, next, fmt.Sprintf("%s-%d", x.name, next))) != nil {
				return false
			}
			next++
			continue
		}
		select {
		case <-changed:
		case <-s.Done():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func TestOriginsGetEverythingAppliedOnceThroughChangesOfLeader(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	const total = 3000
	var origins sync.WaitGroup
	for _, x := range c.nodes {
		origins.Go(func() {
			if err := x.testOrigin(ctx, total); err != nil {
				t.Errorf("%s: %v", x.name, err)
			}
		})
	}
	for range 5 {
		old := c.leader()
		seen := old.machine.view().Last[old.name]
		old.until("progress", func() bool { l := old.machine.view().Last[old.name]; return l == total || l > seen+100 })
		if err := old.group.TransferLeadership(ctx); err != nil {
			t.Logf("transfer: %v", err)
		}
	}
	origins.Wait()
	want := c.nodes[0]
	want.until("all items", func() bool { return len(want.machine.view().Items) == 3*total })
	for _, x := range c.nodes {
		x.until("all items", func() bool { return slices.Equal(x.machine.view().Items, want.machine.view().Items) })
		x.machine.mu.Lock()
		for i := 1; i < len(x.machine.reigns); i++ {
			if (x.machine.reigns[i] == 0) == (x.machine.reigns[i-1] == 0) {
				t.Errorf("%s: Lead and Follow do not alternate: %v", x.name, x.machine.reigns)
			}
		}
		x.machine.mu.Unlock()
	}
}
