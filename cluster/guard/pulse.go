package guard

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// pulseLook is how often a call that is held looks whether its term is over or its server removed.
const pulseLook = 50 * time.Millisecond

// pulse tells when a heartbeat to one server is answered, and errors of replication to it are held back until then.
//
// Raft doubles its pause before the next attempt at replication with every failure, up to 10.24 s, and an answered heartbeat does not shorten it. A follower
// that comes back after ten seconds knows the leader at once, and hears for ten seconds more neither of new entries nor of what is committed: it
// cannot replay its own log meanwhile, and if another node fails in that time, nothing is confirmed until it is over. With the errors held back there are as
// many failures as there were answers in between, so that replication goes on with the first heartbeat that gets through.
type pulse struct {
	mu       sync.Mutex // guards answered
	answered chan struct{}
}

// pulses are those of all servers.
type pulses struct {
	mu sync.Mutex // guards by
	by map[raft.ServerID]*pulse
}

func (s *pulses) of(id raft.ServerID) *pulse {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[raft.ServerID]*pulse{}
	}
	p := s.by[id]
	if p == nil {
		p = &pulse{answered: make(chan struct{})}
		s.by[id] = p
	}
	return p
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.answered)
	p.answered = make(chan struct{})
}

func (p *pulse) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered
}

// hold returns when a heartbeat is answered, or the term is over here: raft waits for its replication to end when it is shut down. It also returns when the
// server is removed: raft learns of that only between two requests, and would send heartbeats to what is gone until it leads no more.
func (t *Transport) hold(id raft.ServerID, term uint64) {
	if t.hooks.Replicates == nil {
		return
	}
	answered := t.pulses.of(id).next()
	tick := time.NewTicker(pulseLook)
	defer tick.Stop()
	for t.hooks.Replicates(id, term) {
		select {
		case <-answered:
			return
		case <-t.closing:
			return
		case <-tick.C:
		}
	}
}
