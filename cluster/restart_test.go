package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestRestartOfOneAndOfAll(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader := c.leader()
	sent := leader.send(leader.stream(), 1, 10)
	leader.applied(sent...)
	leader.stop()
	next := c.leader()
	sent = append(sent, next.send(next.stream(), 1, 10)...)
	leader.start()
	leader.applied(sent...)
	c.stop()
	c.start()
	x := c.leader()
	first := uint64(1) // a third node's items begin at 1: the machine takes an origin's items without a gap
	if x == leader || x == next {
		first = 11
	}
	sent = append(sent, x.send(x.stream(), first, first+9)...)
	for _, y := range c.nodes {
		y.until("all items in order", func() bool { return slices.Equal(y.machine.view().Items, c.nodes[0].machine.view().Items) })
		y.applied(sent...)
	}
}

func TestBootsAreNeverDrawnTwice(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	x := c.nodes[0]
	server := x.group.Self()
	for want := uint64(1); want <= 4; want++ {
		boot, err := x.group.NextBoot()
		if err != nil || boot != want {
			t.Fatalf("boot %d, %v; want %d", boot, err, want)
		}
		if want%2 == 0 {
			x.stop()
			x.start()
		}
	}
	if x.group.Self() != server {
		t.Errorf("the server id changed from %s to %s", server, x.group.Self())
	}
}

func TestFolderBelongsToOneNodeAndOneProcess(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	x := c.nodes[0]
	second := x.cfg
	second.PeerAddr, second.GossipAddr = "127.0.0.1:0", "127.0.0.1:0"
	if _, err := Open(second, newTestMachine()); !errors.Is(err, ErrFolderInUse) {
		t.Errorf("a second process on the folder: %v", err)
	}
	x.stop()
	second.NodeID = "other"
	if _, err := Open(second, newTestMachine()); err == nil || !strings.Contains(err.Error(), `belongs to node "n1"`) {
		t.Errorf("another node's folder: %v", err)
	}
	x.start()
	c.leader()
}

// fill gets n entries of 64 KiB into the log, each an item of its own, whatever becomes of the leader, and returns their payloads.
func (x *testNode) fill(n int) (payloads []string) {
	x.t.Helper()
	s := x.stream()
	for len(payloads) < n {
		number := x.machine.view().Last[x.name] + 1
		p := fmt.Sprint(number, strings.Repeat("x", 64<<10))
		for s.Send(testItem(x.name, number, p)) != nil {
			s = x.stream()
		}
		x.until("applying or a lost stream", func() bool {
			select {
			case <-s.Done():
				return true
			default:
				return x.machine.view().Last[x.name] >= number
			}
		})
		if x.machine.view().Last[x.name] >= number {
			payloads = append(payloads, p)
		}
	}
	return payloads
}

func snapshotsOf(x *testNode) int {
	list, err := x.group.stores.snapshots.List()
	if err != nil {
		x.t.Fatal(err)
	}
	return len(list)
}

// TestSnapshotBringsBackWhoWasAway: the log that a node missed is compacted away while it is down.
func TestSnapshotBringsBackWhoWasAway(t *testing.T) {
	for _, kind := range []LogKind{LogWAL, LogBolt} {
		t.Run(string(kind), func(t *testing.T) {
			c := newCluster(t, 3, func(cfg *Config) {
				cfg.LogStore, cfg.LogSegmentBytes, cfg.SnapshotBytes, cfg.TrailingBytes = kind, 256<<10, 256<<10, 0
			}).start()
			away := c.follower()
			early := away.send(away.stream(), 1, 1)
			away.applied(early...)
			away.stop()
			leader := c.leader()
			sent := leader.fill(80)
			leader = c.leader()
			eventually(t, "a snapshot", func() bool { return snapshotsOf(leader) > 0 })
			if err := leader.group.takeSnapshot(); err != nil {
				t.Fatal(err)
			}
			away.start()
			away.applied(sent...)
			away.applied(early...)
			away.machine.mu.Lock()
			restores := away.machine.restores
			away.machine.mu.Unlock()
			if !slices.Contains(restores, true) {
				t.Errorf("restores: %v; the log was to be compacted past what the node missed", restores)
			}
			away.applied(away.send(away.stream(), 2, 3)...)
		})
	}
}

// appendStale adds entries of the last term to the log of a node that is down, as if it had led alone for a moment.
func (x *testNode) appendStale(n uint64) {
	x.t.Helper()
	g := newGroup(x.cfg, newTestMachine())
	var err error
	if g.dir, err = openDataDir(x.cfg.DataDir, x.cfg.NodeID); err != nil {
		x.t.Fatal(err)
	}
	defer g.dir.close()
	if g.stores, err = g.openStores(); err != nil {
		x.t.Fatal(err)
	}
	defer g.stores.close()
	last, err := g.stores.logs.LastIndex()
	if err != nil {
		x.t.Fatal(err)
	}
	var end raft.Log
	if err := g.stores.logs.GetLog(last, &end); err != nil {
		x.t.Fatal(err)
	}
	for i := range n {
		entry := x.machine.Seal(nil, [][]byte{testItem("stale", i+1, "stale")})
		if err := g.stores.logs.StoreLog(&raft.Log{Index: last + 1 + i, Term: end.Term, Type: raft.LogCommand, Data: entry}); err != nil {
			x.t.Fatal(err)
		}
	}
}

