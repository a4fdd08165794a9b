package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// Inner is what a Transport wraps: raft.NetworkTransport, or raft.InmemTransport in tests.
type Inner interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

var (
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
	_ Inner            = (*raft.NetworkTransport)(nil)
	_ Inner            = (*raft.InmemTransport)(nil)
)

// Hooks are called by a Transport. Each may be nil.
type Hooks struct {
	// BeforeInstall is asked before raft gets a snapshot; CheckInstall has the rules. Nil hands it over. ErrInstallHeld acknowledges it without installing.
	// Any other error is sent back to the leader, which tries again later. It runs on the goroutine that forwards requests to raft: it must be quick
	// and must not wait for raft or close the Transport. To restart raft it tells another goroutine.
	BeforeInstall func(req *raft.InstallSnapshotRequest) error
	// Installing tells that a snapshot that ends with index is about to be sent to a server; what it returns is told whether it was installed. Any goroutine of
	// raft.
	Installing func(id raft.ServerID, index uint64) (end func(installed bool))
	// InstallStalled tells that a leader sends nothing more of a snapshot that is being installed. It must break the connections that come from it. Any goroutine.
	InstallStalled func(id raft.ServerID)
	// Heard tells that a server has answered a request of ours. Any goroutine of raft; it must be quick.
	Heard func(id raft.ServerID)
	// Replicates tells whether the local raft still leads a term and has a server in its configuration. While it does, errors of replication to that are held
	// back, see pulse; nil: they are not.
	Replicates func(id raft.ServerID, term uint64) bool
	// Leads tells whether the local raft still leads a term, and the last entry that it knows to be in its log. Log is GetLog of the log that raft has. With both,
	// requests are filled up, see fill, and none leaves this node after its term here; nil: they are sent as raft made them.
	Leads func(term uint64) (last uint64, leads bool)
	Log   func(index uint64, out *raft.Log) error
}

// Transport is a raft.Transport around another one.
//
// It clamps the commit index of every AppendEntries request, on the way out and on the way in, to the last entry that the request verifies. A follower must
// commit up to min(leader's commit index, last entry of the request); hashicorp/raft takes the last index of its own log instead, which may hold entries of a
// deposed leader that this request says nothing about:
//
//	A leads term 1, is cut off with entries 6 to 8 that nobody else has. B is elected, and starts replicating to A from entry 6, its log's end, with
//	an empty request in hand. B's first entries 6' to 8' of term 2 commit through C. The cut heals; the request arrives at A: previous entry 5, no
//	entries, commit index 8. It verifies 1 to 5. A applies its own 6 to 8 and differs from B for ever; both report the same indexes.
//
// Both sides clamp, so that one node with an older binary cannot hurt a newer one.
//
// It sends large requests in parts of at most about appendBytesMax, because raft bounds the number of entries and not their bytes, and a request that does
// not fit through the network within its time-out is sent again for ever. It refuses entries that do not match their checksum before raft sees them. It
// offers no pipelining, whatever the inner transport offers; TransportLimits says why.
//
// Requests are copied before they are changed, but for fill: raft uses its own after sending them, and an in-memory transport shares them between nodes.
type Transport struct {
	inner  Inner
	hooks  Hooks
	pulses pulses

	requests chan raft.RPC // to raft; never closed
	closing  chan struct{}
	once     sync.Once
	forward  sync.WaitGroup
	closeErr error
}

// NewTransport wraps inner, owns it from now on and starts forwarding its requests. Close ends it; so does the Error method of the future that raft's
// Shutdown returns.
func NewTransport(inner Inner, h Hooks) *Transport {
	t := &Transport{inner: inner, hooks: h, requests: make(chan raft.RPC), closing: make(chan struct{})}
	t.forward.Go(t.forwardRequests)
	return t
}

// Close closes the inner transport and waits for the forwarding goroutine. It also closes the idle connections of a raft.NetworkTransport, which that leaves
// open: a raft instance may be replaced many times in the life of a process.
func (t *Transport) Close() error {
	t.once.Do(func() {
		close(t.closing)
		t.closeErr = t.inner.Close()
		if pool, ok := t.inner.(interface{ CloseStreams() }); ok {
			pool.CloseStreams()
		}
		t.forward.Wait()
	})
	return t.closeErr
}

