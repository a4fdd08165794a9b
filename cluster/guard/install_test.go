package guard

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// TestInstallOverConflict: the follower holds entries 5 to 8 of a deposed leader when a snapshot of what was committed up to 5 arrives.
func TestInstallOverConflict(t *testing.T) {
	prepare := func(t *testing.T, f *follower) {
		f.bootstrap(t)
		f.boot(t)
		f.mustAppend(t, 2, 1, 1, 4, entries("ok", 2, 2, 4)...)
		f.mustAppend(t, 2, 4, 2, 4, entries("stale", 2, 5, 8)...)
	}
	const snapshot = "ok2 ok3 ok4 new5"
	t.Run("without", func(t *testing.T) {
		for name, logs := range map[string]raft.LogStore{
			"gaps": raft.NewInmemStore(), "monotonic": monotonicStore{raft.NewInmemStore()},
		} {
			t.Run(name, func(t *testing.T) {
				f := newFollower(t, plain)
				f.logs = logs
				prepare(t, f)
				for range 3 {
					if ok, err := f.install(3, 5, 3, snapshot); !ok || err != nil {
						t.Fatalf("install: %t, %v", ok, err)
					}
					if f.append(t, 3, 5, 3, 6, entries("new", 3, 6, 6)...) {
						t.Fatal("raft no longer livelocks by itself: the check may go")
					}
				}
			})
		}
	})
	t.Run("with", func(t *testing.T) {
		f, restart := newCheckedFollower(t)
		prepare(t, f)
		if ok, err := f.install(3, 5, 3, snapshot); ok || err == nil {
			t.Fatalf("the conflicting install was let in: %t, %v", ok, err)
		}
		restart(t, 5, 3)
		if last, _ := f.logs.LastIndex(); last != 4 {
			t.Fatalf("the log ends at %d; entries up to 4 may be committed and none after it is", last)
		}
		if ok, err := f.install(3, 5, 3, snapshot); !ok || err != nil {
			t.Fatalf("install after the restart: %t, %v", ok, err)
		}
		f.mustAppend(t, 3, 5, 3, 6, entries("new", 3, 6, 6)...)
		await(t, "catch-up", func() bool { return f.fsm.String() == snapshot+" new6" })
	})
}

// TestInstallOfWhatIsHeld: a repeated install must not take the state back, nor delete what was committed since.
func TestInstallOfWhatIsHeld(t *testing.T) {
	prepare := func(t *testing.T, f *follower) {
		f.bootstrap(t)
		f.boot(t)
		f.mustAppend(t, 2, 1, 1, 8, entries("ok", 2, 2, 8)...)
		await(t, "everything applied", func() bool { return f.raft.AppliedIndex() == 8 })
		if ok, err := f.install(2, 5, 2, "ok2 ok3 ok4 ok5"); !ok || err != nil {
			t.Fatalf("install: %t, %v", ok, err)
		}
	}
	t.Run("without", func(t *testing.T) {
		f := newFollower(t, plain)
		f.logs = monotonicStore{raft.NewInmemStore()}
		prepare(t, f)
		if f.append(t, 2, 5, 2, 8) || f.fsm.String() != "ok2 ok3 ok4 ok5" {
			t.Error("raft keeps the state by itself: the check may go")
		}
	})
	t.Run("with", func(t *testing.T) {
		f, _ := newCheckedFollower(t)
		prepare(t, f)
		f.mustAppend(t, 2, 5, 2, 8)
		f.mustAppend(t, 2, 8, 2, 9, entries("ok", 2, 9, 9)...)
		await(t, "the next entry", func() bool { return f.fsm.String() == "ok2 ok3 ok4 ok5 ok6 ok7 ok8 ok9" })
		if f.fsm.restored() != 0 {
			t.Errorf("%d restores", f.fsm.restored())
		}
	})
}

