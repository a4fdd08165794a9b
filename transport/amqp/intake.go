package amqp

import (
	"context"
	"slices"
	"sync"
)

// largeBodyBytes is the size from which on a body has to find room in the intake before it is read. What is smaller is bounded by the number of connections.
const largeBodyBytes = 64 << 10

// intake bounds what large messages take while they arrive, over all connections: a hundred clients that send 16 MiB each at the same time would otherwise fill
// the memory of a small node before any alarm could stop them. A message is let in with its whole size or not at all, first come, first served: were each taken
// in as it arrives, all could be half there, with no room for any of the other halves. One message is always let in, whatever its size.
type intake struct {
	maxBytes int

	mu      sync.Mutex // guards what follows
	used    int
	waiting []*newcomer
}

type newcomer struct {
	size int
	in   chan struct{} // closed when it is let in
}

// acquire waits for room. Every success wants a release.
func (in *intake) acquire(ctx context.Context, sizeBytes int) error {
	in.mu.Lock()
	w := &newcomer{size: sizeBytes, in: make(chan struct{})}
	in.waiting = append(in.waiting, w)
	in.admit()
	in.mu.Unlock()
	select {
	case <-w.in:
		return nil
	case <-ctx.Done():
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	before := len(in.waiting)
	if in.waiting = slices.DeleteFunc(in.waiting, func(o *newcomer) bool { return o == w }); len(in.waiting) == before {
		return nil // it was let in at the same moment
	}
	in.admit() // those behind it may be smaller
	return ctx.Err()
}

// take takes room that may not be there.
func (in *intake) take(sizeBytes int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.used += sizeBytes
}

func (in *intake) release(sizeBytes int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.used -= sizeBytes
	in.admit()
}

// isTight says whether a message takes so much of the intake that it has to keep its room until it is applied: it is in the intake, then among what waits for
// a batch, then in a batch, and were its room given back at the first of these, three messages would take what was meant for one.
func (in *intake) isTight(sizeBytes int) bool { return sizeBytes > in.maxBytes/4 }

// admit lets in whoever is first while there is room. Called with mu held.
func (in *intake) admit() {
	for len(in.waiting) > 0 && (in.used == 0 || in.used+in.waiting[0].size <= in.maxBytes) {
		in.used += in.waiting[0].size
		close(in.waiting[0].in)
		in.waiting = slices.Delete(in.waiting, 0, 1)
	}
}

// reserve waits until a large body of this channel may be read. What was decoded before it goes to the broker first: acknowledgements must not wait here.
func (ch *channel) reserve(bodyBytes int) error {
	c := ch.conn
	if bodyBytes <= largeBodyBytes {
		return nil
	}
	if c.reserved > 0 { // another channel's message is half there, and what is missing of it comes after this one: it must not wait for itself
		c.server.intake.take(bodyBytes)
		ch.reserved(bodyBytes)
		return nil
	}
	if err := c.submit(); err != nil {
		return err
	}
	for {
		if err := c.attend(); err != nil {
			return err
		}
		done, err := c.awaitGate(func(ctx context.Context) error { return c.server.intake.acquire(ctx, bodyBytes) })
		if done {
			ch.reserved(bodyBytes)
		}
		if done || err != nil {
			return err
		}
	}
}

func (ch *channel) reserved(bodyBytes int) {
	ch.content.reserved = bodyBytes
	ch.conn.reserved += bodyBytes
}

// unreserve gives the room back: the message went on, or never will.
func (ch *channel) unreserve() {
	c, a := ch.conn, &ch.content
	if a.reserved > 0 {
		c.server.intake.release(a.reserved)
		c.reserved -= a.reserved
		a.reserved = 0
	}
}

// ownBuffer is for a message that is not the tail of its connection's commands. A large one gets what it needs, and not what doubling comes to: its room is reserved.
func ownBuffer(sizeBytes int) *buffer {
	if sizeBytes <= largeBodyBytes {
		return takeBuffer()
	}
	return &buffer{make([]byte, 0, sizeBytes)}
}
