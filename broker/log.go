package broker

import (
	"context"
	"time"
)

// Log is the replicated log that a Node needs. The cluster package has it; the composition root adapts the two. All methods may be called from any goroutine.
type Log interface {
	// Self is this node's id in the log: the Node of its origins.
	Self() string
	// Leadership returns what is known of the leader and a channel that is closed at the next change.
	Leadership() (Leadership, <-chan struct{})
	// OpenStream opens a stream to the present leader; at most one at a time.
	OpenStream(ctx context.Context) (Stream, error)
	// Propose admits an item where this node leads, for the leader's duties. The outcome shows in Apply only.
	Propose(ctx context.Context, item []byte) error
	// ReadIndex returns an index that covers everything committed before the call. It is that of an entry that Apply takes, or 0: raft's own entries, which
	// Apply never sees, are left out, or a reader would wait for them for ever. Concurrent calls coalesce.
	ReadIndex(ctx context.Context) (uint64, error)
	// Call asks another node; its Node.Answer answers.
	Call(ctx context.Context, node string, request []byte) ([]byte, error)
	// Post sends a datagram to another node's Node.Posted. It may be lost; nil says that it is on its way. It blocks for a few seconds at most, while that node does not
	// take what waits for it. The datagram must not be changed afterwards.
	Post(ctx context.Context, node string, datagram []byte) error
	// Members lists the servers of the configuration.
	Members() []Member
	// LastHeard is when this node, leading, last had a sign of life of another; zero if never in this term.
	LastHeard(node string) time.Time
	// Gone reports whether, from the call on, a majority of the voters finds that the process of a node has ended: its host says that nothing listens there.
	// Silence is no proof. It takes a few milliseconds, and as long as ctx where hosts are silent.
	Gone(ctx context.Context, node string) bool
	// NextBoot draws a boot number, fsynced.
	NextBoot() (uint64, error)
	// CommitIndex is the highest index known to be committed of an entry that Apply takes (see ReadIndex).
	CommitIndex() uint64
	// FreshSnapshot opens a snapshot on this node's disk that holds every entry up to index, which Apply has had; it takes one where there is none.
	FreshSnapshot(ctx context.Context, index uint64) (LogSnapshot, error)
	// TransferLeadership hands leadership to another voter; nil where this node does not lead.
	TransferLeadership(ctx context.Context) error
	Membership
}

// Membership changes who is in the cluster, from any node. Servers are named as people name them, or by their ids. The errors are those of membership.go.
type Membership interface {
	// TransferLeadershipTo hands leadership to a voter, "" to any other.
	TransferLeadershipTo(ctx context.Context, server string) error
	// RemoveServer takes another server out of the cluster.
	RemoveServer(ctx context.Context, server string, force bool) error
	// MayLeave reports why Leave would be refused.
	MayLeave(ctx context.Context) error
	// Leave takes this node out of the cluster for good; the process then ends.
	Leave(ctx context.Context) error
}

// Stream carries this node's items to the leader of one term (design: Forwarding).
type Stream interface {
	// Send hands an item over, in order; it blocks while the leader does not read. An error ends the stream. The item may be referred to until it is in the
	// log, and no longer: the sender reuses the memory of an item that it sent once and has seen applied.
	Send(item []byte) error
	// Done is closed when the stream is over.
	Done() <-chan struct{}
	// Close ends it, and a Send that blocks. Any goroutine.
	Close()
}

// Leadership is what a node knows of the leader.
type Leadership struct {
	Node string // "" = none known
	Term uint64
	Self bool // this node leads and may propose
}

// Member is one server of the cluster.
type Member struct {
	Node  string // id in the log
	Name  string // --node-id, for people
	Voter bool
	Peer  string
	AMQP  string
	HTTP  string
	Boot  uint64 // latest boot that gossip tells of, 0 unknown

	Version      string // of its program, as gossip tells; "" unknown
	FeatureLevel uint32 // the newest that its program can apply, as gossip tells; 0 unknown
}
