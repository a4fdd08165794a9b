package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// TestCommitBeyondVerified replays how replicas come to differ: a request of the new leader verifies entry 5 and carries commit index 8, while the follower
// has entries 6 to 8 of the deposed leader.
func TestCommitBeyondVerified(t *testing.T) {
	const truth = "ok2 ok3 ok4 ok5 new6 new7 new8"
	run := func(t *testing.T, wrap func(Inner) raft.Transport) string {
		f := newFollower(t, wrap)
		f.bootstrap(t)
		f.boot(t)
		f.mustAppend(t, 2, 1, 1, 5, entries("ok", 2, 2, 5)...)
		f.mustAppend(t, 2, 5, 2, 5, entries("stale", 2, 6, 8)...)
		f.mustAppend(t, 3, 5, 2, 8)
		f.mustAppend(t, 3, 5, 2, 8, entries("new", 3, 6, 8)...)
		await(t, "everything applied", func() bool { return len(strings.Fields(f.fsm.String())) == 7 })
		return f.fsm.String()
	}
	t.Run("without", func(t *testing.T) {
		if got := run(t, plain); got == truth {
			t.Error("raft no longer diverges by itself: the clamp may go")
		}
	})
	t.Run("with", func(t *testing.T) {
		if got := run(t, guarded); got != truth {
			t.Errorf("applied %q, committed was %q", got, truth)
		}
	})
}

// recorder is an inner transport that remembers what it is asked to send.
type recorder struct {
	raft.InmemTransport
	consumer  chan raft.RPC
	heartbeat func(raft.RPC)
	sent      []raft.AppendEntriesRequest
	respond   func(part int, resp *raft.AppendEntriesResponse) error
}

func newRecorder() *recorder {
	return &recorder{
		consumer: make(chan raft.RPC),
		respond: func(_ int, resp *raft.AppendEntriesResponse) error {
			resp.Success = true
			return nil
		},
	}
}

func (r *recorder) Consumer() <-chan raft.RPC                 { return r.consumer }
func (r *recorder) SetHeartbeatHandler(handle func(raft.RPC)) { r.heartbeat = handle }
func (r *recorder) Close() error                              { return nil }
func (r *recorder) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, nil
}

func (r *recorder) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	r.sent = append(r.sent, *args)
	return r.respond(len(r.sent), resp)
}

func TestClampOnSending(t *testing.T) {
	inner := newRecorder()
	tr := NewTransport(inner, Hooks{})
	defer tr.Close()
	req := &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 5, PrevLogTerm: 2, Entries: entries("e", 3, 6, 7), LeaderCommitIndex: 9}
	noError(t, tr.AppendEntries("y", "y", req, &raft.AppendEntriesResponse{}))
	if got := inner.sent[0].LeaderCommitIndex; got != 7 {
		t.Errorf("sent commit index %d, verified up to 7", got)
	}
	if req.LeaderCommitIndex != 9 {
		t.Error("raft's own request was changed")
	}
	req.LeaderCommitIndex = 6
	noError(t, tr.AppendEntries("y", "y", req, &raft.AppendEntriesResponse{}))
	if got := inner.sent[1].LeaderCommitIndex; got != 6 {
		t.Errorf("sent commit index %d instead of 6", got)
	}
	if _, err := tr.AppendEntriesPipeline("y", "y"); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("pipelining is offered: %v", err)
	}
}

// TestClampOnReceiving covers both ways by which requests reach raft.
func TestClampOnReceiving(t *testing.T) {
	inner := newRecorder()
	tr := NewTransport(inner, Hooks{})
	defer tr.Close()
	req := &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 5, LeaderCommitIndex: 9}
	var heartbeat *raft.AppendEntriesRequest
	tr.SetHeartbeatHandler(func(rpc raft.RPC) { heartbeat = rpc.Command.(*raft.AppendEntriesRequest) })
	inner.heartbeat(raft.RPC{Command: req})
	inner.consumer <- raft.RPC{Command: req}
	forwarded := (<-tr.Consumer()).Command.(*raft.AppendEntriesRequest)
	if heartbeat.LeaderCommitIndex != 5 || forwarded.LeaderCommitIndex != 5 {
		t.Errorf("commit index %d past the consumer, %d through it; verified up to 5", heartbeat.LeaderCommitIndex, forwarded.LeaderCommitIndex)
	}
	if req.LeaderCommitIndex != 9 {
		t.Error("the sender's request was changed")
	}
	tr.SetHeartbeatHandler(nil)
	if inner.heartbeat != nil {
		t.Error("the heartbeat handler was not removed")
	}
}

