package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// Who is in the cluster follows the servers that are there, by these rules. The leader looks every pilotEvery and takes one step at a time; each look starts
// from what the configuration and the servers say then, so a step that failed, or whose leader was lost, is taken again or has become unnecessary.
//
//	unknown ──gossip, verified on the peer port──▶ non-voter ──kept up for StableFor──▶ voter
//	                                                   │ silent                           │ silent
//	                                                   ▼                                  ▼
//	     removed: at once where another server of its name is a live voter; else after DeadServerAfter, voters above three only
//
// Gossip proposes and never removes: a server counts as gone when it has not answered raft, which a majority does. No step lowers the number of failures that
// the cluster survives: a live voter more never does, and neither does a dead one less.

const (
	pilotEvery   = 500 * time.Millisecond
	positionAsk  = time.Second
	lagMax       = 250             // entries that a server may be behind and still be said to keep up
	serversMax   = 25              // more are not taken in: a machine that loses its disk at each start must not fill the configuration
	votersKept   = 3               // the dead are not removed below it, however long they are dead
	replaceAfter = 5 * time.Second // of silence, before another server of the same name takes a place
	addressQuiet = 5 * time.Second // how long a server must stand by its address before the configuration follows
	holdStep     = 2 * time.Second // after a step that failed, doubled each time
	holdMax      = time.Minute
)

// pilot is a leader's memory for that; its goroutine's own.
type pilot struct {
	*reign
	keepsUp map[string]time.Time     // non-voters: since when
	address map[string]steadyAddress // servers whose address is not the configuration's
	held    map[string]hold          // servers for which a step failed
	warned  map[string]time.Time
}

type steadyAddress struct {
	address string
	since   time.Time
}

type hold struct {
	until time.Time
	pause time.Duration
}

// fly looks, and takes a step where one is due, until ctx ends with the reign.
func (r *reign) fly(ctx context.Context) {
	p := &pilot{reign: r, keepsUp: map[string]time.Time{}, address: map[string]steadyAddress{}, held: map[string]hold{}, warned: map[string]time.Time{}}
	tick := time.NewTicker(pilotEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s := p.look(ctx)
		step := s.next()
		p.warnOfNamesakes(s)
		p.hold(step, p.take(ctx, step))
	}
}

// look is everything that a step is decided from.
func (p *pilot) look(ctx context.Context) situation {
	g, now := p.g, time.Now()
	s := situation{deadAfter: g.cfg.DeadServerAfter}
	members := map[string]bool{}
	for _, c := range p.servers() {
		id := string(c.ID)
		members[id] = true
		meta, gossips, known := g.gossip.member(id)
		if !known {
			meta.Name = nameOf(id)
		}
		heard := p.lastHeard(id)
		if heard.Before(p.since) {
			heard = p.since
		}
		m := situated{id: id, name: meta.Name, voter: c.Suffrage == raft.Voter, address: string(c.Address), gossips: gossips, held: p.isHeld(id)}
		m.alive = p.alive(id)
		if !m.alive {
			m.silent = now.Sub(heard)
		}
		m.stable = !m.voter && p.keptUp(ctx, id)
		if gossips {
			m.moved = p.moved(id, string(c.Address), meta.Peer, now)
		}
		s.servers = append(s.servers, m)
	}
	p.forget(members)
	s.newcomers = p.newcomers(ctx, members)
	return s
}

// keptUp tells whether a non-voter has kept up for StableFor, without a look between at which it was silent or behind.
func (p *pilot) keptUp(ctx context.Context, id string) bool {
	if !p.alive(id) {
		delete(p.keepsUp, id)
		return false
	}
	position, err := p.g.askPosition(ctx, id)
	if err != nil || position.Applied+lagMax < p.raft.AppliedIndex() {
		delete(p.keepsUp, id)
		return false
	}
	since, ok := p.keepsUp[id]
	if !ok {
		p.keepsUp[id] = time.Now()
		return p.g.cfg.StableFor == 0
	}
	return time.Since(since) >= p.g.cfg.StableFor
}

// moved is the address under which a server answers, where that is not the configuration's and has been the same for a while; else "".
func (p *pilot) moved(id, configured, gossiped string, now time.Time) string {
	if gossiped == configured || gossiped == "" || !p.alive(id) {
		delete(p.address, id)
		return ""
	}
	if p.address[id].address != gossiped {
		p.address[id] = steadyAddress{gossiped, now}
	}
	if now.Sub(p.address[id].since) < addressQuiet {
		return ""
	}
	return gossiped
}

// newcomers are the servers of this cluster that could be taken in: gossip has them, they answer on the peer port, and they never were members.
func (p *pilot) newcomers(ctx context.Context, members map[string]bool) (out []situated) {
	self, others := p.g.gossip.snapshot()
	for _, x := range others {
		if members[x.Server] || x.Leaving || x.Cluster != self.Cluster || p.isHeld(x.Server) || p.g.machine.Known(x.Server) {
			continue
		}
		if err := p.g.fitsLevel(x); err != nil {
			p.warn(x.Server, "a server that wants to join is not taken in", "server", x.Server, "error", err)
			continue
		}
		position, err := p.g.askPosition(ctx, x.Server)
		if err != nil {
			p.warn(x.Server, "a server that wants to join does not answer on the peer port", "server", x.Server, "peer", x.Peer, "error", err)
			continue
		}
		if !position.Voted {
			out = append(out, situated{id: x.Server, name: x.Name, address: x.Peer})
		}
	}
	return out
}

