package guard

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// WriteBoundDefault is how long one write to a store may take unless configured otherwise.
const WriteBoundDefault = 5 * time.Second

// ErrHung reports that a write did not return within its bound.
var ErrHung = errors.New("guard: a write hung past its bound")

// watchdog ends the process when a write fails or hangs.
//
// Raft tolerates both, and must not. A leader whose disk hangs keeps its office for ever, because heartbeats bypass the log store: nothing commits and nobody
// is elected. A leader whose write fails steps down and may be elected again with the same disk. And after a failed fsync the kernel marks the pages clean: the
// next fsync succeeds although the data is gone. A hung write may even land after raft has truncated or rewritten the log around it. The only state that
// is known after any of these is the one that a new process reads from disk.
//
// The bound counts time in which this process ran. One that was stopped in the middle of a write (SIGSTOP, a suspended virtual machine) for longer than the
// bound has a healthy disk: it goes on, and the rest of the cluster tells it what it missed.
//
// The write runs on the caller's goroutine, so that an undisturbed one costs a timer and no hand-over. When fatal returns (only in tests), the first failure
// sticks: this write, if it ever completes, reports an error, and no later write is attempted.
type watchdog struct {
	bound  time.Duration
	fatal  func(error)
	once   sync.Once
	failed atomic.Pointer[error]
}

func newWatchdog(bound time.Duration, fatal func(error)) *watchdog {
	return &watchdog{bound: bound, fatal: fatal}
}

// do runs a write. A nil return means that it succeeded within the bound.
func (w *watchdog) do(what string, write func() error) error {
	if err := w.err(); err != nil {
		return err
	}
	// Whoever swaps it first decides: the write is then either in time or hung, never both.
	var decided atomic.Bool
	hung := fmt.Errorf("%w: %s took longer than %v", ErrHung, what, w.bound)
	stop := w.watch(&decided, hung)
	defer stop()
	err := write()
	if !decided.CompareAndSwap(false, true) {
		return hung
	}
	if err != nil {
		err = fmt.Errorf("guard: %s: %w", what, err)
		w.fail(err)
	}
	return err
}

// boundSlices is in how many parts the bound is counted.
const boundSlices = 20

// watch fails the write with hung when this process has run for the bound and nobody has decided; stop ends that.
func (w *watchdog) watch(decided *atomic.Bool, hung error) (stop func() bool) {
	age := runningTime{slice: w.bound / boundSlices, last: time.Now()}
	var mu sync.Mutex // orders the first firing behind the assignment of timer
	mu.Lock()
	defer mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(age.slice, func() {
		mu.Lock()
		defer mu.Unlock()
		switch ran := age.at(time.Now()); {
		case ran < w.bound:
			if !decided.Load() {
				timer.Reset(age.slice)
			}
		case decided.CompareAndSwap(false, true):
			w.fail(hung)
		}
	})
	return timer.Stop
}

// runningTime adds up the time between looks, a slice apart. A look that comes late by more than that was held up by a pause of the whole process, which
// counts as two slices.
type runningTime struct {
	slice, ran time.Duration
	last       time.Time
}

func (r *runningTime) at(now time.Time) time.Duration {
	r.ran += min(now.Sub(r.last), 2*r.slice)
	r.last = now
	return r.ran
}

// fail records the first failure and reports it.
func (w *watchdog) fail(err error) {
	w.once.Do(func() {
		w.failed.Store(&err)
		w.fatal(err)
	})
}

// err is the failure that ended this store, nil while it is whole.
func (w *watchdog) err() error {
	if p := w.failed.Load(); p != nil {
		return *p
	}
	return nil
}
