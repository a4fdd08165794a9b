package broker

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	dutyEvery     = time.Second
	dutyEveryBusy = 250 * time.Millisecond // while a Mark is due or under comparison
	proposeBound  = 5 * time.Second
	clocksBound   = 500 * time.Millisecond // what a new leader waits for voters' clocks that it does not know
)

// duties is what a leader does in one term: the clock, Ticks, closing the origins of nodes that are gone, comparing replicas. One goroutine between Lead and
// Follow does it, beside those that look after nodes whose streams broke, which it joins; Seal and Apply tell it what they see.
type duties struct {
	node  *Node
	term  uint64
	clock *leaderClock
	stop  context.CancelFunc
	done  chan struct{}
	wake  chan struct{} // capacity 1
	lost  chan string   // nodes to be looked at; capacity lostMax
	ctx   context.Context

	armedMillis atomic.Int64 // state time at which the goroutine looks at deadlines next; the end of time while a Tick is under way

	changes changes
	silence silence
	mark    marking // the goroutine's own
}

// Lead is called once this node leads term and has applied everything before it, and returns before any item is admitted.
func (n *Node) Lead(term uint64) {
	ctx, stop := context.WithCancel(context.Background())
	d := &duties{node: n, term: term, ctx: ctx, stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1), lost: make(chan string, lostMax)}
	d.clock = newLeaderClock(n.startMillis(ctx))
	d.armedMillis.Store(math.MaxInt64)
	d.changes.dirty = true // what the predecessor wrote may lack its Mark
	d.changes.last = time.Now()
	n.flow.inherit()
	n.dutiesNow.Store(d)
	go d.run()
}

// Follow ends what Lead began and waits for it.
func (n *Node) Follow() {
	if d := n.dutiesNow.Swap(nil); d != nil {
		d.stop()
		<-d.done
	}
}

// startMillis is the virtual time at which a term begins: the median of the voters' wall clocks, unless the state has seen a later time. A new leader knows the
// clocks from its predecessor's beacons; at a cold start it asks for them.
func (n *Node) startMillis(ctx context.Context) int64 {
	var state int64
	n.replica.view(func(s *fsm.State) { state = s.NowMillis() })
	attached := time.NewTimer(clocksBound)
	defer attached.Stop()
	select {
	case <-n.attached:
	case <-attached.C:
		return max(state, n.cfg.Clock.Now().UnixMilli())
	}
	voters := n.voters()
	known := n.wallMillis(voters)
	if len(known) <= len(voters)/2 {
		n.askClocks(ctx, voters)
		known = n.wallMillis(voters)
	}
	if len(known) == 0 {
		return max(state, n.cfg.Clock.Now().UnixMilli())
	}
	return max(state, median(known))
}

// wallMillis are the present wall clocks of voters, as far as known; this node's own is read.
func (n *Node) wallMillis(voters []string) []int64 {
	known := n.clocks.known(voters)
	if slices.Contains(voters, n.self) {
		known[n.self] = n.cfg.Clock.Now().UnixMilli()
	}
	out := make([]int64, 0, len(known))
	for _, millis := range known {
		out = append(out, millis)
	}
	return out
}

// askClocks asks the voters whose clocks are unknown, all at once.
func (n *Node) askClocks(ctx context.Context, voters []string) {
	ctx, cancel := context.WithTimeout(ctx, clocksBound)
	defer cancel()
	known := n.clocks.known(voters)
	var calls sync.WaitGroup
	for _, node := range voters {
		if _, ok := known[node]; ok || node == n.self {
			continue
		}
		calls.Go(func() {
			if answer, err := n.log.Call(ctx, node, []byte(askBeacon)); err == nil {
				n.Heard(node, answer)
			}
		})
	}
	calls.Wait()
}

func (n *Node) voters() []string {
	var out []string
	for _, m := range n.log.Members() {
		if m.Voter {
			out = append(out, m.Node)
		}
	}
	return out
}

// Seal appends to dst the log entry that carries the items, stamped with the leader's time. Only between Lead and Follow, from one goroutine.
func (n *Node) Seal(dst []byte, items [][]byte) []byte {
	d := n.dutiesNow.Load()
	if d == nil { // leadership has just ended: the entry will hardly commit, and if it does, time stands still for it
		var millis int64
		n.replica.view(func(s *fsm.State) { millis = s.NowMillis() })
		return fsm.AppendEntry(dst, millis, items)
	}
	before := len(dst)
	dst = fsm.AppendEntry(dst, d.clock.nowMillis(), items)
	if d.changes.sealed(items, len(dst)-before) {
		notify(d.wake)
	}
	return dst
}

