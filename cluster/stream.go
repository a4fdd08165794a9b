package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/triagemq/triagemq/transport/mux"
)

// Stream carries this node's items to the leader of one term: over the peer port, or straight into the queue where this node leads. At most one is open per
// Group. It ends, and never resumes, when the term or the leader changes, the connection breaks or falls silent, or the leader closes it; what the leader
// had not put into the log by then is lost, so the next stream begins again after what this node has applied.
type Stream struct {
	g      *Group
	leader string
	term   uint64
	done   chan struct{} // closed when it ends

	in   *intake  // in process: this node leads
	conn net.Conn // else

	room chan struct{} // Send may go on; capacity 1
	wake chan struct{} // for the writer; capacity 1

	mu       sync.Mutex // guards what follows
	ended    bool
	cause    string
	out      []byte // frames to write
	sent     uint64 // bytes of items handed over
	admitted uint64 // bytes of items that the leader has put into its queue
}

const (
	outBytes    = 256 << 10 // waiting for the writer; Send blocks above it
	windowBytes = 2 << 20   // handed over and not yet admitted; Send blocks above it, one item may exceed it alone
	outKept     = 1 << 20   // a larger buffer is not kept
	openBound   = acceptPatience + time.Second
)

// OpenStream opens the stream to the present leader (in process where this node leads), in place of an older one. ErrNoLeader, or the dial's error.
func (g *Group) OpenStream(ctx context.Context) (*Stream, error) {
	g.opening.Lock()
	defer g.opening.Unlock()
	g.mu.Lock()
	l, old := g.lead, g.stream
	g.stream = nil
	g.mu.Unlock()
	if old != nil {
		old.end("replaced by a newer stream")
	}
	if l.Server == "" {
		return nil, ErrNoLeader
	}
	s := &Stream{
		g: g, leader: l.Server, term: l.Term,
		done: make(chan struct{}), room: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	open := s.openRemote
	if l.Server == g.self {
		open = s.openLocal
	}
	if err := open(ctx); err != nil {
		return nil, err
	}
	return s, g.register(s)
}

// register makes the stream the open one, if the leader is still the one that it was opened to.
func (g *Group) register(s *Stream) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing || g.lead.Term != s.term || g.lead.Server != s.leader {
		s.end("the leader changed")
		return ErrStreamOver
	}
	g.stream = s
	return nil
}

func (s *Stream) openLocal(context.Context) error {
	r := s.g.readyReign()
	if r == nil || r.term != s.term {
		return ErrNoLeader
	}
	in, err := r.attach(s.g.self)
	if err != nil {
		return ErrNoLeader
	}
	s.in = in
	err = s.g.spawn(func() {
		select {
		case <-in.done:
			s.end(in.endCause())
		case <-s.done:
			in.end("closed by the origin")
		}
	})
	if err != nil {
		in.end("closing")
	}
	return err
}

func (s *Stream) openRemote(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openBound)
	defer cancel()
	stop := context.AfterFunc(s.g.ctx, cancel)
	defer stop()
	c, err := s.g.dial(ctx, s.leader, mux.ProtocolForward)
	if err != nil {
		return err
	}
	frames := newFrameReader(c)
	interrupt := context.AfterFunc(ctx, func() { c.Close() })
	err = s.greet(c, frames)
	if !interrupt() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		c.Close()
		return err
	}
	s.conn = c
	err = s.g.spawn(func() {
		s.g.wg.Go(s.write)
		s.read(frames)
	})
	if err != nil {
		c.Close()
	}
	return err
}

func (s *Stream) greet(c net.Conn, frames *frameReader) error {
	_, boot := s.g.dir.identity()
	if err := writeWithin(c, writeBound, forwardHello{boot, s.term}.encode()); err != nil {
		return err
	}
	kind, payload, err := frames.next(nil)
	switch {
	case err != nil:
		return err
	case kind == frameOver:
		return fmt.Errorf("%w: %s said: %s", ErrNoLeader, s.leader, payload)
	case kind != frameWelcome:
		return errFrame
	}
	return c.SetWriteDeadline(time.Time{})
}