// Consumer is the channel from which raft takes requests.
func (t *Transport) Consumer() <-chan raft.RPC { return t.requests }

// LocalAddr is the inner transport's.
func (t *Transport) LocalAddr() raft.ServerAddress { return t.inner.LocalAddr() }

// EncodePeer is the inner transport's.
func (t *Transport) EncodePeer(id raft.ServerID, addr raft.ServerAddress) []byte {
	return t.inner.EncodePeer(id, addr)
}

// DecodePeer is the inner transport's.
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress { return t.inner.DecodePeer(b) }

// SetHeartbeatHandler sets the handler to which the inner transport passes heartbeats past the Consumer; they are treated as all other requests.
func (t *Transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		t.inner.SetHeartbeatHandler(nil)
		return
	}
	t.inner.SetHeartbeatHandler(func(rpc raft.RPC) {
		if t.admit(&rpc) {
			handle(rpc)
		}
	})
}

// InjectTimeoutNow makes the local raft start an election at once, without pre-vote and against a leader that others still follow, as if its leader had
// handed over to it. The caller answers for its right to do so. It returns when raft has taken the request.
func (t *Transport) InjectTimeoutNow(ctx context.Context) error {
	response := make(chan raft.RPCResponse, 1)
	rpc := raft.RPC{
		Command:  &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: protocolVersion}},
		RespChan: response,
	}
	select {
	case t.requests <- rpc:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.closing:
		return raft.ErrTransportShutdown
	}
	select {
	case r := <-response:
		return r.Error
	case <-ctx.Done():
		return ctx.Err()
	case <-t.closing:
		return raft.ErrTransportShutdown
	}
}

// forwardRequests passes what the inner transport received on to raft.
func (t *Transport) forwardRequests() {
	for {
		select {
		case rpc := <-t.inner.Consumer():
			if !t.admit(&rpc) {
				continue
			}
			select {
			case t.requests <- rpc:
			case <-t.closing:
				rpc.Respond(nil, raft.ErrTransportShutdown)
				return
			}
		case <-t.closing:
			return
		}
	}
}

// admit prepares a request for raft, or answers it itself and returns false.
func (t *Transport) admit(rpc *raft.RPC) bool {
	switch req := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		if err := verifyAppend(req); err != nil {
			rpc.Respond(nil, err)
			return false
		}
		rpc.Command = clamped(req)
	case *raft.InstallSnapshotRequest:
		t.watchInstall(rpc, req)
		if t.hooks.BeforeInstall == nil {
			return true
		}
		if err := t.hooks.BeforeInstall(req); err != nil {
			refuseInstall(rpc, req, err)
			return false
		}
	}
	return true
}

// refuseInstall answers a request to install a snapshot in raft's place. The snapshot must be read to its end even so: it follows the request on the connection,
// and its bytes, which clients chose, would be taken for the next request.
func refuseInstall(rpc *raft.RPC, req *raft.InstallSnapshotRequest, cause error) {
	if rpc.Reader != nil {
		if _, err := io.Copy(io.Discard, rpc.Reader); err != nil {
			cause = err
		}
	}
	if !errors.Is(cause, ErrInstallHeld) {
		rpc.Respond(nil, cause)
		return
	}
	rpc.Respond(&raft.InstallSnapshotResponse{
		RPCHeader: raft.RPCHeader{ProtocolVersion: protocolVersion}, Term: req.Term, Success: true,
	}, nil)
}

// verifyAppend checks that the entries follow the previous one without a gap, which the clamp takes for granted, and match their checksums.
func verifyAppend(req *raft.AppendEntriesRequest) error {
	for i, l := range req.Entries {
		if l == nil || l.Index != req.PrevLogEntry+1+uint64(i) {
			return fmt.Errorf("%w: place %d of an append after entry %d", ErrCorrupt, i, req.PrevLogEntry)
		}
		if err := VerifyEntry(l); err != nil {
			return err
		}
	}
	return nil
}

// clamped is the request with a commit index that does not exceed what it verifies.
func clamped(req *raft.AppendEntriesRequest) *raft.AppendEntriesRequest {
	verified := req.PrevLogEntry + uint64(len(req.Entries))
	if req.LeaderCommitIndex <= verified {
		return req
	}
	c := *req
	c.LeaderCommitIndex = verified
	return &c
}