// TestDamagedEntriesStayOut: raft must not see them, because it cannot undo the truncation that may precede their store.
func TestDamagedEntriesStayOut(t *testing.T) {
	good := func() *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 5, Entries: entries("e", 3, 6, 8)}
	}
	damage := map[string]func(*raft.AppendEntriesRequest){
		"data":      func(r *raft.AppendEntriesRequest) { r.Entries[1].Data[0] ^= 1 },
		"term":      func(r *raft.AppendEntriesRequest) { r.Entries[1].Term++ },
		"type":      func(r *raft.AppendEntriesRequest) { r.Entries[1].Type = raft.LogNoop },
		"checksum":  func(r *raft.AppendEntriesRequest) { r.Entries[1].Extensions[2] ^= 1 },
		"none":      func(r *raft.AppendEntriesRequest) { r.Entries[1].Extensions = nil },
		"gap":       func(r *raft.AppendEntriesRequest) { r.Entries = slices.Delete(r.Entries, 1, 2) },
		"nil":       func(r *raft.AppendEntriesRequest) { r.Entries[1] = nil },
		"elsewhere": func(r *raft.AppendEntriesRequest) { r.PrevLogEntry = 4 },
	}
	inner := newRecorder()
	tr := NewTransport(inner, Hooks{})
	defer tr.Close()
	for name, harm := range damage {
		t.Run(name, func(t *testing.T) {
			req := good()
			harm(req)
			response := make(chan raft.RPCResponse, 1)
			inner.consumer <- raft.RPC{Command: req, RespChan: response}
			if r := <-response; !errors.Is(r.Error, ErrCorrupt) {
				t.Errorf("answered %v", r.Error)
			}
		})
	}
	inner.consumer <- raft.RPC{Command: good()}
	<-tr.Consumer()
}

// TestRefusedInstallIsDrained: what a refusal leaves of the snapshot on the connection would be taken for the next request.
func TestRefusedInstallIsDrained(t *testing.T) {
	for _, cause := range []error{ErrInstallConflict, ErrInstallHeld} {
		inner := newRecorder()
		tr := NewTransport(inner, Hooks{BeforeInstall: func(*raft.InstallSnapshotRequest) error { return cause }})
		rest := strings.NewReader(strings.Repeat("state", 100_000))
		response := make(chan raft.RPCResponse, 1)
		inner.consumer <- raft.RPC{Command: &raft.InstallSnapshotRequest{Term: 7}, Reader: rest, RespChan: response}
		r := <-response
		if rest.Len() != 0 {
			t.Errorf("%d bytes are left", rest.Len())
		}
		if held, ok := r.Response.(*raft.InstallSnapshotResponse); cause == ErrInstallHeld {
			if r.Error != nil || !ok || !held.Success || held.Term != 7 {
				t.Errorf("answered %+v", r)
			}
		} else if !errors.Is(r.Error, cause) {
			t.Errorf("answered %+v", r)
		}
		noError(t, tr.Close())
	}
}

func TestLargeAppendGoesInParts(t *testing.T) {
	logs := entries("e", 3, 6, 13)
	for i, size := range []int{appendBytesMax / 2, appendBytesMax / 2, 1, 3 * appendBytesMax, 1, 1, appendBytesMax, 1} {
		logs[i] = &raft.Log{Index: logs[i].Index, Term: 3 + uint64(i), Data: make([]byte, size)}
	}
	inner := newRecorder()
	var heard int
	tr := NewTransport(inner, Hooks{Heard: func(raft.ServerID) { heard++ }})
	defer tr.Close()
	req := &raft.AppendEntriesRequest{Term: 20, PrevLogEntry: 5, PrevLogTerm: 2, Entries: logs, LeaderCommitIndex: 8}
	var resp raft.AppendEntriesResponse
	noError(t, tr.AppendEntries("y", "y", req, &resp))

	next, prevTerm := uint64(6), uint64(2)
	for _, part := range inner.sent {
		if part.PrevLogEntry != next-1 || part.PrevLogTerm != prevTerm || part.Term != 20 {
			t.Fatalf("a part follows %d/%d instead of %d/%d", part.PrevLogEntry, part.PrevLogTerm, next-1, prevTerm)
		}
		bytes := 0
		for _, l := range part.Entries {
			if l.Index != next {
				t.Fatalf("entry %d sent in the place of %d", l.Index, next)
			}
			next, prevTerm, bytes = next+1, l.Term, bytes+len(l.Data)
		}
		if len(part.Entries) > 1 && bytes > appendBytesMax {
			t.Errorf("%d bytes in one part", bytes)
		}
		if want := min(8, next-1); part.LeaderCommitIndex != want {
			t.Errorf("commit index %d in a part that ends at %d", part.LeaderCommitIndex, next-1)
		}
	}
	if next != 14 || !resp.Success || heard != len(inner.sent) || len(req.Entries) != 8 {
		t.Errorf("sent up to %d, success %t, heard %d times in %d parts, request has %d entries", next-1, resp.Success, heard, len(inner.sent), len(req.Entries))
	}
}

