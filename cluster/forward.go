package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/triagemq/triagemq/transport/mux"
)

// intake is the leader's end of a stream: one origin's way into the queue of one reign. At most one is open per origin, and a newer one replaces the older.
type intake struct {
	origin string
	reign  *reign
	done   chan struct{} // closed when it ends

	ended bool   // guarded by reign.mu
	cause string // guarded by reign.mu

	admitted atomic.Uint64 // bytes of items
	ack      chan struct{} // admitted has moved on far enough to tell; capacity 1
}

const (
	acceptPatience = 2 * time.Second // for a leader that is elected and whose barrier has not been applied yet
	writeBound     = 3 * time.Second // for what the leader writes to an origin
	byeBound       = 500 * time.Millisecond
)

// attach opens the intake of an origin.
func (r *reign) attach(origin string) (*intake, error) {
	in := &intake{origin: origin, reign: r, done: make(chan struct{}), ack: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ready {
		return nil, ErrNotLeader
	}
	if r.going[origin] {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, origin)
	}
	if old := r.intakes[origin]; old != nil {
		old.endLocked("replaced by a newer stream of this origin")
	}
	r.intakes[origin] = in
	return in, nil
}

// end ends the intake; nothing is admitted through it afterwards. The first cause stays.
func (in *intake) end(cause string) {
	in.reign.mu.Lock()
	defer in.reign.mu.Unlock()
	in.endLocked(cause)
}

func (in *intake) endLocked(cause string) {
	if in.ended {
		return
	}
	in.ended, in.cause = true, cause
	close(in.done)
	if in.reign.intakes[in.origin] == in {
		delete(in.reign.intakes, in.origin)
	}
}

func (in *intake) endCause() string {
	in.reign.mu.Lock()
	defer in.reign.mu.Unlock()
	return in.cause
}

// admit checks an item and admits it; it blocks while the queue is full. A bad item ends the stream: it must not get into the log, and an origin that sends
// one has lost its mind.
func (in *intake) admit(it item) error {
	g := in.reign.g
	if err := g.machine.CheckItem(it.data); err != nil {
		g.log.Error("an origin sent an item that must not get into the log; closing its stream", "origin", in.origin, "bytes", len(it.data), "error", err)
		in.end("bad item: " + err.Error())
		return ErrStreamOver
	}
	return in.reign.admit(in.done, in, it)
}

// acceptStreams serves the streams of other nodes.
func (g *Group) acceptStreams(l *mux.Listener) {
	for {
		c, err := l.AcceptConn()
		if err != nil {
			return
		}
		g.wg.Go(func() {
			defer c.Close()
			if err := g.serveStream(c); err != nil {
				g.log.Debug("a stream ended", "origin", c.Peer.Server, "cause", err)
			}
		})
	}
}

func (g *Group) serveStream(c *mux.Conn) error {
	frames := newFrameReader(c)
	kind, payload, err := frames.next(nil)
	if err != nil {
		return err
	}
	hello, err := decodeForwardHello(kind, payload)
	if err != nil {
		return err
	}
	in, err := g.acceptHello(c.Peer.Server, hello)
	if err != nil {
		return errors.Join(err, writeWithin(c, byeBound, appendFrame(nil, frameOver, []byte(err.Error()))))
	}
	if err := writeWithin(c, writeBound, appendFrame(nil, frameWelcome, nil)); err != nil {
		in.end(err.Error())
		return err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		in.answer(c)
		c.Close() // the reader is waiting, for a frame or for room in the queue
	}()
	err = in.read(frames)
	in.end(err.Error())
	<-written
	select {
	case <-in.reign.over:
	default:
		g.machine.Lost(in.origin)
	}
	return errors.New(in.endCause())
}

// acceptHello opens the intake, if this node leads the term that the origin means, waiting for a moment if it is about to.
func (g *Group) acceptHello(origin string, h forwardHello) (*intake, error) {
	patience := time.NewTimer(acceptPatience)
	defer patience.Stop()
	for {
		l, changed := g.Leadership()
		if r := g.readyReign(); r != nil && r.term == h.term {
			if !r.isMember(origin) {
				return nil, fmt.Errorf("%w: %s", ErrUnknown, origin)
			}
			return r.attach(origin)
		}
		if l.Term > h.term {
			return nil, fmt.Errorf("%w: term %d is over, this is %d", ErrNotLeader, h.term, l.Term)
		}
		select {
		case <-changed:
		case <-patience.C:
			return nil, fmt.Errorf("%w of term %d", ErrNotLeader, h.term)
		case <-g.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// read admits what the origin sends, and stops reading while the queue is full. It returns when the stream is over.
func (in *intake) read(frames *frameReader) error {
	g := in.reign.g
	var told uint64
	var buffer *[]byte
	room := func(size int) (b []byte) {
		buffer, b = g.buffer(size)
		return b
	}
	for {
		kind, payload, err := frames.next(room)
		if err != nil {
			return err
		}
		in.reign.heard(in.origin)
		switch kind {
		case frameItem:
			if err := in.admit(item{payload, buffer}); err != nil {
				return err
			}
			if sum := in.admitted.Add(uint64(len(payload))); sum-told >= windowBytes/4 {
				told = sum
				in.acknowledge()
			}
		case frameBeacon:
			g.machine.Heard(in.origin, payload)
		case frameOver:
			return fmt.Errorf("closed by the origin: %s", payload)
		default:
			return fmt.Errorf("%w: kind %d", errFrame, kind)
		}
	}
}

func (in *intake) acknowledge() {
	select {
	case in.ack <- struct{}{}:
	default:
	}
}

// answer writes to the origin: what was admitted, and a sign of life at intervals, also while the reader waits for room.
func (in *intake) answer(c net.Conn) {
	tick := time.NewTicker(beaconInterval)
	defer tick.Stop()
	var out []byte
	for {
		select {
		case <-in.ack:
			out = out[:0]
		case <-tick.C:
			out = appendFrame(out[:0], frameBeacon, in.reign.g.beacon())
		case <-in.done:
			// Best effort: the origin notices either way.
			_ = writeWithin(c, byeBound, appendFrame(out[:0], frameOver, []byte(in.endCause())))
			return
		}
		out = appendFrameHead(out, frameAdmitted, 8)
		out = binary.BigEndian.AppendUint64(out, in.admitted.Load())
		if err := writeWithin(c, writeBound, out); err != nil {
			in.end(err.Error())
			return
		}
	}
}

func writeWithin(c net.Conn, bound time.Duration, b []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(bound)); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// beacon is the Machine's word for keep-alives, within its bound.
func (g *Group) beacon() []byte {
	b := g.machine.Beacon()
	return b[:min(len(b), beaconMax)]
}

// buffer returns a buffer of this size, pooled where it is not too large to keep.
func (g *Group) buffer(size int) (*[]byte, []byte) {
	if size > pooledMax {
		return nil, make([]byte, size)
	}
	p, _ := g.buffers.Get().(*[]byte)
	if p == nil || cap(*p) < size {
		b := make([]byte, max(size, 4<<10))
		p = &b
	}
	return p, (*p)[:size]
}

const pooledMax = 512 << 10
