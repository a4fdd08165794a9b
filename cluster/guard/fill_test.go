package guard

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// filling is a transport whose node leads term 3 with a log.
type filling struct {
	*recorder
	log    []*raft.Log
	last   uint64 // what raft says
	read   int
	endsAt int // the term is over after so many entries were read; 0: never
}

func (f *filling) transport(t *testing.T) *Transport {
	tr := NewTransport(f.recorder, Hooks{
		Leads: func(term uint64) (uint64, bool) { return f.last, term == 3 && (f.endsAt == 0 || f.read < f.endsAt) },
		Log: func(index uint64, out *raft.Log) error {
			f.read++
			i := slices.IndexFunc(f.log, func(l *raft.Log) bool { return l.Index == index })
			if i < 0 {
				return raft.ErrLogNotFound
			}
			*out = *f.log[i]
			return nil
		},
	})
	t.Cleanup(func() { tr.Close() })
	return tr
}

func (f *filling) request(n int) *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: f.log[0].Index - 1, PrevLogTerm: 2, Entries: slices.Clone(f.log[:n]), LeaderCommitIndex: 1}
}

func TestFill(t *testing.T) {
	sized := func(sizes ...int) []*raft.Log {
		logs := entries("e", 3, 6, 5+uint64(len(sizes)))
		for i, size := range sizes {
			logs[i].Data, logs[i].Extensions = bytes.Repeat([]byte{'x'}, size), nil
		}
		noError(t, seal(logs))
		return logs
	}
	for name, c := range map[string]struct {
		log         []*raft.Log
		last        uint64
		raft, whole int // entries before and after
		reads       int
	}{
		"small ones":          {entries("e", 3, 6, 5+2*fillEntries), 1 << 20, 1, fillEntries, fillEntries - 1},
		"up to raft's last":   {entries("e", 3, 6, 50), 20, 1, 15, 14},
		"up to the log's end": {entries("e", 3, 6, 50), 60, 1, 45, 45},
		"none":                {entries("e", 3, 6, 50), 50, 0, 0, 0},
		"by bytes":            {sized(fillBytes/4, fillBytes/4, fillBytes/4, fillBytes/4, 1), 10, 1, 4, 3},
		"next too large":      {sized(1, fillBytes, 1), 8, 1, 1, 1},
		"large already":       {sized(fillBytes, 1, 1), 8, 1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := &filling{recorder: newRecorder(), log: c.log, last: c.last}
			req := f.request(c.raft)
			noError(t, f.transport(t).AppendEntries("y", "y", req, &raft.AppendEntriesResponse{}))
			if len(f.sent) != 1 || len(f.sent[0].Entries) != c.whole || f.read != c.reads {
				t.Fatalf("%d requests, the first with %d entries instead of %d; %d reads instead of %d", len(f.sent), len(f.sent[0].Entries), c.whole, f.read, c.reads)
			}
			if len(req.Entries) != c.whole {
				t.Errorf("raft hears of %d entries, %d were sent", len(req.Entries), c.whole)
			}
			noError(t, verifyAppend(&f.sent[0]))
		})
	}
}

// TestNothingLeavesAfterItsTerm: what was read after the term may be another leader's log.
func TestNothingLeavesAfterItsTerm(t *testing.T) {
	f := &filling{recorder: newRecorder(), log: entries("e", 3, 6, 20), last: 20, endsAt: 5}
	req := f.request(1)
	if err := f.transport(t).AppendEntries("y", "y", req, &raft.AppendEntriesResponse{}); err == nil || len(f.sent) != 0 || len(req.Entries) != 1 {
		t.Errorf("%v; %d requests sent, raft hears of %d entries", err, len(f.sent), len(req.Entries))
	}
	f.endsAt = 0
	if err := f.transport(t).AppendEntries("y", "y", &raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 5}, &raft.AppendEntriesResponse{}); err == nil {
		t.Error("a request of an earlier term was sent")
	}
	noError(t, f.transport(t).AppendEntries("y", "y", &raft.AppendEntriesRequest{Term: 2}, &raft.AppendEntriesResponse{})) // a heartbeat
}

// lossy is a transport that can lose requests to one server, and counts the entries of each request that it passes on to it.
type lossy struct {
	Inner
	to   raft.ServerID
	away atomic.Bool

	mu    sync.Mutex // guards sizes
	sizes []int
}

func (c *lossy) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if id == c.to && c.away.Load() {
		return errors.New("lost")
	}
	if n := len(args.Entries); id == c.to && n > 0 {
		c.mu.Lock()
		c.sizes = append(c.sizes, n)
		c.mu.Unlock()
	}
	return c.Inner.AppendEntries(id, target, args, resp)
}

// TestCatchUpInFewRequests: a follower that was away gets what it missed by bytes, and once: raft goes on behind what was added to its requests.
func TestCatchUpInFewRequests(t *testing.T) {
	const missed = 4 * fillEntries
	nodes := newTrio(t)
	started, links := map[raft.ServerID]*atomic.Pointer[raft.Raft]{}, map[raft.ServerID]*lossy{}
	for _, n := range nodes {
		r := &atomic.Pointer[raft.Raft]{}
		started[n.id], links[n.id] = r, &lossy{Inner: n.trans.(*raft.InmemTransport), to: "z"}
		n.trans = NewTransport(links[n.id], Hooks{
			Leads: func(term uint64) (uint64, bool) {
				r := r.Load()
				if r == nil || r.State() != raft.Leader || r.CurrentTerm() != term {
					return 0, false
				}
				return r.LastIndex(), true
			},
			Log: n.logs.GetLog,
		})
	}
	straggler := nodes[2]
	straggler.config.HeartbeatTimeout, straggler.config.ElectionTimeout = time.Hour, time.Hour // it never leads
	nodes.start(t)
	for _, n := range nodes {
		started[n.id].Store(n.raft)
	}
	leader := nodes.leader(t, nil)
	link := links[leader.id]
	await(t, "all level", func() bool { return straggler.raft.LastIndex() == leader.raft.LastIndex() })
	link.away.Store(true)
	var last raft.ApplyFuture
	for range missed {
		last = leader.raft.Apply([]byte("e"), 0)
	}
	noError(t, last.Error())
	link.away.Store(false)
	await(t, "the straggler is level", func() bool { return straggler.raft.LastIndex() == leader.raft.LastIndex() })

	link.mu.Lock()
	defer link.mu.Unlock()
	sent := 0
	for _, n := range link.sizes {
		sent += n
	}
	if len(link.sizes) > 40 || sent > missed+100 {
		t.Errorf("%d entries in %d requests for %d missed", sent, len(link.sizes), missed)
	}
}
