package guard

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func openDurable(t *testing.T, dir string) *durableIndex {
	t.Helper()
	d, _, err := openDurableIndex(dir)
	noError(t, err)
	return d
}

// TestDurableIndexTornSlot: whichever slot a power failure tears, the other one counts, and it never says more than the log has.
func TestDurableIndexTornSlot(t *testing.T) {
	for name, c := range map[string]struct {
		write     func(d *durableIndex) error
		low, high uint64 // what may be read
	}{
		"raised once":      {func(d *durableIndex) error { return d.raise(10) }, 0, 10},
		"raised":           {func(d *durableIndex) error { return errors.Join(d.raise(10), d.raise(20)) }, 10, 20},
		"lowered":          {func(d *durableIndex) error { return errors.Join(d.raise(10), d.raise(20), d.lower(5)) }, 5, 5},
		"lowered to none":  {func(d *durableIndex) error { return errors.Join(d.raise(10), d.lower(0)) }, 0, 0},
		"lower was needed": {func(d *durableIndex) error { return errors.Join(d.raise(10), d.raise(20), d.lower(30)) }, 10, 20},
		"raised again":     {func(d *durableIndex) error { return errors.Join(d.raise(20), d.lower(5), d.raise(6)) }, 5, 6},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := openDurable(t, dir)
			noError(t, c.write(d))
			noError(t, d.close())
			path := filepath.Join(dir, durableFile)
			content, err := os.ReadFile(path)
			noError(t, err)
			if d = openDurable(t, dir); d.index != c.high {
				t.Errorf("read %d instead of %d", d.index, c.high)
			}
			noError(t, d.close())
			for _, slot := range []int{0, slotStride} {
				for i := range slotSize {
					noError(t, os.WriteFile(path, flipped(content, slot+i), 0o600))
					d := openDurable(t, dir)
					if d.index != c.low && d.index != c.high {
						t.Errorf("slot at %d torn at %d: read %d", slot, i, d.index)
					}
					noError(t, d.close())
				}
			}
		})
	}
}

// TestDurableIndexUnfinished: the process ended while it created the file.
func TestDurableIndexUnfinished(t *testing.T) {
	dir := t.TempDir()
	noError(t, os.WriteFile(filepath.Join(dir, durableFile+".new"), []byte("half"), 0o600))
	d, existed, err := openDurableIndex(dir)
	noError(t, err)
	if existed || d.index != 0 {
		t.Errorf("existed: %t, index %d", existed, d.index)
	}
	noError(t, d.close())
	if _, existed, _ := openDurableIndex(filepath.Join(dir, "missing")); existed {
		t.Error("found in a folder that does not exist")
	}
}

// TestDurableIndexIsSynced: once a second, when there is something to sync, and at Close.
func TestDurableIndexIsSynced(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		logs := openStore(t, raft.NewInmemStore(), dir)
		noError(t, logs.StoreLogs(entries("e", 1, 1, 3)))
		if !logs.durable.dirty.Load() {
			t.Error("nothing to sync after a store")
		}
		time.Sleep(durableSyncEvery)
		synctest.Wait()
		if logs.durable.dirty.Load() {
			t.Error("not synced after a second")
		}
		noError(t, logs.Close())
	})
}
