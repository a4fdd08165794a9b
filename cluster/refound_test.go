package cluster

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testReplica is a testMachine outside a Group.
type testReplica struct{ *testMachine }

func newTestReplica() testReplica { return testReplica{newTestMachine()} }

func (r testReplica) Restore(from io.Reader) error { return r.testMachine.Restore(from, false) }

func (r testReplica) Apply(index, term uint64, entry []byte) error {
	r.testMachine.Apply(index, term, entry)
	return nil
}

func (r testReplica) Refound(index uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Index, r.state.Last = index, map[string]uint64{} // its origins are no more
	return nil
}

func (r testReplica) WriteTo(w io.Writer) (int64, error) {
	frozen, err := r.Freeze()
	if err != nil {
		return 0, err
	}
	return frozen.WriteTo(w)
}

var errPulled = errors.New("the plug was pulled")

// interrupted pulls the plug after the nth step; seen counts the steps.
func interrupted(n int) (interrupt func(string) error, seen *int) {
	seen = new(int)
	return func(string) error {
		if *seen++; *seen == n {
			return errPulled
		}
		return nil
	}, seen
}

// survivor returns a cluster of three that is stopped, and what it confirmed; two of its folders may be given up.
func survivor(t *testing.T, snapshot bool) (c *testCluster, items []string) {
	c = newCluster(t, 3, nil).start()
	leader := c.leader()
	s := leader.stream()
	items = leader.send(s, 1, 20)
	for _, x := range c.nodes {
		x.applied(items...)
	}
	if snapshot {
		if err := c.nodes[1].group.takeSnapshot(); err != nil {
			t.Fatal(err)
		}
	}
	items = append(items, leader.send(s, 21, 30)...)
	for _, x := range c.nodes {
		x.applied(items...)
	}
	items = slices.Clone(leader.machine.view().Items)
	c.stop()
	return c, items
}

// TestRecoverFolder interrupts a recovery after each of its steps, runs it again, and starts the node, alone and beside the old cluster.
func TestRecoverFolder(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		c, items := survivor(t, snapshot)
		x := c.nodes[1]
		old := t.TempDir()
		if err := os.CopyFS(old, os.DirFS(x.cfg.DataDir)); err != nil {
			t.Fatal(err)
		}
		first := 1
		if !snapshot {
			first = 1000 // no step: the replay of a log alone is what is new
		}
		for step, more := first, true; more; step++ {
			if err := errors.Join(os.RemoveAll(x.cfg.DataDir), os.CopyFS(x.cfg.DataDir, os.DirFS(old))); err != nil {
				t.Fatal(err)
			}
			more = recoverInterrupted(t, x, step)
		}
		checkRecovered(t, c, items)
	}
}