// TestSnapshotThatContradictsTheLog: a leader that lost its followers has written entries that the others then committed differently, and those are in their
// snapshot by the time it comes back. Raft alone would install the snapshot again and again.
func TestSnapshotThatContradictsTheLog(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.LogSegmentBytes, cfg.TrailingBytes = 256<<10, 0 }).start()
	old := c.leader()
	common := old.send(old.stream(), 1, 3)
	for _, x := range c.nodes {
		x.applied(common...)
	}
	if err := old.group.takeSnapshot(); err != nil { // what raft restores when it is started again in the process, and the machine has already
		t.Fatal(err)
	}
	old.stop()
	old.appendStale(120)
	leader := c.leader()
	sent := leader.fill(80)
	leader = c.leader()
	if err := leader.group.takeSnapshot(); err != nil {
		t.Fatal(err)
	}
	before := old.cfg.Logger
	var replaced atomic.Int32
	old.cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: lineCounter{"contradicts this node's log", &replaced}})
	old.start()
	old.cfg.Logger = before
	old.applied(sent...)
	old.machine.mu.Lock()
	if !slices.Equal(old.machine.restores, []bool{false, true}) {
		t.Errorf("restores (live or not): %v; want its own at the start and the leader's, once", old.machine.restores)
	}
	old.machine.mu.Unlock()
	if n := replaced.Load(); n != 1 {
		t.Errorf("raft was started again %d times, want once", n)
	}
	if got := old.machine.view().Last["stale"]; got != 0 {
		t.Errorf("%d stale entries were applied", got)
	}
	old.applied(old.send(old.stream(), 4, 6)...)
}

// lineCounter counts log lines with a text.
type lineCounter struct {
	text string
	n    *atomic.Int32
}

func (c lineCounter) Write(line []byte) (int, error) {
	if strings.Contains(string(line), c.text) {
		c.n.Add(1)
	}
	return len(line), nil
}

func TestTrailingLogIsBoundedByBytesAndTime(t *testing.T) {
	u := logUsage{threshold: 1 << 40, trailingBytes: 100 << 20, trailingTime: time.Minute, due: make(chan struct{}, 1)}
	live := func() int64 { return 0 }
	now := time.Unix(1000, 0)
	for i := uint64(1); i <= 300; i++ { // 1 MiB a second
		u.add(i, 1<<20, now.Add(time.Duration(i)*time.Second), live)
	}
	now = now.Add(300 * time.Second)
	if got := u.trailing(300, now); got < 60 || got > 62 {
		t.Errorf("trailing by time: %d entries, want about 60", got)
	}
	u.trailingTime = time.Hour
	for i := uint64(301); i <= 600; i++ {
		u.add(i, 1<<20, now, live)
	}
	if got := u.trailing(600, now); got < 100 || got > 102 {
		t.Errorf("trailing by bytes: %d entries, want about 100", got)
	}
	if got := u.trailing(600, now.Add(2*time.Hour)); got != 16 {
		t.Errorf("trailing after a long quiet: %d entries, want the least", got)
	}
}

func TestSnapshotIsDueRelativeToLiveBytes(t *testing.T) {
	u := logUsage{threshold: 10 << 20, due: make(chan struct{}, 1)}
	live := int64(20 * (1<<20 + entryCost))
	for i := uint64(1); i <= 20; i++ {
		u.add(i, 1<<20, time.Unix(0, 0), func() int64 { return live })
	}
	if len(u.due) != 0 {
		t.Error("due before more was applied than lives")
	}
	u.add(21, 1<<20, time.Unix(0, 0), func() int64 { return live })
	if len(u.due) != 1 {
		t.Error("not due after more was applied than lives")
	}
	u.frozen(0)
	if _, overdue := u.overdue(); overdue {
		t.Error("overdue right after a snapshot")
	}
}

// TestSmallEntriesAreCounted: what a restart has to replay is bounded by entries too.
func TestSmallEntriesAreCounted(t *testing.T) {
	u := logUsage{threshold: 64 << 20, due: make(chan struct{}, 1)}
	const most = 64 << 20 / entryCost
	for i := uint64(1); i <= most; i++ {
		u.add(i, 100, time.Unix(0, 0), func() int64 { return 0 })
	}
	if len(u.due) != 1 {
		t.Errorf("no snapshot is due after %d entries of 100 bytes", most)
	}
}
