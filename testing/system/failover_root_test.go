//go:build root

package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// number is a node's host.
func number(n *harness.Node) int { return int(n.Name[1] - '1') }

// leaderSeenBy waits until a node other than those in not leads, as a node sees it.
func leaderSeenBy(t *testing.T, c *harness.Cluster, seer *harness.Node, not ...*harness.Node) *harness.Node {
	t.Helper()
	var leader *harness.Node
	check(t, harness.Poll(within(t, 30*time.Second), func() error {
		st, err := seer.Status(t.Context())
		leader = c.Node(st.Leader)
		if err != nil || leader == nil || slices.Contains(not, leader) {
			return fmt.Errorf("%s sees %q lead, %v", seer.Name, st.Leader, err)
		}
		return nil
	}))
	return leader
}

func termSeenBy(t *testing.T, n *harness.Node) uint64 {
	t.Helper()
	return must(n.Status(within(t, 10*time.Second)))(t).Term
}

// lasts keeps a fault up for longer than every time-out of an election, and long enough for the load to show what it does.
func lasts(t *testing.T, d time.Duration) {
	t.Helper()
	until := time.Now().Add(d)
	check(t, harness.Poll(t.Context(), func() error {
		if time.Now().Before(until) {
			return fmt.Errorf("the fault is not over")
		}
		return nil
	}))
}