// run is the goroutine of a term.
func (d *duties) run() {
	defer close(d.done)
	select {
	case <-d.node.attached:
	case <-d.ctx.Done():
		return
	}
	var looks sync.WaitGroup
	defer looks.Wait()
	looks.Go(d.lookAfterLost)
	d.silence.since = time.Now()
	next := time.Now()
	for {
		if now := time.Now(); !now.Before(next) {
			d.node.flow.heardLeader(d.node.flow.leaderAlarms()) // the leader heeds its own word
			d.steerClock()
			d.closeSilent(now)
			d.raiseLevel()
			next = now.Add(d.compare(now))
		}
		wait := min(time.Until(next), d.tick())
		timer := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-timer.C:
		case <-d.wake:
			next = minTime(next, time.Now().Add(dutyEveryBusy))
		case <-d.ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// propose hands an item to the log; what becomes of it shows in the state.
func (d *duties) propose(item []byte, what string) bool {
	ctx, cancel := context.WithTimeout(d.ctx, proposeBound)
	defer cancel()
	if err := d.node.log.Propose(ctx, item); err != nil {
		d.node.logger.Debug("proposal not admitted", "item", what, "error", err)
		return false
	}
	return true
}

// steerClock bends the virtual clock towards the voters' median, and hands over where this node's wall clock is far off it: its state would be fine, but its
// logs, certificates and the people who read them would not.
func (d *duties) steerClock() {
	n := d.node
	voters := n.voters()
	known := n.wallMillis(voters)
	if len(known) == 0 {
		return
	}
	middle := median(known)
	d.clock.steer(middle)
	off := n.cfg.Clock.Now().UnixMilli() - middle
	if len(known) > len(voters)/2 && max(off, -off) > clockFarOff.Milliseconds() && len(voters) > 1 && n.mayHandOver() {
		n.logger.Warn("this leader's wall clock is off, handing over", "off_millis", off)
		// The transfer goes on by itself once it has begun: Follow then ends d.ctx, and waits for this goroutine.
		if err := n.log.TransferLeadership(d.ctx); err != nil && d.ctx.Err() == nil {
			n.logger.Warn("leadership not handed over", "error", err)
		}
	}
}

// mayHandOver allows one transfer an hour: with two clocks wrong in turn, leadership would wander for ever.
func (n *Node) mayHandOver() bool {
	n.runMu.Lock()
	defer n.runMu.Unlock()
	if !n.handedOver.IsZero() && time.Since(n.handedOver) < handOverEvery {
		return false
	}
	n.handedOver = time.Now()
	return true
}

// beacon is the leader's part of this node's beacon.
func (d *duties) beacon(wallMillis int64) *leaderBeacon {
	n := d.node
	b := &leaderBeacon{Term: d.term, Ahead: map[string]int64{}}
	b.Alarms, b.Verified = n.flow.leaderAlarms()
	for node, millis := range n.clocks.known(n.voters()) {
		b.Ahead[node] = millis - wallMillis
	}
	return b
}

// changes is what Seal tells the goroutine: whether the log holds anything that no Mark covers.
type changes struct {
	mu    sync.Mutex
	dirty bool
	last  time.Time // of the last change
	bytes int       // of entries since the last Mark
	quiet []byte    // the Verify that was proposed last: it changes nothing that a Mark covers
}

var markItem = fsm.AppendMark(nil)

// sealed reports whether the log was clean before.
func (c *changes) sealed(items [][]byte, sizeBytes int) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed, marked := false, false
	for _, item := range items {
		switch {
		case bytes.Equal(item, markItem):
			marked = true
		case len(c.quiet) > 0 && bytes.Equal(item, c.quiet):
		default:
			changed = true
		}
	}
	switch {
	case marked: // it covers the whole entry
		c.dirty, c.bytes = false, 0
	case changed:
		first = !c.dirty
		c.dirty, c.last, c.bytes = true, time.Now(), c.bytes+sizeBytes
	}
	return first
}
