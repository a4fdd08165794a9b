package http

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// Whatever changes topology or messages goes through a session of the user who asked, as an AMQP client's would: permissions, limits and wordings are the
// same, and so is the promise that an outcome is the log's.

const (
	// outcomeBound is how long a request waits for the log, elections included.
	outcomeBound = 10 * time.Second
	// sessionWindow is how many commands are under way at once: imports send thousands.
	sessionWindow = 256
	// sessionProtocol marks these sessions, so that lists of connections leave them out.
	sessionProtocol = "HTTP"
)

// session is a broker.Session with one channel, and its Handler. Commands are answered in order: the first outcome belongs to the first command that has none.
type session struct {
	broker      *broker.Session
	incarnation uint32 // of channel 1; 0 = not open
	last        uint32 // incarnations are never used again
	outcomes    chan outcome
	ended       chan struct{} // closed by End or SessionFailed
	endOnce     sync.Once
	why         *broker.Refusal // valid once ended is closed
	returned    bool            // a Returned came for the publish under way; the apply goroutine alone has it
}

// outcome is what became of a command.
type outcome struct {
	refusal  *broker.Refusal // nil: it succeeded
	channel  bool            // the refusal closed the channel
	empty    bool            // a get found nothing
	count    uint32
	returned bool // a mandatory publish was returned
	message  *message
}

// message is what a get found.
type message struct {
	exchange, key    string
	properties, body []byte
	redelivered      bool
	left             uint32
	tag              uint64
	deliveries       uint32
}

// withSession runs f with a session in a virtual host.
func (r *request) withSession(vhost string, f func(ctx context.Context, s *session) error) error {
	ctx, cancel := context.WithTimeout(r.ctx(), outcomeBound)
	defer cancel()
	return r.withSessionUntil(ctx, vhost, f)
}

func (r *request) withSessionUntil(ctx context.Context, vhost string, f func(ctx context.Context, s *session) error) error {
	s := &session{outcomes: make(chan outcome, sessionWindow), ended: make(chan struct{})}
	spec := broker.SessionSpec{
		VHost: vhost, User: r.who.User, Name: "HTTP " + r.http.RemoteAddr,
		Details: content.Table{{Name: "protocol", Value: sessionProtocol}}.Append(nil),
	}
	if err := r.server.open(ctx, s, spec); err != nil {
		return err
	}
	defer s.close()
	return f(ctx, s)
}

// open waits until this node accepts clients; it does not while it has lost its place in the log and takes a new one.
func (s *Server) open(ctx context.Context, ses *session, spec broker.SessionSpec) error {
	for {
		accepting, opened := s.broker.Accepting()
		if !accepting {
			select {
			case <-opened:
			case <-ctx.Done():
				return broker.ErrNotAccepting
			}
		}
		b, err := s.broker.OpenSession(ctx, spec, ses)
		if errors.Is(err, broker.ErrNotAccepting) && ctx.Err() == nil {
			continue
		}
		ses.broker = b
		return err
	}
}

// close ends the session in the log: what it got and did not acknowledge returns to its queue.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), outcomeBound)
	defer cancel()
	s.broker.Close(ctx)
}

// do carries out one command; its refusal is a *broker.Refusal.
func (s *session) do(ctx context.Context, build func(ref fsm.Ref) fsm.Command) (outcome, error) {
	outcomes, err := s.all(ctx, []func(ref fsm.Ref) fsm.Command{build})
	if err != nil {
		return outcome{}, err
	}
	if refusal := outcomes[0].refusal; refusal != nil {
		return outcome{}, refusal
	}
	return outcomes[0], nil
}

// all carries out commands in order and returns the outcome of each. A refusal closes the channel, and the log skips what was sent behind it: that is sent
// again on a new one.
func (s *session) all(ctx context.Context, builds []func(ref fsm.Ref) fsm.Command) ([]outcome, error) {
	outcomes := make([]outcome, 0, len(builds))
	for len(outcomes) < len(builds) {
		window := builds[len(outcomes):min(len(outcomes)+sessionWindow, len(builds))]
		if err := s.submit(ctx, window); err != nil {
			return outcomes, err
		}
		for range window {
			o, err := s.next(ctx)
			if err != nil {
				return outcomes, err
			}
			outcomes = append(outcomes, o)
			if o.channel {
				s.incarnation = 0
				break
			}
		}
	}
	return outcomes, nil
}

func (s *session) submit(ctx context.Context, builds []func(ref fsm.Ref) fsm.Command) error {
	var b []byte
	if s.incarnation == 0 {
		s.last++
		s.incarnation = s.last
		b = (&fsm.OpenChannel{Ref: s.ref()}).Append(b)
	}
	for _, build := range builds {
		b = build(s.ref()).Append(b)
		if len(b) >= fsm.BatchBytesTarget {
			if err := s.broker.Submit(ctx, b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return s.broker.Submit(ctx, b)
}

func (s *session) ref() fsm.Ref {
	return fsm.Ref{Conn: s.broker.Conn(), Channel: 1, Incarnation: s.incarnation}
}

func (s *session) next(ctx context.Context) (outcome, error) {
	select {
	case o := <-s.outcomes:
		return o, nil
	default:
	}
	select {
	case o := <-s.outcomes:
		return o, nil
	case <-s.ended:
		return outcome{}, s.why
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
}

// Effect implements broker.Handler.
func (s *session) Effect(e *fsm.Effect) {
	switch e.Kind {
	case fsm.Returned:
		s.returned = true
	case fsm.Published:
		o := outcome{returned: s.returned}
		if e.Code != fsm.OK {
			o.refusal = &broker.Refusal{Code: e.Code, Text: "rejected"}
		}
		s.returned = false
		s.tell(o)
	case fsm.Replied:
		if e.Command != fsm.KindCloseSession {
			s.tell(outcome{empty: e.Empty, count: e.Count})
		}
	case fsm.Delivered:
		s.tell(outcome{message: copyMessage(e)})
	case fsm.ChannelFailed:
		s.tell(outcome{refusal: &broker.Refusal{Code: e.Code, Text: e.Text}, channel: true})
	case fsm.SessionFailed:
		s.End(e.Code, e.Text)
	}
}

func copyMessage(e *fsm.Effect) *message {
	return &message{
		exchange: string(e.Exchange), key: string(e.RoutingKey), properties: append([]byte(nil), e.Properties...), body: append([]byte(nil), e.Body...),
		redelivered: e.Redelivered, left: e.Count, tag: e.Tag, deliveries: e.Deliveries,
	}
}

// tell never blocks: no more commands are under way than outcomes has room for.
func (s *session) tell(o outcome) {
	select {
	case s.outcomes <- o:
	default:
	}
}

// Flush implements broker.Handler.
func (s *session) Flush() {}

// End implements broker.Handler.
func (s *session) End(code fsm.Code, text string) {
	s.endOnce.Do(func() {
		s.why = &broker.Refusal{Code: code, Text: text}
		close(s.ended)
	})
}

// Blocked implements broker.Handler.
func (s *session) Blocked(string) {}
