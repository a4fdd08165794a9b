package guard

import (
	"io"

	"github.com/hashicorp/raft"
)

// appendBytesMax bounds the data of one AppendEntries request on the wire; a single larger entry goes alone.
const appendBytesMax = 4 << 20

// AppendEntriesPipeline refuses, see TransportLimits.
func (t *Transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries sends the request, filled up where it is small (see fill), in parts where it is large. To raft the parts look like one request: it succeeds when all did, and the first part that
// the follower refuses is the answer. Entries that arrived before a failure are sent again and recognised by the follower. An error of anything but a
// heartbeat is held back, see pulse.
func (t *Transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if isHeartbeat(args) {
		*resp = raft.AppendEntriesResponse{}
		err := t.heard(id, t.inner.AppendEntries(id, target, args, resp))
		if err == nil {
			t.pulses.of(id).beat()
		}
		return err
	}
	if err := t.fill(args); err != nil {
		return err
	}
	rest := *args
	for {
		part := cutPart(&rest)
		*resp = raft.AppendEntriesResponse{}
		err := t.heard(id, t.inner.AppendEntries(id, target, clamped(part), resp))
		if err != nil {
			t.hold(id, args.Term)
		}
		if err != nil || !resp.Success || len(rest.Entries) == 0 {
			return err
		}
	}
}

// isHeartbeat says what raft does of a request.
func isHeartbeat(req *raft.AppendEntriesRequest) bool {
	return req.PrevLogEntry == 0 && req.PrevLogTerm == 0 && len(req.Entries) == 0 && req.LeaderCommitIndex == 0
}

// cutPart takes as many entries off the front of rest as one request may hold, and lets rest continue after them.
func cutPart(rest *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	part, bytes, n := *rest, 0, 0
	for n < len(rest.Entries) && (n == 0 || bytes+len(rest.Entries[n].Data) <= appendBytesMax) {
		bytes += len(rest.Entries[n].Data)
		n++
	}
	part.Entries, rest.Entries = rest.Entries[:n:n], rest.Entries[n:]
	if n > 0 {
		rest.PrevLogEntry, rest.PrevLogTerm = part.Entries[n-1].Index, part.Entries[n-1].Term
	}
	return &part
}

// RequestVote sends the request.
func (t *Transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.heard(id, t.inner.RequestVote(id, target, args, resp))
}

// RequestPreVote sends the request.
func (t *Transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.heard(id, t.inner.RequestPreVote(id, target, args, resp))
}

// InstallSnapshot sends the request and the snapshot. An error is held back, see pulse.
func (t *Transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	end := func(bool) {}
	if t.hooks.Installing != nil {
		end = t.hooks.Installing(id, args.LastLogIndex)
	}
	err := t.heard(id, t.inner.InstallSnapshot(id, target, args, resp, data))
	end(err == nil && resp.Success)
	if err != nil {
		t.hold(id, args.Term)
	}
	return err
}

// TimeoutNow sends the request.
func (t *Transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.heard(id, t.inner.TimeoutNow(id, target, args, resp))
}

// heard passes the outcome of a request on. Only a response is a sign of life: an error may be the network's.
func (t *Transport) heard(id raft.ServerID, err error) error {
	if err == nil && t.hooks.Heard != nil {
		t.hooks.Heard(id)
	}
	return err
}