// forget lets go of what is known of servers that are no members, and not held.
func (p *pilot) forget(members map[string]bool) {
	for id := range p.keepsUp {
		if !members[id] {
			delete(p.keepsUp, id)
		}
	}
	for id := range p.address {
		if !members[id] {
			delete(p.address, id)
		}
	}
	for id, h := range p.held {
		if time.Since(h.until) > holdMax {
			delete(p.held, id)
		}
	}
	for id, at := range p.warned {
		if time.Since(at) > holdMax {
			delete(p.warned, id)
		}
	}
}

func (p *pilot) isHeld(id string) bool { return time.Now().Before(p.held[id].until) }

// hold keeps a server for which a step failed from being tried at once again.
func (p *pilot) hold(step step, err error) {
	switch {
	case step.do == doNothing || errors.Is(err, context.Canceled) || errors.Is(err, ErrNotLeader):
	case err == nil:
		delete(p.held, step.server)
	default:
		pause := min(max(holdStep, 2*p.held[step.server].pause), holdMax)
		p.held[step.server] = hold{time.Now().Add(pause), pause}
		p.g.log.Warn("the membership could not be changed, trying again later", "step", step.do, "server", step.server, "pause", pause, "error", err)
	}
}

// warn tells an operator something once a minute.
func (p *pilot) warn(id, text string, pairs ...any) {
	if _, ok := p.warned[id]; !ok {
		p.warned[id] = time.Now()
		p.g.log.Warn(text, pairs...)
	}
}

// warnOfNamesakes tells of newcomers that stay outside.
func (p *pilot) warnOfNamesakes(s situation) {
	for _, x := range s.newcomers {
		switch {
		case len(s.servers) >= serversMax:
			p.warn(x.id, "the cluster takes no more servers in", "server", x.id, "members", len(s.servers))
		case s.hasNamesake(x):
			p.warn(x.id, "a server that wants to join has the name of a member that lives: one of the two needs another --node-id, or is to be stopped", "server", x.id)
		}
	}
}

// take takes a step, unless it is none any more. A look takes a second for each server that does not answer, and the turn to change the configuration may come
// long after it:
//
//	The pilot looks: X keeps up, or has moved. An operator removes X, or X leaves; its process ends. The pilot promotes X, or writes its address down: raft
//	takes in whom it does not know, and a server that is gone for good has a vote.
//
// So each step is judged again by the configuration that it changes, while no other change may be made.
func (p *pilot) take(ctx context.Context, step step) error {
	if step.do == doNothing {
		return nil
	}
	if step.do == doClean || step.do == doReplace {
		p.g.log.Info("removing a server that is gone", "server", step.server, "silent", step.silent, "replaced", step.do == doReplace)
		return p.remove(ctx, step.server, removal{})
	}
	release, err := p.claimChanges(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := p.freeAddress(step); err != nil {
		return err
	}
	return p.amend(func(x *raft.Raft, servers []raft.Server) raft.Future {
		if !step.fits(servers) {
			return settled{}
		}
		p.g.log.Info("changing the membership", "step", step.do, "server", step.server, "address", step.address)
		return place(x, raft.ServerID(step.server), raft.ServerAddress(step.address), step.voter)
	})
}

// freeAddress takes an address from the server that the configuration has there: raft refuses two servers at one. Whoever answers there is somebody else by now,
// and where the former owner is, if it lives, gossip tells; until the configuration follows it stands there under its id, which nobody can dial.
func (p *pilot) freeAddress(step step) error {
	return p.amend(func(x *raft.Raft, servers []raft.Server) raft.Future {
		for _, s := range servers {
			if step.fits(servers) && string(s.Address) == step.address && string(s.ID) != step.server {
				p.g.log.Info("freeing the address of another server", "server", s.ID, "address", s.Address, "for", step.server)
				return place(x, s.ID, raft.ServerAddress(s.ID), s.Suffrage == raft.Voter)
			}
		}
		return settled{}
	})
}

// place gives a server its place in the configuration.
func place(x *raft.Raft, id raft.ServerID, address raft.ServerAddress, voter bool) raft.Future {
	if voter {
		return x.AddVoter(id, address, 0, changeBound)
	}
	return x.AddNonvoter(id, address, 0, changeBound)
}

// askPosition asks a server over the peer port, where it proves who it is.
func (g *Group) askPosition(ctx context.Context, server string) (administered, error) {
	ctx, cancel := context.WithTimeout(ctx, positionAsk)
	defer cancel()
	return g.askServer(ctx, server, administration{Do: doPosition})
}
