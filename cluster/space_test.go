package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestSpaceHasAWayBack(t *testing.T) {
	const low, live = 400, 1000
	now := spacePlenty
	for _, step := range []struct {
		free int64
		want space
	}{
		{1401, spacePlenty}, {1399, spaceLow}, {1401, spaceLow}, {1540, spacePlenty}, {1399, spaceLow}, {101, spaceLow}, {99, spaceCritical}, {105, spaceCritical},
		{120, spaceLow}, {50, spaceCritical}, {2000, spacePlenty},
	} {
		if now = judgeSpace(now, step.free, low, live); now != step.want {
			t.Errorf("%d free: %v, want %v", step.free, now, step.want)
		}
	}
}

func TestReserveTakesSpace(t *testing.T) {
	d := &dataDir{path: t.TempDir()}
	for range 2 {
		d.makeReserve(1 << 20)
	}
	info, err := os.Stat(d.file(reserveFile))
	if err != nil {
		t.Skip("no fallocate here: ", err)
	}
	if blocks := info.Sys().(*syscall.Stat_t).Blocks; blocks*512 < 1<<20 {
		t.Errorf("the reserve takes %d bytes", blocks*512)
	}
	d.releaseReserve()
	if exists(d.file(reserveFile)) {
		t.Error("the reserve was not given up")
	}
}

// TestLowDiskShortensTheLog: the log goes, but for what safety asks for, the older snapshot and the reserve go where space is critical, and come back.
func TestLowDiskShortensTheLog(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.LogSegmentBytes, cfg.DiskFreeLowBytes = 256<<10, 0 }).start()
	x := c.leader()
	for range 2 {
		x.fill(10)
		if err := x.group.takeSnapshot(); err != nil {
			t.Fatal(err)
		}
	}
	x.fill(10)
	segments := func() int {
		files, _ := filepath.Glob(filepath.Join(x.cfg.DataDir, "log", "*.wal"))
		return len(files)
	}
	before := segments()
	x.group.dir.makeReserve(1 << 20)
	if now := x.group.lookAtSpace(spacePlenty, 1<<50); now != spaceCritical {
		t.Fatal(now)
	}
	if exists(x.group.dir.file(reserveFile)) {
		t.Error("the reserve is still there")
	}
	eventually(t, "a snapshot and a short log", func() bool {
		first, _ := x.group.stores.logs.FirstIndex()
		last, _ := x.group.stores.logs.LastIndex()
		return last-first < 20 && segments() < before
	})
	x.fill(3)
}

// TestSnapshotLeavesRoom: a snapshot must not take the space that the next append needs, and one that would free nothing is not asked for again and again.
func TestSnapshotLeavesRoom(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { cfg.LogSegmentBytes, cfg.DiskFreeLowBytes = 256<<10, 0 }).start()
	x := c.leader()
	x.fill(10)
	usage := &x.group.fsm.usage
	if n := usage.frees(x.machine.LiveBytes()); n < 256<<10 {
		t.Errorf("the first snapshot is said to free %d bytes", n)
	}
	usage.tight.Store(true)
	x.group.cfg.LogSegmentBytes = 1 << 60
	if err := x.group.takeSnapshot(); err == nil {
		t.Error("a snapshot was taken that leaves no room")
	}
	x.group.cfg.LogSegmentBytes = 256 << 10
	if err := x.group.takeSnapshot(); err != nil {
		t.Fatal(err)
	}
	if n := usage.frees(x.machine.LiveBytes()); n != 0 {
		t.Errorf("right after a snapshot another one is said to free %d bytes", n)
	}
}

func TestFullDiskIsExplained(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	err := c.leader().group.explainFull(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	if !errors.Is(err, syscall.ENOSPC) || len(err.Error()) < 100 {
		t.Error(err)
	}
	if other := errors.New("other"); c.nodes[0].group.explainFull(other) != other {
		t.Error("another error was taken for a full disk")
	}
}
