package broker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// Errors that doors branch on.
var (
	ErrNotAccepting   = errors.New("broker: this node accepts no clients now") // origin not open: starting, cut off, stopping
	ErrSessionOver    = errors.New("broker: the session is over")
	ErrAccess         = errors.New("broker: login refused")
	ErrOutcomeUnknown = errors.New("broker: the outcome is unknown: this node lost its place in the log") // neither confirmed nor refused
)

// closeBound is how long Close waits for the session's end in apply.
const closeBound = 5 * time.Second

// Handler is a door's side of a session. Methods are called one at a time, in order, with the node's locks held (on the apply goroutine, but for End and Blocked, which
// may come from another): they must not block or call the Session, and encode into a buffer that a writer goroutine drains.
type Handler interface {
	// Effect is one outcome for this session. e and what it points to are valid during the call only.
	Effect(e *fsm.Effect)
	// Flush follows the last Effect of a log entry: wake the writer.
	Flush()
	// End is the last call: the node ends the session (reply code 320 to AMQP clients). Not called after a Replied to CloseSession or a SessionFailed.
	End(code fsm.Code, text string)
	// Blocked tells that publishers are held (reason for connection.blocked), or no more ("").
	Blocked(reason string)
}

// SessionSpec is what a door knows when a client has logged in.
type SessionSpec struct {
	VHost, User, Name string
	CancelNotify      bool
	Details           []byte // encoded field table for views (fsm.OpenSession.Details); dropped where larger than fsm.DetailsBytesMax
}

// Refusal is a command's failure as an error.
type Refusal struct {
	Code fsm.Code
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// Session is one client connection's way into the log: commands in, effects out to its Handler. Its methods are called by one goroutine, the connection's
// reader, unless they say otherwise. None may be called with a lock held that the Handler takes.
type Session struct {
	node    *Node
	conn    uint32
	handler Handler
	lane    lane          // guarded by pipeline.mu
	opened  chan error    // capacity 1: the outcome of OpenSession
	done    chan struct{} // closed when the session has ended, whatever ended it
	closing atomic.Bool   // Close was called
	mute    atomic.Bool   // nobody listens to the handler any more

	// Guarded by Node.applyMu.
	isOpen  bool   // the state machine has it, and the handler is called
	over    bool   // it has ended
	touched bool   // had an effect in the present entry
	told    string // what Blocked was last called with
}

// OpenSession registers a connection and waits until the state machine has it. Refusals are *Refusal; ErrNotAccepting. Any goroutine.
func (n *Node) OpenSession(ctx context.Context, spec SessionSpec, h Handler) (*Session, error) {
	s := &Session{node: n, handler: h, opened: make(chan error, 1), done: make(chan struct{})}
	if err := n.register(s, spec); err != nil {
		return nil, err
	}
	select {
	case err := <-s.opened:
		if err != nil {
			return nil, err
		}
		return s, nil
	case <-ctx.Done():
		s.mute.Store(true)
		s.submitClose() // it may have been opened, or be in a batch: the log has to end it
		return nil, ctx.Err()
	}
}

func (n *Node) register(s *Session, spec SessionSpec) error {
	n.applyMu.Lock()
	defer n.applyMu.Unlock()
	if n.phase() != phaseLive {
		return ErrNotAccepting
	}
	n.lastConn++
	s.conn = n.lastConn
	n.sessions[s.conn] = s
	open := fsm.OpenSession{Ref: fsm.Ref{Conn: s.conn}, VHost: spec.VHost, User: spec.User, Name: spec.Name, CancelNotify: spec.CancelNotify, Details: boundedDetails(spec.Details)}
	n.pipe.push(&s.lane, open.Append(nil))
	return nil
}

// boundedDetails drops what must not reach the log: details are for people, no connection fails because of them.
func boundedDetails(table []byte) []byte {
	if len(table) > fsm.DetailsBytesMax {
		return nil
	}
	encoded, rest, err := content.ScanTable(table)
	if err != nil || len(rest) > 0 {
		return nil
	}
	return encoded
}

// Conn is the connection's number, for the Refs of its commands. Any goroutine.
func (s *Session) Conn() uint32 { return s.conn }

// Done is closed when the session has ended, whatever ended it. Any goroutine.
func (s *Session) Done() <-chan struct{} { return s.done }

// Submit takes a concatenation of encoded commands (copied). It blocks while this connection has more than its share waiting (1 MiB, less where very many
// wait, or one Submit): that is the back-pressure to the socket. ErrSessionOver when the session has ended; a *Refusal, and nothing is taken, where the cluster's
// feature level does not have one of the commands yet: doors that offer what a level brings look at FeatureLevel before they encode it.
func (s *Session) Submit(ctx context.Context, commands []byte) error {
	if err := s.node.earlyAmong(commands); err != nil {
		return err
	}
	for {
		accepted, room, err := s.node.pipe.offer(&s.lane, commands)
		if accepted || err != nil {
			return err
		}
		select {
		case <-room:
		case <-s.done:
			return ErrSessionOver
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// AwaitPublish blocks while an alarm or a verdict of Verify holds publishers. Doors call it before they read on behind a publish, with everything decoded so far submitted.
func (s *Session) AwaitPublish(ctx context.Context) error {
	for {
		free, opened := s.node.flow.gate.state()
		if free {
			return nil
		}
		select {
		case <-opened:
		case <-s.done:
			return ErrSessionOver
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Probe answers a command without writing the log if it would change nothing: it waits until everything submitted before has applied here, takes a read
// index and asks State.Probe. ok is false when the command must be submitted instead. Content fields of the reply are not set.
func (s *Session) Probe(ctx context.Context, command []byte) (reply fsm.Effect, ok bool, err error) {
	if err := s.AwaitApplied(ctx); err != nil {
		return fsm.Effect{}, false, err
	}
	n := s.node
	ctx, cancel := context.WithTimeout(ctx, halfDeadAfter) // the session does not outlive a longer silence
	defer cancel()
	index, err := n.log.ReadIndex(ctx)
	if err != nil {
		return fsm.Effect{}, false, err
	}
	if err := n.applied.wait(ctx, index, s.done); err != nil {
		return fsm.Effect{}, false, err
	}
	origin := n.pipe.boot()
	n.replica.view(func(st *fsm.State) { reply, ok = st.Probe(origin, command) })
	return reply, ok, nil
}

// AwaitApplied waits until all that was submitted is applied here. ErrSessionOver, ctx's error.
func (s *Session) AwaitApplied(ctx context.Context) error {
	drained, err := s.node.pipe.drained(&s.lane)
	if err != nil || drained == nil {
		return err
	}
	select {
	case <-drained:
		return nil
	case <-s.done:
		return ErrSessionOver
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the session: CloseSession through the log, waiting at most 5 s for its end in apply; afterwards the Handler is not called any more, but for
// a call that is under way. Any goroutine, idempotent.
func (s *Session) Close(ctx context.Context) {
	s.submitClose()
	bound := time.NewTimer(closeBound)
	defer bound.Stop()
	select {
	case <-s.done:
	case <-bound.C:
	case <-ctx.Done():
	}
	s.mute.Store(true)
}

func (s *Session) submitClose() {
	if !s.closing.Swap(true) {
		s.node.pipe.pushLast(&s.lane, (&fsm.CloseSession{Ref: fsm.Ref{Conn: s.conn}}).Append(nil))
	}
}