// TestPartRefused: what follows a part that failed must not be sent, and raft must learn of the failure.
func TestPartRefused(t *testing.T) {
	failure := errors.New("connection reset")
	for name, respond := range map[string]func(*raft.AppendEntriesResponse) error{
		"refused": func(resp *raft.AppendEntriesResponse) error { resp.LastLog = 6; return nil },
		"failed":  func(*raft.AppendEntriesResponse) error { return failure },
	} {
		t.Run(name, func(t *testing.T) {
			inner := newRecorder()
			inner.respond = func(part int, resp *raft.AppendEntriesResponse) error {
				if part == 2 {
					return respond(resp)
				}
				resp.Success = true
				return nil
			}
			tr := NewTransport(inner, Hooks{})
			defer tr.Close()
			logs := entries("e", 3, 6, 9)
			for _, l := range logs {
				l.Data = make([]byte, appendBytesMax)
			}
			var resp raft.AppendEntriesResponse
			err := tr.AppendEntries("y", "y", &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: 5, Entries: logs}, &resp)
			if len(inner.sent) != 2 || resp.Success || (name == "failed") != errors.Is(err, failure) {
				t.Errorf("%d parts sent, success %t, error %v", len(inner.sent), resp.Success, err)
			}
		})
	}
}

func TestHeardOnlyOfResponses(t *testing.T) {
	inner := newRecorder()
	var heard []raft.ServerID
	tr := NewTransport(inner, Hooks{Heard: func(id raft.ServerID) { heard = append(heard, id) }})
	defer tr.Close()
	noError(t, tr.AppendEntries("y", "y", &raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{}))
	inner.respond = func(int, *raft.AppendEntriesResponse) error { return io.ErrUnexpectedEOF }
	if err := tr.AppendEntries("z", "z", &raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{}); err == nil {
		t.Error("the error got lost")
	}
	if err := tr.RequestPreVote("w", "w", &raft.RequestPreVoteRequest{}, &raft.RequestPreVoteResponse{}); err == nil {
		t.Error("a peer that is not connected answered")
	}
	if fmt.Sprint(heard) != "[y]" {
		t.Errorf("heard %v", heard)
	}
}

// TestPreVoteSurvives: raft turns pre-vote off, with a line in its log, when the transport does not show it.
func TestPreVoteSurvives(t *testing.T) {
	tr := NewTransport(newRecorder(), Hooks{})
	defer tr.Close()
	if _, hidden := any(struct{ raft.Transport }{tr}).(raft.WithPreVote); hidden {
		t.Error("embedding the interface no longer hides pre-vote")
	}
	if _, ok := any(tr).(raft.WithPreVote); !ok {
		t.Error("pre-vote is hidden")
	}
}

func TestInjectTimeoutNow(t *testing.T) {
	f := newFollower(t, guarded)
	f.bootstrap(t)
	f.boot(t)
	f.mustAppend(t, 2, 1, 1, 1)
	noError(t, f.trans.(*Transport).InjectTimeoutNow(context.Background()))
	await(t, "candidacy", func() bool { return f.raft.State() == raft.Candidate && f.raft.CurrentTerm() > 2 })
	f.stop()
	if err := f.trans.(*Transport).InjectTimeoutNow(context.Background()); !errors.Is(err, raft.ErrTransportShutdown) {
		t.Errorf("after close: %v", err)
	}
}

// TestCloseWithRequestInHand: nobody takes requests any more, one is in the forwarder's hand.
func TestCloseWithRequestInHand(t *testing.T) {
	inner := newRecorder()
	tr := NewTransport(inner, Hooks{})
	response := make(chan raft.RPCResponse, 1)
	inner.consumer <- raft.RPC{Command: &raft.RequestVoteRequest{}, RespChan: response}
	noError(t, tr.Close())
	noError(t, tr.Close())
	if r := <-response; !errors.Is(r.Error, raft.ErrTransportShutdown) {
		t.Errorf("answered %v", r.Error)
	}
}
