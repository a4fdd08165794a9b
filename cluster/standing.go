package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// standing is what a server is in the cluster, by the word of a leader that a majority stands behind.
type standing string

const (
	standingMember   standing = "member"
	standingNewcomer standing = "newcomer" // never was a member: it is taken in when its turn comes
	standingRemoved  standing = "removed"
)

// Departure says how a node ceased to be a member, as its folder remembers.
type Departure string

// The departures.
const (
	DepartedLeft    Departure = "left"    // by its own wish
	DepartedRemoved Departure = "removed" // by an operator's, or as a dead server
)

// ErrDeparted is wrapped by Open's error for the folder of a node that is no member any more.
var ErrDeparted = fmt.Errorf("cluster: this node is no member of its cluster any more")

const (
	standingEvery   = time.Second
	standingSilence = 3 * time.Second // without a leader's contact
	standingBound   = 5 * time.Second
)

// standing tells what a server is. The configuration that is judged is committed: a barrier of this term behind it is, so a leader that was deposed and does
// not know it yet tells nobody that it was removed:
//
//	A leads, is stopped. B is elected, and takes X in. A goes on; X asks A, whose configuration lacks X. A's barrier never commits.
//
// A server that has raft state and is not in the configuration was removed, or was being taken in when the leader died: the entry that named it reached it and
// no majority. Who was a member has opened an origin, which the state remembers for ever, or knows that it had a vote.
func (r *reign) standing(server string, voted bool) (standing, error) {
	if r.isMember(server) {
		return standingMember, nil
	}
	if !voted && !r.g.machine.Known(server) {
		return standingNewcomer, nil
	}
	if err := r.change(func(x *raft.Raft) raft.Future { return x.Barrier(changeBound) }); err != nil {
		return "", err
	}
	if !r.admits() || r.isMember(server) {
		return "", ErrNotLeader
	}
	return standingRemoved, nil
}

// Departed is closed once this node is no member of its cluster any more, because it left or was told that it was removed, and once it failed to leave. The process
// should end; How says which it was.
func (g *Group) Departed() <-chan struct{} { return g.departed }

// How is the departure after Departed was closed; "" before, and where the node failed to leave.
func (g *Group) How() Departure {
	id, _ := g.dir.identity()
	return id.Departed
}

// depart marks the folder and closes Departed.
func (g *Group) depart(how Departure) error {
	err := g.dir.noteDeparted(how)
	g.departOnce.Do(func() { close(g.departed) })
	return err
}

// watchStanding asks what this node is where it has reason to doubt that it is a member: it has raft state, and no leader speaks to it.
func (g *Group) watchStanding() {
	tick := time.NewTicker(standingEvery)
	defer tick.Stop()
	for {
		voted := g.voted()
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
		}
		if !g.doubtful() {
			continue
		}
		if g.askStanding(voted) == standingRemoved && !g.leaving.Load() {
			g.log.Error("this node was removed from its cluster: it closes its clients and ends. What it held is on the other nodes. "+
				"To use the machine again, move the data folder away and start with --join: it then joins as a new node", "data_dir", g.cfg.DataDir)
			if err := g.depart(DepartedRemoved); err != nil {
				g.log.Error("cannot mark the data folder", "error", err)
			}
			return
		}
	}
}

func (g *Group) doubtful() bool {
	in := g.instance()
	if !g.hasState() || in.raft.State() == raft.Leader {
		return false
	}
	return !g.inOwnConfiguration() || time.Since(in.raft.LastContact()) > standingSilence
}

func (g *Group) inOwnConfiguration() bool {
	for _, s := range g.configuration() {
		if string(s.ID) == g.self {
			return true
		}
	}
	return false
}

// voted tells whether this node has ever seen itself as a voter, and keeps that: the entry that takes its vote away may be the last that it gets.
func (g *Group) voted() bool {
	for _, s := range g.configuration() {
		if string(s.ID) == g.self && s.Suffrage == raft.Voter {
			if err := g.dir.noteVoted(); err != nil {
				g.log.Error("cannot note in the data folder that this node has a vote", "error", err)
			}
			return true
		}
	}
	id, _ := g.dir.identity()
	return id.Voted
}

// askStanding asks all servers that live; the leader answers. "" when none did.
func (g *Group) askStanding(voted bool) standing {
	ctx, cancel := context.WithTimeout(g.ctx, standingBound)
	defer cancel()
	_, others := g.gossip.snapshot()
	ask := administration{Do: doStanding, Server: g.self, Voted: voted}
	for _, x := range others {
		if answer, err := g.askServer(ctx, x.Server, ask); err == nil {
			return answer.Standing
		}
	}
	return ""
}
