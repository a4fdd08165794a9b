package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	goneAfter   = 2 * time.Second // a server that was heard of within it is told to leave, not removed
	changeBound = 5 * time.Second // how long a change of the configuration may wait for its turn
)

// removal is how a server goes.
type removal struct {
	leaving bool // by its own wish, and alive
	force   bool // whatever else speaks against it
}

// remove takes a server out: its streams are refused from now on, its origin is closed in the log, then the configuration changes. Each step may be taken
// twice, so that an order whose leader was lost in between is given to the next one. A change that failed may still commit, under this leader or the next.
//
// The order of the steps keeps messages moving: what the server's consumers held goes back to its queues before the server is nobody's business any more.
func (r *reign) remove(ctx context.Context, server string, how removal) error {
	release, err := r.claimChanges(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := r.mayRemove(server, how); err != nil {
		return err
	}
	if !r.isMember(server) {
		return nil // an earlier order has done it
	}
	if server == r.g.self {
		// A leader that removes itself steps down without a successor, so another one does it.
		return errors.Join(r.transfer(ctx, ""), ErrNotLeader)
	}
	r.shut(server, true)
	if err := r.g.machine.Depart(ctx, server); err != nil {
		r.shut(server, false)
		return fmt.Errorf("%w: closing the origin of %s: %v", ErrNotNow, server, err)
	}
	if err := r.change(func(x *raft.Raft) raft.Future { return x.RemoveServer(raft.ServerID(server), 0, changeBound) }); err != nil {
		r.shut(server, false)
		return err
	}
	r.g.log.Info("removed a server from the cluster", "server", server, "by_its_own_wish", how.leaving, "forced", how.force)
	return nil
}

// mayRemove reports what speaks against a removal.
func (r *reign) mayRemove(server string, how removal) error {
	votes, remaining, live, member := false, 0, 0, false
	for _, s := range r.servers() {
		switch {
		case string(s.ID) == server:
			votes, member = s.Suffrage == raft.Voter, true
		case s.Suffrage == raft.Voter:
			remaining++
			if r.alive(string(s.ID)) {
				live++
			}
		}
	}
	switch {
	case !member:
		return nil
	case votes && remaining == 0:
		return fmt.Errorf("%w: %s", ErrLastVoter, server)
	case how.force:
		return nil
	case !how.leaving && (server == r.g.self || time.Since(r.lastHeard(server)) < goneAfter):
		return fmt.Errorf("%w: %s", ErrAlive, server)
	case !how.leaving && time.Since(r.since) < goneAfter:
		// Silence begins with the reign: a leader of a moment ago has heard of nobody yet, of those that live neither.
		return fmt.Errorf("%w: this leader is new and has not heard of %s yet, which may live", ErrNotNow, server)
	case time.Since(r.since) < goneAfter && live < remaining:
		return fmt.Errorf("%w: this leader is new and has not heard of all servers yet", ErrNotNow)
	case votes && live < remaining/2+1:
		return fmt.Errorf("%w: %d of %d are alive without %s", ErrWouldLoseQuorum, live, remaining, server)
	}
	return nil
}

// alive tells whether the leader heard of a server just now, by a stream or by raft, whose heartbeats are answered ten times within the time-out.
func (r *reign) alive(server string) bool {
	return server == r.g.self || time.Since(r.lastHeard(server)) < r.g.cfg.HeartbeatTimeout
}

func (r *reign) lastHeard(server string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heardAt[server]
}

// servers is the latest configuration, committed or not.
func (r *reign) servers() []raft.Server {
	f := r.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

func (r *reign) isMember(server string) bool {
	for _, s := range r.servers() {
		if string(s.ID) == server {
			return true
		}
	}
	return false
}

// shut refuses the streams of a server that is going, or takes them again where it stays.
func (r *reign) shut(server string, out bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !out {
		delete(r.going, server)
		return
	}
	r.going[server] = true
	if in := r.intakes[server]; in != nil {
		in.endLocked("this server is being removed from the cluster")
	}
}

// claimChanges waits for the turn to change the configuration: raft takes one change at a time, and ours have several steps. A reign that is over may still
// have one under way, which the next one waits for.
func (r *reign) claimChanges(ctx context.Context) (release func(), err error) {
	select {
	case r.g.changes <- struct{}{}:
		return func() { <-r.g.changes }, nil
	case <-r.over:
		return nil, ErrNotLeader
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// amend makes a change that begin decides from the latest configuration; settled{} where there is none to make. The caller has claimed changes: raft could be
// told on which configuration a change depends, but does not tell its index.
func (r *reign) amend(begin func(x *raft.Raft, servers []raft.Server) raft.Future) error {
	return r.change(func(x *raft.Raft) raft.Future {
		f := x.GetConfiguration()
		if err := f.Error(); err != nil {
			return settled{err}
		}
		return begin(x, f.Configuration().Servers)
	})
}

// change changes the configuration and waits until that is committed, or this node leads no more. A reign that is over changes nothing: closing an origin may
// take as long as two elections, between which another leader removed a server that this one counted on.
func (r *reign) change(begin func(*raft.Raft) raft.Future) error {
	err := r.g.instance().await(func(x *raft.Raft) raft.Future {
		if x != r.raft || !r.admits() {
			return settled{ErrNotLeader}
		}
		return begin(x)
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, ErrNotLeader):
		return fmt.Errorf("%w: %v", ErrNotLeader, err)
	}
	return fmt.Errorf("%w: %v", ErrNotNow, err)
}

// settled is a raft.Future that has ended.
type settled struct{ err error }

// Error is raft.Future.
func (s settled) Error() error { return s.err }