// recoverInterrupted reports whether there was such a step.
func recoverInterrupted(t *testing.T, x *testNode, step int) bool {
	t.Helper()
	cfg := RefoundConfig{DataDir: x.cfg.DataDir, Logger: x.cfg.Logger}
	interrupt, seen := interrupted(step)
	cfg.interrupt = interrupt
	_, err := RecoverFolder(cfg, newTestReplica())
	if *seen < step {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if !errors.Is(err, errPulled) {
		t.Fatalf("step %d: %v", step, err)
	}
	if _, err := Open(x.cfg, newTestMachine()); !errors.Is(err, ErrRefounding) {
		t.Fatalf("step %d: a half recovered folder was opened: %v", step, err)
	}
	cfg.interrupt = nil
	done, err := RecoverFolder(cfg, newTestReplica())
	if err != nil {
		t.Fatalf("step %d, again: %v", step, err)
	}
	for _, part := range []string{"identity.json", "log", "stable.bolt"} {
		if !exists(filepath.Join(done.Aside, part)) {
			t.Fatalf("step %d: the old %s is gone", step, part)
		}
	}
	if exists(filepath.Join(x.cfg.DataDir, newFolder)) || exists(filepath.Join(x.cfg.DataDir, planFile)) {
		t.Fatalf("step %d: traces are left", step)
	}
	if step%8 == 4 {
		checkOpens(t, x)
	}
	return true
}

// checkOpens starts a recovered node alone.
func checkOpens(t *testing.T, x *testNode) {
	t.Helper()
	x.start()
	awaitLeadership(t, x.group, func(l Leadership) bool { return l.Self })
	x.stop()
}

func checkRecovered(t *testing.T, c *testCluster, items []string) {
	t.Helper()
	x := c.nodes[1]
	old := c.nodes[0]
	id, err := readIdentity(old.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	x.start()
	awaitLeadership(t, x.group, func(l Leadership) bool { return l.Self })
	if x.group.Cluster() == id.Cluster || len(x.group.Members()) != 1 || len(x.group.configuration()) != 1 {
		t.Fatalf("cluster %s of %v; the old one is %s", x.group.Cluster(), x.group.Members(), id.Cluster)
	}
	if got := x.machine.view().Items; !slices.Equal(got, items) {
		t.Fatalf("%d items are there, %d were", len(got), len(items))
	}
	x.applied(x.send(x.stream(), 1, 5)...)
	// The others come back: they are a cluster of their own, and know nothing of the new one, nor it of them.
	old.start()
	c.nodes[2].start()
	awaitLeadership(t, old.group, func(l Leadership) bool { return l.Server != "" && l.Server != x.group.Self() })
	last := x.machine.view().Index
	if len(x.group.configuration()) != 1 || old.group.Cluster() != id.Cluster || slices.Equal(old.machine.view().Items, x.machine.view().Items) {
		t.Fatal("the old cluster and the new one met")
	}
	x.applied(x.send(x.stream(), 6, 10)...)
	if x.machine.view().Index <= last {
		t.Error("the new cluster does not go on")
	}
	c.stop()
}

func TestRecoverRefuses(t *testing.T) {
	cfg := RefoundConfig{DataDir: filepath.Join(t.TempDir(), "none"), Logger: testConfig(t, "n1").Logger}
	if _, err := RecoverFolder(cfg, newTestReplica()); !errors.Is(err, ErrNothingToRecover) || exists(cfg.DataDir) {
		t.Errorf("a folder that is not there: %v", err)
	}
	c := newCluster(t, 1, nil).start()
	x := c.leader()
	x.applied(x.send(x.stream(), 1, 3)...)
	cfg.DataDir = x.cfg.DataDir
	if _, err := RecoverFolder(cfg, newTestReplica()); !errors.Is(err, ErrFolderInUse) {
		t.Errorf("a node that runs: %v", err)
	}
	x.stop()
	if _, err := RecoverFolder(cfg, newTestReplica()); !errors.Is(err, ErrNothingToRecover) || !strings.Contains(err.Error(), "start it") {
		t.Errorf("a node that is alone: %v", err)
	}
	x.start()
	c.leader()
}

// TestRestoreFolder takes a snapshot out of a running cluster and founds another one with it, which goes on under the same indexes.
func TestRestoreFolder(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	x := c.leader()
	sent := x.send(x.stream(), 1, 10)
	x.applied(sent...)
	backup := newTestReplica()
	load := func() (uint64, uint64, error) {
		s, err := x.group.FreshSnapshot(context.Background(), x.group.AppliedIndex())
		if err != nil {
			return 0, 0, err
		}
		defer s.Close()
		if s.Cluster != x.group.Cluster() || s.Index < x.group.AppliedIndex() {
			t.Errorf("snapshot of cluster %s at %d", s.Cluster, s.Index)
		}
		return s.Index, s.Term, backup.Restore(s)
	}
	for step, more := 1, true; more; step++ {
		y := &testNode{t: t, name: "m1", cfg: testConfig(t, "m1")}
		cfg := RefoundConfig{DataDir: y.cfg.DataDir, NodeID: "m1", PeerAddr: "127.0.0.1:1", Logger: y.cfg.Logger}
		var seen *int
		cfg.interrupt, seen = interrupted(step)
		done, err := RestoreFolder(cfg, backup, load)
		if more = *seen >= step; more {
			if !errors.Is(err, errPulled) {
				t.Fatal(err)
			}
			cfg.interrupt = nil
			done, err = RestoreFolder(cfg, backup, load)
		}
		if err != nil || done.Aside != "" || done.Cluster == x.group.Cluster() {
			t.Fatalf("step %d: %+v, %v", step, done, err)
		}
		if more && step%3 != 1 {
			continue
		}
		y.start()
		awaitLeadership(t, y.group, func(l Leadership) bool { return l.Self })
		if got := y.machine.view().Items; !slices.Equal(got, sent) || y.group.Self() != done.Server {
			t.Fatalf("step %d: %v", step, got)
		}
		y.applied(y.send(y.stream(), 1, 3)...)
		y.stop()
		if _, err := RestoreFolder(cfg, backup, load); !errors.Is(err, ErrNotEmpty) {
			t.Fatalf("a folder in use was restored into: %v", err)
		}
	}
}

// TestDamagedSourceLeavesNoTrace expects that the folder can be used again after a source that turned out to be damaged.
func TestDamagedSourceLeavesNoTrace(t *testing.T) {
	cfg := RefoundConfig{DataDir: t.TempDir(), NodeID: "n1", PeerAddr: "127.0.0.1:1", Logger: testConfig(t, "n1").Logger}
	damaged := errors.New("damaged")
	if _, err := RestoreFolder(cfg, newTestReplica(), func() (uint64, uint64, error) { return 0, 0, damaged }); !errors.Is(err, damaged) {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(cfg.DataDir); err != nil || len(entries) > 1 {
		t.Errorf("%v is left (%v)", entries, err)
	}
	if _, err := RestoreFolder(cfg, newTestReplica(), func() (uint64, uint64, error) { return 5, 2, nil }); err != nil {
		t.Error(err)
	}
}

// TestRefusedRecoveryChangesNothing: a folder of the first release, whose identity says nothing of a boot number, keeps its number where it turns out that there
// is nothing to recover: a number that is drawn again is refused by the state machine.
func TestRefusedRecoveryChangesNothing(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	x := c.leader()
	for range 3 {
		if _, err := x.group.NextBoot(); err != nil {
			t.Fatal(err)
		}
	}
	c.stop()
	d := &dataDir{path: x.cfg.DataDir}
	id, err := readIdentity(x.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	id.Booted = false
	writeJSON(t, d.file("identity.json"), id)
	before, err := os.ReadFile(d.file("boot"))
	if err != nil {
		t.Fatal(err)
	}
	recover := func() {
		t.Helper()
		if _, err := RecoverFolder(RefoundConfig{DataDir: x.cfg.DataDir, Logger: x.cfg.Logger}, newTestReplica()); !errors.Is(err, ErrNothingToRecover) {
			t.Fatal(err)
		}
	}
	recover()
	if after, err := os.ReadFile(d.file("boot")); err != nil || string(after) != string(before) {
		t.Errorf("the boot number was %q, and is %q, %v", before, after, err)
	}
	// Nor is a folder recovered that is being set aside: the next start would set the recovered parts aside.
	writeJSON(t, d.file(setAsidePlan), settingAside{Folder: setAsidePrefix + "1", Next: newIdentity("n1")})
	recover()
}
