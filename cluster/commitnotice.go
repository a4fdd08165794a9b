package cluster

import (
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Followers of hashicorp/raft learn that an entry is committed with the next append, or after CommitTimeout: a lone entry would be applied there 77 ms after
// its proposal. So its proposer tells them, with an AppendEntries that has the entry as its previous one, none of its own, and its index as commit index. That
// is safe by the log matching property: a follower takes it only if its log agrees with the leader's up to the entry. It must come from the leader of the
// entry's term and carry that term, or it would depose the real leader: the proposer is the one who knows, see proposer.next.

// noticeSender tells one follower of the latest commit. It lives as long as its reign.
type noticeSender struct {
	server raft.ServerID
	index  atomic.Uint64 // latest
	wake   chan struct{} // capacity 1
}

const (
	noticeTimeout = 2 * time.Second
	noticeTries   = 4 // a notice may overtake its entry
)

// notify has the followers told that index, an entry of this reign, is committed. The proposer calls it.
func (r *reign) notify(index uint64) {
	f := r.raft.GetConfiguration()
	if f.Error() != nil {
		return
	}
	for _, s := range f.Configuration().Servers {
		if string(s.ID) == r.g.self {
			continue
		}
		n := r.notices[s.ID]
		if n == nil {
			n = &noticeSender{server: s.ID, wake: make(chan struct{}, 1)}
			r.notices[s.ID] = n
			r.g.wg.Go(func() { r.sendNotices(n) })
		}
		n.index.Store(index)
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

func (r *reign) sendNotices(n *noticeSender) {
	for {
		select {
		case <-r.over:
			return
		case <-n.wake:
			r.sendNotice(n)
		}
	}
}

// sendNotice tries a few times: a follower that misses the notice learns of the commit from raft soon after.
func (r *reign) sendNotice(n *noticeSender) {
	for try := range noticeTries {
		if try > 0 {
			select {
			case <-r.over:
				return
			case <-time.After(time.Duration(try*try) * time.Millisecond):
			}
		}
		index := n.index.Load()
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(r.g.self), Addr: []byte(r.g.peerAddr)}
		req := raft.AppendEntriesRequest{
			RPCHeader: header, Term: r.term, PrevLogEntry: index, PrevLogTerm: r.term, LeaderCommitIndex: index,
		}
		var resp raft.AppendEntriesResponse
		err := r.g.noticeTransport.AppendEntries(n.server, raft.ServerAddress(n.server), &req, &resp)
		if err != nil || resp.Success || resp.Term > r.term {
			return // raft deals with whatever it is
		}
	}
}
