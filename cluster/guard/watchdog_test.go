package guard

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestWatchdogHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fatal := make(chan error, 10)
		dog := newWatchdog(5*time.Second, func(err error) { fatal <- err })
		noError(t, dog.do("write", func() error { time.Sleep(5*time.Second - 1); return nil }))

		release, outcome := make(chan struct{}), make(chan error)
		go func() { outcome <- dog.do("write", func() error { <-release; return nil }) }()
		time.Sleep(5*time.Second - 1)
		synctest.Wait()
		if len(fatal) != 0 {
			t.Fatal("fatal within the bound")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if len(fatal) != 1 {
			t.Fatalf("at the bound: fatal %d times", len(fatal))
		}
		if err := <-fatal; !errors.Is(err, ErrHung) {
			t.Fatalf("at the bound: %v", err)
		}
		if err := dog.do("write", func() error { t.Error("a write after the failure"); return nil }); !errors.Is(err, ErrHung) {
			t.Errorf("the next write: %v", err)
		}
		close(release)
		if err := <-outcome; !errors.Is(err, ErrHung) {
			t.Errorf("the late completion was reported as %v", err)
		}
		if len(fatal) != 0 {
			t.Errorf("fatal again: %v", <-fatal)
		}
	})
}

func TestWatchdogError(t *testing.T) {
	var fatal []error
	dog := newWatchdog(time.Minute, func(err error) { fatal = append(fatal, err) })
	failure := errors.New("input/output error")
	if err := dog.do("write", func() error { return failure }); !errors.Is(err, failure) {
		t.Errorf("reported %v", err)
	}
	if err := dog.do("write", func() error { return nil }); !errors.Is(err, failure) {
		t.Errorf("the next write, which the kernel would let pass: %v", err)
	}
	if len(fatal) != 1 || !errors.Is(fatal[0], failure) {
		t.Errorf("fatal: %v", fatal)
	}
}

// TestStoresAreWatched: each kind of write that fails must be fatal, and none may report success afterwards.
func TestStoresAreWatched(t *testing.T) {
	failure := errors.New("input/output error")
	for name, write := range map[string]func(*LogStore) error{
		"store":    func(s *LogStore) error { return s.StoreLogs(entries("e", 1, 4, 5)) },
		"compact":  func(s *LogStore) error { return s.DeleteRange(1, 2) },
		"truncate": func(s *LogStore) error { return s.DeleteRange(2, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			inner := &hookedStore{LogStore: raft.NewInmemStore()}
			var fatal error
			cfg := storeConfig(t, inner, t.TempDir())
			cfg.Fatal = func(err error) { fatal = err }
			logs, err := OpenLogStore(cfg)
			noError(t, err)
			defer logs.Close()
			noError(t, logs.StoreLogs(entries("e", 1, 1, 3)))
			inner.before = func(string) error { return failure }
			if err := write(logs); !errors.Is(err, failure) || !errors.Is(fatal, failure) {
				t.Errorf("returned %v, fatal %v", err, fatal)
			}
			inner.before = nil
			if err := logs.StoreLogs(entries("e", 1, 4, 5)); err == nil {
				t.Error("the store went on")
			}
		})
	}
	t.Run("stable", func(t *testing.T) {
		var fatal error
		disk := &cuttableStable{InmemStore: raft.NewInmemStore(), left: 1}
		stable := NewStableStore(disk, time.Minute, func(err error) { fatal = err })
		noError(t, stable.SetUint64([]byte("CurrentTerm"), 1))
		if err := stable.SetUint64([]byte("CurrentTerm"), 2); !errors.Is(err, errCut) || !errors.Is(fatal, errCut) {
			t.Errorf("returned %v, fatal %v", err, fatal)
		}
	})
}

// TestLeaderWithHungDisk: heartbeats bypass the log store, so that followers stay loyal to a leader whose disk hangs.
func TestLeaderWithHungDisk(t *testing.T) {
	run := func(t *testing.T, watched bool) (replaced bool) {
		nodes := newTrio(t)
		release := make(chan struct{})
		var hang atomic.Pointer[node]
		for _, n := range nodes {
			disk := &hookedStore{LogStore: n.logs}
			disk.before = func(string) error {
				if hang.Load() == n {
					<-release
				}
				return nil
			}
			n.logs = disk
			if watched {
				cfg := storeConfig(t, disk, t.TempDir())
				cfg.WriteBound = 300 * time.Millisecond
				// The process ends: its connections go, its memory does not matter any more.
				cfg.Fatal = func(error) { n.trans.(*raft.InmemTransport).DisconnectAll(); nodes.isolate(n) }
				logs, err := OpenLogStore(cfg)
				noError(t, err)
				t.Cleanup(func() { logs.Close() })
				n.logs = logs
			}
		}
		nodes.start(t)
		leader := nodes.leader(t, nil)
		hang.Store(leader)
		leader.raft.Apply([]byte("hangs"), 0)
		replaced = within(awaitIf(watched, time.Second), func() bool { return nodes.leading(leader) != nil })
		hang.Store(nil)
		close(release)
		nodes.stop()
		return replaced
	}
	t.Run("without", func(t *testing.T) {
		if run(t, false) {
			t.Skip("an election happened for another reason: a busy machine shows nothing here")
		}
	})
	t.Run("with", func(t *testing.T) {
		if !run(t, true) {
			t.Error("the leader was not replaced")
		}
	})
}

// awaitIf waits long for what must happen and only so long for what must not.
func awaitIf(must bool, short time.Duration) time.Duration {
	if must {
		return awaitMax
	}
	return short
}
