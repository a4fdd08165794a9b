package cluster

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/triagemq/triagemq/transport/mux"
)

// Errors that callers branch on.
var (
	ErrNoLeader   = errors.New("cluster: no leader is known")
	ErrNotLeader  = errors.New("cluster: this node does not lead")
	ErrClosed     = errors.New("cluster: closed")
	ErrUnknown    = errors.New("cluster: no such member")
	ErrStreamOver = errors.New("cluster: the stream to the leader ended")
)

// Leadership is what this node knows of the leader. Server is "" when none is known.
type Leadership struct {
	Server string // raft server id
	Term   uint64
	Self   bool // this node leads, its barrier is applied, items are admitted
}

// Member is a server of the raft configuration joined with what gossip says of it.
type Member struct {
	Server      string // raft server id: name plus random suffix
	Name        string // --node-id
	Voter       bool
	Peer        string // addresses as others dial them
	AMQP        string
	HTTP        string
	Version     string
	Boot        uint64
	GossipAlive bool

	FeatureLevel uint32 // the newest that its program can apply, as gossip tells; 0 unknown
}

// Group is one raft instance with its data folder, transport, membership and forwarding. It is a value, never a global.
type Group struct {
	cfg      Config
	machine  Machine
	log      hclog.Logger
	self     string // raft server id
	peerAddr string // as others dial it

	dir    *dataDir
	port   *mux.Port
	stores *stores
	gossip *membership
	fsm    *machineFSM
	calls  callPool
	posts  outboxes
	reads  readRounds

	failovers failovers
	nonce     uint64      // of this process, drawn at random; see testimony
	suspects  chan string // servers whose last connection has ended

	buffers sync.Pool // of *[]byte, for items that came over the network

	current    atomic.Pointer[instance]
	instanceMu sync.Mutex // held while the instance is replaced or closed

	noticeTransport *raft.NetworkTransport // dials only: commit notices have connections of their own

	leaving    atomic.Bool   // this node is on its way out, by its own wish
	departed   chan struct{} // see Departed
	departOnce sync.Once

	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	wg         sync.WaitGroup
	raftEvents chan raft.Observation
	poked      chan struct{} // watchLeadership has something to look at; capacity 1
	conflicts  chan conflict
	opening    sync.Mutex    // held while a stream is opened
	changes    chan struct{} // held while the configuration is changed; capacity 1

	mu          sync.Mutex // guards what follows
	closing     bool
	lead        Leadership
	leadChanged chan struct{}
	reign       *reign
	halts       int // no reign begins while positive
	stream      *Stream
}

// Self is this node's raft server id.
func (g *Group) Self() string { return g.self }

// PeerAddr is the address of this node's peer port as others dial it.
func (g *Group) PeerAddr() string { return g.peerAddr }

// GossipAddr is the address of this node's gossip as others dial it.
func (g *Group) GossipAddr() string { return g.gossip.addr }

// Cluster is the cluster id, "" until known.
func (g *Group) Cluster() string {
	id, _ := g.dir.identity()
	return id.Cluster
}

// Leadership returns the present knowledge and a channel that is closed at the next change.
func (g *Group) Leadership() (Leadership, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lead, g.leadChanged
}

// Members lists the configuration's servers, by name.
func (g *Group) Members() []Member {
	var out []Member
	for _, s := range g.configuration() {
		meta, alive, known := g.gossip.member(string(s.ID))
		m := Member{
			Server: string(s.ID), Name: meta.Name, Voter: s.Suffrage == raft.Voter, Peer: meta.Peer, AMQP: meta.AMQP, HTTP: meta.HTTP, Version: meta.Version,
			Boot: meta.Boot, GossipAlive: alive, FeatureLevel: meta.LevelKnown,
		}
		if !known {
			m.Name, m.Peer = nameOf(m.Server), string(s.Address)
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Server, b.Server)) })
	return out
}

// nameOf is the name in a server id of which gossip has told nothing yet.
func nameOf(server string) string {
	if i := strings.LastIndexByte(server, '-'); i > 0 {
		return server[:i]
	}
	return server
}

// LastHeard is when the leader last had a sign of life of a server: a stream's frame or a raft response. Zero if never in this reign, and where this node
// does not lead.
func (g *Group) LastHeard(server string) time.Time {
	g.mu.Lock()
	r := g.reign
	g.mu.Unlock()
	if r == nil {
		return time.Time{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heardAt[server]
}

// NextBoot draws the next boot number, fsynced in the data folder before it returns, and gossips it.
func (g *Group) NextBoot() (uint64, error) {
	boot, err := g.dir.nextBoot()
	if err == nil {
		g.gossip.poke()
	}
	return boot, g.explainFull(err)
}

// CommitIndex is the index of the last command that this node knows to be committed: Machine.Apply gets there, or a restore covers it. At start it is unknown
// how far the cluster has committed; it grows as a leader tells.
func (g *Group) CommitIndex() uint64 { return g.lastCommand(g.instance().raft.CommitIndex()) }

// AppliedIndex is the index of the last command that the Machine has applied.
func (g *Group) AppliedIndex() uint64 { return g.fsm.applied.Load() }

// TransferLeadership hands leadership to the voter that is the readiest to take it and waits, at most about two election time-outs; nil if this node does not
// lead. Streams to this node end first. After an error this node leads on.
func (g *Group) TransferLeadership(ctx context.Context) error {
	return g.handOver(ctx, g.transferToReadiest)
}

func (g *Group) handOver(ctx context.Context, begin func(*raft.Raft) raft.Future) error {
	in := g.instance()
	if _, _, leads := in.leadership(); !leads {
		return nil
	}
	g.halt()
	done := make(chan error, 1)
	err := g.spawn(func() {
		defer g.resume()
		done <- in.await(begin)
	})
	if err != nil {
		g.resume()
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
