package cluster

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A disk that fills up must not end a node by surprise. The Machine holds publishers while less than Config.DiskFreeLowBytes beside a snapshot is free; what goes
// on meanwhile (acknowledgements above all) still needs log, and a shorter log needs one more snapshot:
//
//	plenty   a reserve file of a quarter of DiskFreeLowBytes is allocated
//	low      free < DiskFreeLowBytes + LiveBytes: a snapshot is taken, as few entries stay behind it as safety asks for, and the older snapshot, to which such a
//	         log does not reach back, is removed; again whenever that frees a segment's worth. A snapshot that would leave less than a segment is not taken
//	critical free < the reserve: somebody else fills the disk. The reserve is given up, for acknowledgements and one snapshot
//
// The reserve is made again once it fits with a tenth to spare. Where all that is not enough the next write fails and ends the process, which is safe: nothing
// was promised on the strength of it.
const (
	reserveFile       = "reserve"
	reservePart       = 4 // of DiskFreeLowBytes
	spaceLookEvery    = 500 * time.Millisecond
	spaceClearPercent = 110
)

// space is how much there is.
type space uint8

const (
	spacePlenty space = iota
	spaceLow
	spaceCritical
)

func (s space) String() string { return [...]string{"plenty", "low", "critical"}[s] }

// freeBytes is what this user may still write to the file system of a folder.
func freeBytes(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// judgeSpace has the rule, with a tenth of way back before a state ends.
func judgeSpace(before space, free, low, live int64) space {
	back := func(s space, limit int64) int64 {
		if before >= s {
			return limit / 100 * spaceClearPercent
		}
		return limit
	}
	switch {
	case free < back(spaceCritical, low/reservePart):
		return spaceCritical
	case free < back(spaceLow, low+live):
		return spaceLow
	}
	return spacePlenty
}

// watchSpace looks at the disk of the data folder.
func (g *Group) watchSpace() {
	if g.cfg.DiskFreeLowBytes == 0 {
		return
	}
	tick := time.NewTicker(spaceLookEvery)
	defer tick.Stop()
	var now space
	for {
		now = g.lookAtSpace(now, g.cfg.DiskFreeLowBytes)
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (g *Group) lookAtSpace(before space, low int64) space {
	free, err := freeBytes(g.dir.path)
	if err != nil {
		return before
	}
	live := g.machine.LiveBytes()
	now := judgeSpace(before, free, low, live)
	g.fsm.usage.tight.Store(now != spacePlenty)
	if now == spaceCritical {
		g.dir.releaseReserve()
	}
	if now != spacePlenty {
		g.stores.snapshots.dropOlder()
		if now > before || g.fsm.usage.frees(live) >= int64(g.cfg.LogSegmentBytes) {
			g.fsm.usage.ask()
		}
	}
	if now == spacePlenty {
		g.dir.makeReserve(low / reservePart)
	}
	if now != before {
		g.log.Warn("space on the disk of the data folder", "now", now.String(), "before", before.String(), "free_bytes", free, "live_bytes", live,
			"low_bytes", low)
	}
	return now
}

// roomForSnapshot keeps a snapshot from taking the last of a disk that is low: an append that finds no space ends the process, a log that stays long does not.
func (g *Group) roomForSnapshot() error {
	if !g.fsm.usage.tight.Load() {
		return nil
	}
	free, err := freeBytes(g.dir.path)
	needed := g.machine.LiveBytes() + int64(g.cfg.LogSegmentBytes)
	if err != nil || free >= needed {
		return nil
	}
	return fmt.Errorf("a snapshot needs about %d MiB of the data folder's disk, and %d MiB are free", needed>>20, free>>20)
}

// makeReserve allocates the reserve, unless it is there or would leave less than twice its size.
func (d *dataDir) makeReserve(size int64) {
	path := d.file(reserveFile)
	if exists(path) {
		return
	}
	if free, err := freeBytes(d.path); err != nil || free < 2*size {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	// A file system without fallocate has no reserve: a file full of zeros may take no space there either.
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, size), f.Close()); err != nil {
		os.Remove(path)
	}
}

func (d *dataDir) releaseReserve() { os.Remove(d.file(reserveFile)) }

// makeRoom gives the reserve up before a start on a disk that is full: even the boot number needs a block.
func (d *dataDir) makeRoom(low int64) {
	if free, err := freeBytes(d.path); err == nil && free < low/reservePart {
		d.releaseReserve()
	}
}

// explainFull says of a write that found no space how much there is and how much is needed.
func (g *Group) explainFull(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	free, _ := freeBytes(g.cfg.DataDir)
	needed := 2*int64(g.cfg.LogSegmentBytes) + g.cfg.DiskFreeLowBytes
	if g.stores != nil && g.stores.snapshots != nil {
		if list, err := g.stores.snapshots.List(); err == nil && len(list) > 0 {
			needed += list[0].Size
		}
	}
	return fmt.Errorf("the disk of the data folder %s is full: %d MiB are free, about %d MiB are needed; nothing confirmed is lost: make room and start the node again: %w",
		g.cfg.DataDir, free>>20, needed>>20, err)
}

// dropOlder removes all snapshots but the newest that can be read: the older one is there for damage, and a full disk is the nearer danger.
func (s *snapshotStore) dropOlder() {
	list, err := s.List()
	if err != nil || len(list) < 2 {
		return
	}
	if _, source, err := s.Open(list[0].ID); err != nil {
		return
	} else if source.Close() != nil {
		return
	}
	for _, meta := range list[1:] {
		s.remove(meta.ID)
	}
}
