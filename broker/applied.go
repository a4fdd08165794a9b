package broker

import (
	"context"
	"sync"
)

// appliedIndex is the highest log index applied here, to be waited for.
type appliedIndex struct {
	mu      sync.Mutex
	index   uint64
	waiters []appliedWaiter
}

type appliedWaiter struct {
	index uint64
	done  chan struct{}
}

func (a *appliedIndex) get() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.index
}

// reach says that everything up to index is applied.
func (a *appliedIndex) reach(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index = max(a.index, index)
	kept := a.waiters[:0]
	for _, w := range a.waiters {
		if w.index <= a.index {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	clear(a.waiters[len(kept):])
	a.waiters = kept
}

// wait returns when index is applied, or with ErrSessionOver when over is closed. Waiters are as many as probes: one a session.
func (a *appliedIndex) wait(ctx context.Context, index uint64, over <-chan struct{}) error {
	a.mu.Lock()
	if a.index >= index {
		a.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	a.waiters = append(a.waiters, appliedWaiter{index: index, done: done})
	a.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-over:
		return ErrSessionOver
	case <-ctx.Done():
		return ctx.Err()
	}
}