// newCheckedFollower is a follower on raft-wal with all remedies. restart does what package cluster does on ErrInstallConflict.
func newCheckedFollower(t *testing.T) (f *follower, restart func(t *testing.T, index, term uint64)) {
	dir := t.TempDir()
	inner, err := innerStores["raft-wal"](dir)
	noError(t, err)
	logs := openStore(t, inner, dir)
	f = newFollower(t, func(inner Inner) raft.Transport {
		return NewTransport(inner, Hooks{BeforeInstall: func(req *raft.InstallSnapshotRequest) error {
			return CheckInstall(logs, req.LastLogIndex, req.LastLogTerm)
		}})
	})
	f.logs = logs
	t.Cleanup(func() {
		f.stop()
		noError(t, logs.Close())
		noError(t, inner.Close())
	})
	return f, func(t *testing.T, index, term uint64) {
		t.Helper()
		f.stop()
		noError(t, TruncateConflict(f.logs, index, term))
		f.fsm = &machine{}
		f.boot(t)
	}
}

func TestCheckInstall(t *testing.T) {
	logs := openStore(t, raft.NewInmemStore(), t.TempDir())
	defer logs.Close()
	expect := func(index, term uint64, want error) {
		t.Helper()
		if err := CheckInstall(logs, index, term); !errors.Is(err, want) || (want == nil) != (err == nil) {
			t.Errorf("install at %d of term %d: %v instead of %v", index, term, err, want)
		}
		conflict, err := ConflictsAt(logs, index, term)
		noError(t, err)
		if conflict != (want == ErrInstallConflict) {
			t.Errorf("conflict at %d of term %d: %t", index, term, conflict)
		}
	}
	expect(5, 2, nil)
	noError(t, logs.StoreLogs(entries("e", 2, 1, 10)))
	expect(5, 2, ErrInstallHeld)
	expect(10, 2, ErrInstallHeld)
	expect(10, 3, ErrInstallConflict)
	expect(11, 2, nil)
	noError(t, logs.DeleteRange(1, 5))
	expect(5, 2, ErrInstallHeld)
	expect(6, 3, ErrInstallConflict)

	noError(t, TruncateConflict(logs, 8, 2)) // no conflict
	noError(t, TruncateConflict(logs, 3, 9)) // compacted
	if last, _ := logs.LastIndex(); last != 10 {
		t.Fatalf("the log ends at %d without a conflict", last)
	}
	noError(t, TruncateConflict(logs, 8, 3))
	if last, _ := logs.LastIndex(); last != 7 {
		t.Fatalf("the log ends at %d after a conflict at 8", last)
	}
}

// TestGapAfterInstall: the process ended after an install's snapshot was stored and before the old log was removed.
func TestGapAfterInstall(t *testing.T) {
	t.Run("without", func(t *testing.T) {
		inner, err := wal.Open(t.TempDir())
		noError(t, err)
		defer inner.Close()
		noError(t, inner.StoreLogs(entries("old", 2, 1, 50)))
		if inner.StoreLogs(entries("new", 3, 101, 102)) == nil {
			t.Error("raft-wal accepts the gap by itself")
		}
	})
	for name, open := range innerStores {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			inner, err := open(dir)
			noError(t, err)
			logs := openStore(t, inner, dir)
			noError(t, logs.StoreLogs(entries("old", 2, 1, 50)))
			noError(t, logs.StoreLogs(entries("new", 3, 101, 102)))
			first, _ := logs.FirstIndex()
			last, _ := logs.LastIndex()
			if first != 101 || last != 102 {
				t.Errorf("the log reaches from %d to %d", first, last)
			}
			noError(t, logs.Close())
			noError(t, inner.Close())
			inner, err = open(dir)
			noError(t, err)
			noError(t, openStore(t, inner, dir).Close())
			noError(t, inner.Close())
		})
	}
}

// TestMonotonicShows: hidden behind an embedded interface, raft would keep the old log across an install and raft-wal reject what follows.
func TestMonotonicShows(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]bool{"raft-wal": true, "raft-boltdb": false} {
		dir := filepath.Join(dir, name)
		inner, err := innerStores[name](dir)
		noError(t, err)
		logs := openStore(t, inner, dir)
		if _, hidden := any(struct{ raft.LogStore }{logs}).(raft.MonotonicLogStore); hidden {
			t.Error("embedding the interface no longer hides IsMonotonic")
		}
		if logs.IsMonotonic() != want {
			t.Errorf("%s is monotonic: %t", name, logs.IsMonotonic())
		}
		noError(t, logs.Close())
		noError(t, inner.Close())
	}
}