// Send hands an item over; it blocks while the leader does not read. The item must not be changed afterwards. An error, ErrStreamOver, ends the stream: the
// item is in the log, or will be, or never. One goroutine sends.
func (s *Stream) Send(data []byte) error {
	if len(data) > ItemMax {
		return fmt.Errorf("cluster: an item of %d bytes, at most %d are allowed", len(data), ItemMax)
	}
	if s.in != nil {
		if err := s.in.admit(item{data: data}); err != nil {
			s.end(s.in.endCause())
			return ErrStreamOver
		}
		return nil
	}
	for {
		sent, ended := s.offer(data)
		if ended {
			return ErrStreamOver
		}
		if sent {
			signal(s.wake)
			return nil
		}
		select {
		case <-s.room:
		case <-s.done:
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// offer gives the item to the writer, if there is room for it.
func (s *Stream) offer(data []byte) (sent, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false, true
	}
	flying, size := s.sent-s.admitted, uint64(len(data))
	if len(s.out) >= outBytes || flying > 0 && flying+size > windowBytes {
		return false, false
	}
	s.out = appendFrame(s.out, frameItem, data)
	s.sent += size
	return true, false
}

// write writes what Send has left, all of it at once: a lone item goes at once, and under load a write grows to what came during the one before. Silence is
// judged by read; while the leader does not read, a write may take for ever.
func (s *Stream) write() {
	defer s.conn.Close()
	tick := time.NewTicker(beaconInterval)
	defer tick.Stop()
	var spare []byte
	for {
		var beacon []byte
		select {
		case <-s.wake:
		case <-tick.C:
			beacon = s.g.beacon()
		case <-s.done:
			// A courtesy, and only where nothing is stuck in front of it.
			_ = writeWithin(s.conn, byeBound, appendFrame(nil, frameOver, []byte(s.endCause())))
			return
		}
		s.mu.Lock()
		out := s.out
		s.out = spare[:0]
		s.mu.Unlock()
		signal(s.room)
		if beacon != nil {
			out = appendFrame(out, frameBeacon, beacon)
		}
		if len(out) > 0 {
			if _, err := s.conn.Write(out); err != nil {
				s.end(err.Error())
				return
			}
		}
		if spare = out; cap(spare) > outKept {
			spare = nil
		}
	}
}

// read takes what the leader tells.
func (s *Stream) read(frames *frameReader) {
	defer s.conn.Close() // frees the writer
	for {
		kind, payload, err := frames.next(nil)
		if err == nil {
			err = s.take(kind, payload)
		}
		if err != nil {
			s.end(err.Error())
			return
		}
	}
}

func (s *Stream) take(kind byte, payload []byte) error {
	switch kind {
	case frameAdmitted:
		sum, err := decodeCount(payload)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if sum < s.admitted || sum > s.sent {
			return fmt.Errorf("%w: %d bytes admitted of %d", errFrame, sum, s.sent)
		}
		s.admitted = sum
		signal(s.room)
		return nil
	case frameBeacon:
		s.g.machine.Heard(s.leader, payload)
		return nil
	case frameOver:
		return fmt.Errorf("closed by the leader: %s", payload)
	}
	return errFrame
}

// Done is closed when the stream is over: leader lost, connection broken, silence.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Close ends it.
func (s *Stream) Close() { s.end("closed here") }

// end ends the stream; the first cause stays. It takes no lock but its own, and does not wait.
func (s *Stream) end(cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended, s.cause = true, cause
	close(s.done)
	if s.conn != nil {
		_ = s.conn.SetDeadline(time.Now().Add(byeBound)) // frees a writer that the leader does not read from
	}
	s.g.log.Debug("the stream to the leader ended", "leader", s.leader, "term", s.term, "cause", cause)
}

func (s *Stream) endCause() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}
