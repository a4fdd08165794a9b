package guard

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// deafTransport fails every request while deaf.
type deafTransport struct {
	*raft.InmemTransport
	deaf atomic.Bool
}

func (d *deafTransport) AppendEntries(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error {
	if d.deaf.Load() {
		return errors.New("nobody there")
	}
	return nil
}

// beat sends heartbeats as raft does until stop is closed.
func beat(t *Transport, stop <-chan struct{}) {
	for {
		_ = t.AppendEntries("b", "b", &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{})
		select {
		case <-time.After(250 * time.Millisecond):
		case <-stop:
			return
		}
	}
}

// TestReplicationGoesOnWithTheFirstHeartbeat: a server is away for ten minutes. Raft must not count hundreds of failures meanwhile, or it would pause for
// ten seconds when the server is back.
func TestReplicationGoesOnWithTheFirstHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, inmem := raft.NewInmemTransport("a")
		inner := &deafTransport{InmemTransport: inmem}
		var term atomic.Uint64
		var removed atomic.Bool
		term.Store(1)
		tr := NewTransport(inner, Hooks{Replicates: func(id raft.ServerID, t uint64) bool { return id == "b" && t == term.Load() && !removed.Load() }})
		defer tr.Close()
		stop := make(chan struct{})
		go beat(tr, stop)
		inner.deaf.Store(true)
		began, returned := time.Now(), make(chan time.Duration)
		replicate := func() {
			go func() {
				err := tr.AppendEntries("b", "b", &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 7}, &raft.AppendEntriesResponse{})
				if err == nil {
					t.Error("a success while nobody is there")
				}
				returned <- time.Since(began)
			}()
		}
		replicate()
		time.Sleep(10 * time.Minute)
		inner.deaf.Store(false)
		if after := <-returned; after < 10*time.Minute || after > 10*time.Minute+300*time.Millisecond {
			t.Errorf("the failure was reported after %v", after)
		}
		inner.deaf.Store(true)
		replicate()
		time.Sleep(time.Minute)
		over := time.Since(began) // a beat and the sleeps above fall on the same instant: which comes first is open
		term.Store(2)             // raft ends its heartbeats only after its replication
		if after := <-returned; after > over+2*pulseLook {
			t.Errorf("the failure was held for %v after the end of the term", after-over)
		}
		term.Store(1)
		began = time.Now()
		replicate()
		time.Sleep(time.Minute)
		over = time.Since(began)
		removed.Store(true)
		if after := <-returned; after > over+2*pulseLook {
			t.Errorf("the failure was held for %v after the server was removed", after-over)
		}
		close(stop)
	})
}
