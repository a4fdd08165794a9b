package amqp

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// fakeBroker is a broker whose every move a test decides.
type fakeBroker struct {
	mu        sync.Mutex
	accepting chan struct{} // closed while clients are accepted
	sessions  chan *fakeSession
	refusal   error // of OpenSession
	short     atomic.Bool
}

func newFakeBroker() *fakeBroker {
	b := &fakeBroker{accepting: make(chan struct{}), sessions: make(chan *fakeSession, 100)}
	close(b.accepting)
	return b
}

func (b *fakeBroker) Login(_ context.Context, user, password, _ string) (broker.Identity, error) {
	if user != "guest" || password != "guest" {
		return broker.Identity{}, broker.ErrAccess
	}
	return broker.Identity{User: user}, nil
}

func (b *fakeBroker) LoginExternal(_ context.Context, user, _ string) (broker.Identity, error) {
	if user != "guest" {
		return broker.Identity{}, broker.ErrAccess
	}
	return broker.Identity{User: user}, nil
}

func (b *fakeBroker) Accepting() (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.accepting:
		return true, b.accepting
	default:
		return false, b.accepting
	}
}

func (b *fakeBroker) OpenSession(_ context.Context, spec broker.SessionSpec, h broker.Handler) (Session, error) {
	if b.refusal != nil {
		return nil, b.refusal
	}
	s := &fakeSession{handler: h, spec: spec, commands: make(chan fakeCommand, 1<<16), gate: make(chan struct{}), closed: make(chan struct{})}
	close(s.gate)
	b.sessions <- s
	return s, nil
}

func (b *fakeBroker) OpenReplyAddress(broker.ReplyTaker) string { return "n1.KEY" }
func (b *fakeBroker) CloseReplyAddress(string)                  {}
func (b *fakeBroker) SendReply(_ context.Context, _ broker.DirectReply, outcome func(bool)) {
	if outcome != nil {
		outcome(false)
	}
}
func (b *fakeBroker) MemoryShort() bool                             { return b.short.Load() }
func (b *fakeBroker) ReplyRefused(string, string) string            { return "" }
func (b *fakeBroker) ReplyAddressOpen(context.Context, string) bool { return false }

type fakeSession struct {
	handler  broker.Handler
	spec     broker.SessionSpec
	commands chan fakeCommand
	closed   chan struct{}
	once     sync.Once

	mu   sync.Mutex
	gate chan struct{} // closed while publishers are free

	unapplied chan struct{} // closed once what was submitted is applied; nil: at once
	over      bool
	held      int // AwaitPublish that waited
}

// fakeCommand is a command's head.
type fakeCommand struct {
	kind    fsm.CommandKind
	ref     fsm.Ref
	payload []byte
}

func (s *fakeSession) Conn() uint32 { return 1 }

func (s *fakeSession) Submit(_ context.Context, commands []byte) error {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if over {
		return broker.ErrSessionOver
	}
	for len(commands) > 0 {
		command, rest, ok := fsm.NextCommand(commands)
		if !ok {
			return errors.New("damaged commands")
		}
		commands = rest
		s.commands <- fakeCommand{fsm.CommandKind(command[4]), fsm.Ref{
			Conn: binary.BigEndian.Uint32(command[5:]), Channel: binary.BigEndian.Uint16(command[9:]), Incarnation: binary.BigEndian.Uint32(command[11:]),
		}, append([]byte(nil), command[15:]...)}
	}
	return nil
}

func (s *fakeSession) AwaitPublish(ctx context.Context) error {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	select {
	case <-gate:
		return nil
	default:
	}
	s.mu.Lock()
	s.held++
	s.mu.Unlock()
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AwaitApplied waits for unapplied, where a test has set it.
func (s *fakeSession) AwaitApplied(ctx context.Context) error {
	s.mu.Lock()
	unapplied := s.unapplied
	s.mu.Unlock()
	if unapplied == nil {
		return nil
	}
	select {
	case <-unapplied:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeSession) Probe(context.Context, []byte) (fsm.Effect, bool, error) {
	return fsm.Effect{}, false, nil
}

func (s *fakeSession) Close(context.Context) { s.once.Do(func() { close(s.closed) }) }

// await waits for a command of a kind and drops those before.
func (s *fakeSession) await(t testing.TB, kind fsm.CommandKind) fakeCommand {
	t.Helper()
	for {
		if c := receive(t, s.commands, kind.String()); c.kind == kind {
			return c
		}
	}
}

// effects hands effects over as one log entry.
func (s *fakeSession) effects(all ...fsm.Effect) {
	for i := range all {
		s.handler.Effect(&all[i])
	}
	s.handler.Flush()
}
