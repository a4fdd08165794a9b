package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// readRounds lets calls of ReadIndex share rounds: a round serves every call that came before it began, and none that came later, because what was
// confirmed in between might be missing in its answer.
type readRounds struct {
	mu      sync.Mutex // guards what follows
	next    *readRound // collects calls; nil when none waits
	running bool
}

type readRound struct {
	done  chan struct{}
	index uint64
	err   error
}

const readRoundBound = 5 * time.Second

// ReadIndex returns a log index that was committed when a leader, confirmed by a majority after the call began, answered. Calls coalesce. State applied
// up to it reflects everything confirmed before the call (Raft thesis §6.4). It is the index of a command, so that Machine.Apply gets there. ErrNoLeader.
func (g *Group) ReadIndex(ctx context.Context) (uint64, error) {
	r, err := g.joinRound()
	if err != nil {
		return 0, err
	}
	select {
	case <-r.done:
		return r.index, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (g *Group) joinRound() (*readRound, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return nil, ErrClosed
	}
	g.reads.mu.Lock()
	defer g.reads.mu.Unlock()
	if g.reads.next == nil {
		g.reads.next = &readRound{done: make(chan struct{})}
	}
	if !g.reads.running {
		g.reads.running = true
		g.wg.Go(g.runRounds)
	}
	return g.reads.next, nil
}

// runRounds runs rounds while calls wait.
func (g *Group) runRounds() {
	for {
		g.reads.mu.Lock()
		r := g.reads.next
		g.reads.next = nil
		g.reads.running = r != nil
		g.reads.mu.Unlock()
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(g.ctx, readRoundBound)
		r.index, r.err = g.askIndex(ctx)
		cancel()
		close(r.done)
	}
}

// askIndex asks the leader, here or elsewhere.
func (g *Group) askIndex(ctx context.Context) (uint64, error) {
	l, _ := g.Leadership()
	switch l.Server {
	case "":
		return 0, ErrNoLeader
	case g.self:
		return g.leaderIndex()
	}
	answer, err := g.call(ctx, l.Server, callReadIndex, nil)
	if err != nil {
		return 0, err
	}
	if len(answer) != 8 {
		return 0, errFrame
	}
	return binary.BigEndian.Uint64(answer), nil
}

// leaderIndex is the leader's part. The commit index is read before the majority confirms this leader: it covers what was confirmed until then, by this
// leader or, because its barrier has been applied, by an earlier one.
func (g *Group) leaderIndex() (uint64, error) {
	r := g.readyReign()
	if r == nil {
		return 0, ErrNoLeader
	}
	commit := r.raft.CommitIndex()
	if !r.confirm() {
		return 0, ErrNoLeader
	}
	return g.lastCommand(commit), nil
}

// confirm asks the other voters whether they follow this reign, and reports whether a majority does. Raft's VerifyLeader also counts answers to what it had
// sent before it was called. A leader that was paused finds such answers in its sockets when it wakes up, from before the others chose another one:
//
//	A leads, B acknowledges an entry, A is stopped with that answer unread. B and C elect B, which confirms more. A goes on; a client asks A for
//	a read index; the old answer is read, and counts.
func (r *reign) confirm() bool {
	f := r.raft.GetConfiguration()
	if f.Error() != nil {
		return false
	}
	var voters []raft.ServerID
	for _, s := range f.Configuration().Servers {
		if s.Suffrage == raft.Voter && string(s.ID) != r.g.self {
			voters = append(voters, s.ID)
		}
	}
	follows := make(chan bool, len(voters))
	for _, id := range voters {
		if r.g.spawn(func() { follows <- r.follows(id) }) != nil {
			return false
		}
	}
	yes, no, need := 1, 0, (len(voters)+1)/2+1 // this node follows itself
	for yes < need && len(voters)+1-no >= need {
		if <-follows {
			yes++
		} else {
			no++
		}
	}
	return yes >= need && r.raft.CurrentTerm() == r.term && r.raft.State() == raft.Leader
}

// follows sends one heartbeat.
func (r *reign) follows(id raft.ServerID) bool {
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(r.g.self), Addr: []byte(r.g.peerAddr)}
	req := raft.AppendEntriesRequest{RPCHeader: header, Term: r.term}
	var resp raft.AppendEntriesResponse
	err := r.g.noticeTransport.AppendEntries(id, raft.ServerAddress(id), &req, &resp)
	return err == nil && resp.Success
}

// lastCommand is the index of the last command that is not behind commit: raft's own entries never reach the Machine, and who waited for the index of one
// would wait for ever.
func (g *Group) lastCommand(commit uint64) uint64 {
	applied := g.fsm.applied.Load()
	for i := commit; i > applied; i-- {
		var l raft.Log
		err := g.stores.logs.GetLog(i, &l)
		switch {
		case errors.Is(err, raft.ErrLogNotFound): // compacted behind a snapshot since, so applied
			return max(applied, g.fsm.applied.Load())
		case err == nil && l.Type == raft.LogCommand:
			return i
		}
	}
	return applied
}
