package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// Raft hands leadership to the voter to which it has sent the most. While nothing is sent all are equal, and one that hangs looks as good as any: the transfer
// then takes ten seconds, in which no entry is accepted, and fails. So the leader asks all voters first, by an AppendEntries that has the last entry as its
// previous one and none of its own, and takes the first that confirms it: that one runs, its raft takes requests, and its log is complete.
const (
	successorBound = 500 * time.Millisecond // for the first that has everything
	successorPause = 2 * time.Millisecond   // before a voter that lags is asked again
)

var errNoSuccessor = errors.New("cluster: no other voter has the whole log and answers")

// transferToReadiest hands leadership to the voter that answers first. The reign has ended: nothing is proposed any more.
func (g *Group) transferToReadiest(r *raft.Raft) raft.Future {
	id := g.readiest(r)
	for _, s := range g.configuration() {
		if s.ID == id {
			return r.LeadershipTransferToServer(s.ID, s.Address)
		}
	}
	return settled{errNoSuccessor}
}

// readiest is the first voter that confirms to have the last entry; "" when none does in time.
func (g *Group) readiest(r *raft.Raft) raft.ServerID {
	ctx, cancel := context.WithTimeout(g.ctx, successorBound)
	defer cancel()
	voters := without(g.voters(), g.self)
	ready := make(chan raft.ServerID, len(voters))
	term := r.CurrentTerm()
	for _, v := range voters {
		// Joined by Close: an answer of one that hangs may take as long as the transport waits for it.
		if g.spawn(func() { g.awaitReady(ctx, r, term, raft.ServerID(v), ready) }) != nil {
			return ""
		}
	}
	select {
	case id := <-ready:
		return id
	case <-ctx.Done():
		return ""
	}
}

// awaitReady asks a voter until it has the last entry.
func (g *Group) awaitReady(ctx context.Context, r *raft.Raft, term uint64, id raft.ServerID, ready chan<- raft.ServerID) {
	for ctx.Err() == nil {
		lastTerm, last := g.lastEntry(r)
		req := raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(g.self), Addr: []byte(g.peerAddr)},
			Term:      term, PrevLogEntry: last, PrevLogTerm: lastTerm, LeaderCommitIndex: min(last, r.CommitIndex()),
		}
		var resp raft.AppendEntriesResponse
		// Only a leader may say this: a request of an older term is refused, and a leader of this term is this node or nobody.
		if r.State() != raft.Leader || r.CurrentTerm() != term {
			return
		}
		err := g.noticeTransport.AppendEntries(id, raft.ServerAddress(id), &req, &resp)
		if err == nil && resp.Success {
			ready <- id
			return
		}
		select {
		case <-time.After(successorPause):
		case <-ctx.Done():
		}
	}
}

// without is all but one.
func without(all []string, one string) (rest []string) {
	for _, x := range all {
		if x != one {
			rest = append(rest, x)
		}
	}
	return rest
}