// TestPartitionOneWay breaks the network in one direction, or between two of the three. The nodes that reach one another go on; their clients stay connected.
func TestPartitionOneWay(t *testing.T) {
	w := harness.NewNetwork(t, 3)
	c := startOn(t, w)
	check(t, c.AwaitReady(within(t, time.Minute)))
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	struck := map[string]bool{}
	for _, fault := range []struct {
		name  string
		pairs func(l, a, b int) [][2]int // who is not heard by whom
		stays bool                       // the leader does
	}{
		{"the leader is heard by nobody", func(l, a, b int) [][2]int { return [][2]int{{l, a}, {l, b}} }, false},
		{"the leader hears nobody", func(l, a, b int) [][2]int { return [][2]int{{a, l}, {b, l}} }, false},
		{"the followers do not hear one another", func(_, a, b int) [][2]int { return [][2]int{{a, b}, {b, a}} }, true},
	} {
		progress(t, load, 300)
		leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		others := c.Others(leader)
		term := termSeenBy(t, others[0])
		pairs := fault.pairs(number(leader), number(others[0]), number(others[1]))
		begin := time.Now()
		for _, p := range pairs {
			w.Mute(t, p[0], p[1])
		}
		if fault.stays {
			lasts(t, 5*time.Second)
			if st := must(others[1].Status(within(t, 10*time.Second)))(t); st.Leader != leader.Name || st.Term != term {
				t.Errorf("%s: %s led term %d, now %s leads term %d", fault.name, leader.Name, term, st.Leader, st.Term)
			}
		} else {
			struck[leader.Name] = true
			leaderSeenBy(t, c, others[0], leader)
			t.Logf("%s: another one after %v", fault.name, time.Since(begin).Round(time.Millisecond))
		}
		progress(t, load, 300)
		for _, p := range pairs {
			w.Unmute(t, p[0], p[1])
		}
		check(t, c.AwaitReady(within(t, time.Minute)))
	}
	load.StopPublishing()
	check(t, load.Drain(within(t, 90*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	for _, d := range load.Ledger.Disconnects() {
		if node, _, _ := strings.Cut(d, ":"); !struck[node] {
			t.Errorf("a connection to a node that reached the others ended: %s", d)
		}
	}
	judge(t, load)
}

// TestPartitionRefusals has hosts refuse in the leader's name, as a firewall that rejects does: one of the two deposes nobody. Where both do, the leader has lost
// its followers, and is replaced once.
func TestPartitionRefusals(t *testing.T) {
	w := harness.NewNetwork(t, 3)
	c := startOn(t, w)
	check(t, c.AwaitReady(within(t, time.Minute)))
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	progress(t, load, 300)
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	refuser, other := c.Others(leader)[0], c.Others(leader)[1]
	term := termSeenBy(t, other)

	w.Refuse(t, number(refuser), number(leader))
	lasts(t, 6*time.Second)
	progress(t, load, 300)
	if st := must(other.Status(within(t, 10*time.Second)))(t); st.Leader != leader.Name || st.Term != term {
		t.Errorf("refused in front of %s alone: %s led term %d, now %s leads term %d", refuser.Name, leader.Name, term, st.Leader, st.Term)
	}
	w.Accept(t, number(refuser), number(leader))
	check(t, c.AwaitReady(within(t, time.Minute)))
	if after := termSeenBy(t, other); after != term {
		t.Errorf("healed: term %d, was %d", after, term)
	}

	leader = must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	others := c.Others(leader)
	term = termSeenBy(t, others[0])
	for _, n := range others {
		w.Refuse(t, number(n), number(leader))
	}
	leaderSeenBy(t, c, others[0], leader)
	lasts(t, 6*time.Second)
	progress(t, load, 300)
	during := termSeenBy(t, others[0])
	for _, n := range others {
		w.Accept(t, number(n), number(leader))
	}
	check(t, c.AwaitReady(within(t, time.Minute)))
	lasts(t, 6*time.Second)
	if after := termSeenBy(t, others[0]); after > during+1 || during > term+2 {
		t.Errorf("terms %d, %d while both refused, %d after: leadership flaps", term, during, after)
	}
	load.StopPublishing()
	check(t, load.Drain(within(t, 90*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	judge(t, load)
}

// TestRootStalledDisk freezes the file system of the leader. Its process ends once a write has hung for the bound, others take over, and it comes back.
func TestRootStalledDisk(t *testing.T) {
	const bound = 5 * time.Second
	if os.Geteuid() != 0 {
		t.Skip("needs root: mount, fsfreeze")
	}
	dir := t.TempDir()
	for k := 1; k <= 3; k++ {
		mountDisk(t, filepath.Join(dir, fmt.Sprintf("n%d.img", k)), filepath.Join(dir, fmt.Sprintf("n%d", k)))
	}
	c := must(harness.Open(harness.Config{Binary: harness.Binary(t), Dir: dir, Nodes: 3, Args: []string{"--log-write-bound", bound.String()}}))(t)
	t.Cleanup(func() {
		c.Close()
		for _, n := range c.Nodes {
			if t.Failed() {
				t.Logf("the end of %s's log:\n%s", n.Name, n.LogTail(40))
			}
		}
	})
	check(t, c.AwaitReady(within(t, time.Minute)))
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Others(leader), Pause: time.Millisecond}))(t)
	progress(t, load, 300)
	thaw := freeze(t, leader.Dir)
	begin := time.Now()
	check(t, harness.Poll(within(t, bound+20*time.Second), func() error {
		// A process that has ended stays until its writes are done: what is left of it does not answer.
		if _, err := leader.Status(t.Context()); err == nil {
			return fmt.Errorf("%s still answers", leader.Name)
		}
		return nil
	}))
	t.Logf("%s ended %v after its disk hung, the bound is %v", leader.Name, time.Since(begin).Round(time.Millisecond), bound)
	leaderSeenBy(t, c, c.Others(leader)[0], leader)
	progress(t, load, 300)
	t.Logf("confirms go on %v after the disk hung", time.Since(begin).Round(time.Millisecond))
	thaw()
	check(t, harness.Poll(within(t, 30*time.Second), func() error {
		if leader.Running() {
			return fmt.Errorf("%s is still there", leader.Name)
		}
		return nil
	}))
	check(t, leader.Start())
	check(t, c.AwaitReady(within(t, time.Minute)))
	load.StopPublishing()
	check(t, load.Drain(within(t, time.Minute)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	for _, d := range load.Ledger.Disconnects() {
		if !strings.HasPrefix(d, leader.Name+":") {
			t.Errorf("a connection to another node ended: %s", d)
		}
	}
	judge(t, load)
	c.Close() // before its disks are unmounted
}

// mountDisk makes a small file system of its own for a node.
func mountDisk(t *testing.T, image, at string) {
	t.Helper()
	f := must(os.Create(image))(t)
	check(t, f.Truncate(4<<30)) // sparse; below the free space that a node demands it would hold its publishers
	check(t, f.Close())
	check(t, os.MkdirAll(at, 0o700))
	shell(t, "mkfs.ext4", "-q", "-F", image)
	shell(t, "mount", "-o", "loop", image, at)
	t.Cleanup(func() { exec.Command("umount", "-l", at).Run() })
}

func freeze(t *testing.T, dir string) (thaw func()) {
	t.Helper()
	shell(t, "fsfreeze", "-f", dir)
	thawed := false
	thaw = func() {
		if !thawed {
			thawed = exec.Command("fsfreeze", "-u", dir).Run() == nil
		}
	}
	t.Cleanup(thaw)
	return thaw
}

func shell(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
