package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/fsm"
)

// Node is the broker on one machine: it owns the State, feeds it what the Log commits, and turns effects into calls of sessions' Handlers.
type Node struct {
	cfg    Config
	logger hclog.Logger

	attached chan struct{} // closed once log is set
	log      Log
	self     string

	// applyMu serialises all calls of Handlers and guards what follows, the fields of sessions that say so, and changes of phase.
	applyMu  sync.Mutex
	sessions map[uint32]*Session
	lastConn uint32
	recent   *Session   // that the last effect was for: effects come in runs
	touched  []*Session // that had effects in the present entry

	replica   *replica
	pipe      *pipeline
	flow      *flow
	applied   appliedIndex
	level     atomic.Uint32 // the state's feature level
	operators *operators
	replies   *directReplies
	logins    *logins
	counters  Counters
	rates     rates
	started   time.Time
	clocks    wallClocks
	reports   digestReports
	backups   chan struct{} // one for each that is under way
	watch     watch
	meter     meter
	short     atomic.Bool // see MemoryShort

	phaseNow  atomic.Int32
	live      *gate         // open while phase is live
	hasUsers  *gate         // open once the first user was made
	accepting *gate         // open while both are
	ended     chan struct{} // capacity 1: the boot ended, or Stop changed the phase
	gone      chan struct{} // closed when the origin of a stopping node is closed in the log
	goneOnce  sync.Once

	dutiesNow atomic.Pointer[duties] // while this node leads

	runMu      sync.Mutex // guards what follows
	cancel     context.CancelFunc
	running    chan struct{} // closed when Run has returned; nil before Run
	handedOver time.Time     // when leadership was last given up for the clock
}

// New builds a Node with an empty State. It takes the log's calls at once, and starts nothing before Run.
func New(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, logger: cfg.Logger, attached: make(chan struct{}), sessions: map[uint32]*Session{},
		started: time.Now(), live: newGate(false), hasUsers: newGate(!cfg.firstUser), accepting: newGate(false), ended: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	n.pipe = newPipeline(&cfg, n.watch.now)
	n.flow = newFlow()
	n.meter.open(&cfg)
	n.operators = newOperators()
	n.backups = make(chan struct{}, backupsMax)
	n.replies = newDirectReplies()
	var err error
	if n.logins, err = newLogins(cfg.hashIterations); err != nil {
		return nil, err
	}
	n.replica = newReplica(fsm.Options{Chunks: cfg.Chunks, Sink: (*dispatcher)(n), Check: cfg.CheckState})
	n.noteLevel()
	return n, nil
}

// Run gives the node its log, keeps its origin open and returns when ctx ends, after Stop, or with the reason why it cannot go on. It is called once.
func (n *Node) Run(ctx context.Context, log Log) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running := make(chan struct{})
	defer close(running)
	n.runMu.Lock()
	n.cancel, n.running = cancel, running
	n.runMu.Unlock()
	n.log, n.self = log, log.Self()
	close(n.attached)

	var parts sync.WaitGroup
	parts.Go(func() { n.send(ctx) })
	parts.Go(func() { n.sample(ctx) })
	parts.Go(func() { n.spreadAlarms(ctx) })
	if n.cfg.firstUser {
		parts.Go(func() { n.makeFirstUser(ctx) })
	}
	parts.Go(func() { n.sampleRates(ctx) })
	err := n.keepOrigin(ctx)
	cancel()
	parts.Wait()
	n.closeBoot(phaseStopped, textShutdown)
	n.logger.Info("node ended", "error", err)
	return err
}

// isAttached says whether the node has its log: the log's calls may come before Run.
func (n *Node) isAttached() bool {
	select {
	case <-n.attached:
		return true
	default:
		return false
	}
}

// The log's side: cluster.Machine in the broker's words; the composition root passes these on.

// CheckItem guards the log: the leader lets nothing in that does not decode, or that is of a feature level beyond the state's. A node that has applied the
// entry which raised the level may ask for what it brings before the leader has applied it itself: the stream then ends, and the next one brings the item again.
// Any goroutine.
func (n *Node) CheckItem(item []byte) error { return fsm.CheckItemAt(item, n.level.Load()) }

// Apply applies a committed entry. Apply, Freeze and Restore are never called concurrently with one another. An error says that this program cannot apply it,
// nor anything after it (*fsm.LevelError): the state is untouched, and the node must end.
func (n *Node) Apply(index, term uint64, entry []byte) error {
	if err := fsm.CheckEntry(entry); err != nil {
		return fmt.Errorf("broker: entry %d: %w", index, err)
	}
	n.applyMu.Lock()
	deadlineMillis, due := n.replica.apply(index, entry)
	n.noteLevel()
	n.flushTouched()
	n.lookForUsers()
	n.applyMu.Unlock()
	n.applied.reach(index)
	n.meter.stateHas(n.replica.memoryBytes())
	if d := n.dutiesNow.Load(); d != nil {
		d.applied(deadlineMillis, due)
	}
	return nil
}

// Freeze captures the state.
func (n *Node) Freeze() (Frozen, error) { return n.replica.freeze(), nil }

// Restore replaces the state. Where OriginOpen of the present boot went out before, whatever applied of it was applied unseen: its outcomes cannot be told any
// more, so its clients are closed and a new boot opens. That holds with or without sessions, and for a boot that still waits.
//
// At a start the old state stands on error. A live restore lets it go first: a node at its memory watermark has no room for two states, and nobody needs the
// old one, since its clients are closed in any case. Views see an empty state meanwhile, and after an error the process must end: the snapshot is on its disk.
func (n *Node) Restore(r io.Reader, live bool) error {
	if live {
		n.applyMu.Lock()
		if n.pipe.wasSent() {
			n.closeBootLocked(phaseClosed, textRestored)
		}
		n.replica.empty()
		n.applyMu.Unlock()
	}
	swap, err := n.replica.restore(r)
	if err != nil {
		return fmt.Errorf("broker: restore: %w", err)
	}
	n.applyMu.Lock()
	index := swap()
	n.noteLevel()
	if n.pipe.wasSent() {
		n.closeBootLocked(phaseClosed, textRestored)
	}
	n.lookForUsers()
	n.applyMu.Unlock()
	n.applied.reach(index)
	n.logger.Info("state restored from a snapshot", "index", index, "live", live)
	return nil
}

// LiveBytes estimates a snapshot's size. Any goroutine.
func (n *Node) LiveBytes() (sizeBytes int64) {
	n.replica.view(func(s *fsm.State) { sizeBytes = s.LiveBytes() })
	return sizeBytes
}

// View runs f with the state under a read lock; f must be quick and keep nothing. Any goroutine.
func (n *Node) View(f func(s *fsm.State)) { n.replica.view(f) }

// Reasons why a node is not ready.
var (
	errNotRunning = errors.New("the node is starting")
	errNotOpen    = errors.New("this node accepts no clients now: it has no majority to talk to, or waits to be taken into its cluster")
	errNoUsers    = errors.New("the first user of the cluster is not made yet")
	errNoLeader   = errors.New("no leader is known")
)

// catchUpBound is how long Ready waits for what was committed when it was asked: under load a healthy node is always a few entries behind.
const catchUpBound = 250 * time.Millisecond

// Ready reports why the node would not serve a client now; nil when it would (readyz). It may wait for catchUpBound. Any goroutine.
func (n *Node) Ready() error {
	if !n.isAttached() {
		return errNotRunning
	}
	if n.phase() != phaseLive {
		return errNotOpen
	}
	if leadership, _ := n.log.Leadership(); leadership.Node == "" {
		return errNoLeader
	}
	if done, _ := n.hasUsers.state(); !done {
		return errNoUsers
	}
	committed := n.log.CommitIndex()
	ctx, cancel := context.WithTimeout(context.Background(), catchUpBound)
	defer cancel()
	if n.applied.wait(ctx, committed, nil) != nil {
		return fmt.Errorf("applied up to %d of %d committed", n.applied.get(), committed)
	}
	return nil
}

// Accepting returns whether clients are accepted, and a channel that is closed while they are. Doors wait on it before they serve a socket. Any goroutine.
func (n *Node) Accepting() (bool, <-chan struct{}) { return n.accepting.state() }
