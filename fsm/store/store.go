// Package store holds every message of a replica: immutable contents that queues share, and per queue the entries that refer to them.
//
// It is the memory-critical half of the state machine; package fsm is its only caller. Records lie in pointer-free slabs (pages that are
// copied on write while a Frozen view exists), contents in reference-counted chunks that come from the caller's Chunks (outside the Go
// heap in production). It knows nothing of exchanges, consumers or credit. It orders what waits for a time (timers.go) and has no clock, no
// I/O of its own, no goroutines and no locks: one goroutine owns a Store; only a Frozen view may be read by another goroutine meanwhile.
//
// Invariants, which Check verifies:
//   - an entry is in exactly one place: ready in its queue, held, or delayed;
//   - an entry that waits for a time (ready and to expire, or delayed) has a node in the timers, and the first node is of such an entry;
//   - a message has as many references as entries, plus one between Put and Release;
//   - Digest is the sum over the entries' parts, whatever the history;
//   - slots are never part of observable state: after Restore they differ between replicas.
//
// Misuse (a slot that is not live, an entry of another queue, an ID out of order) panics: it is a fault of the caller that would make
// replicas diverge. Only Restore meets data from outside, and it returns errors.
//
// Start reading at queue.go, then entry.go and message.go; slab.go and chunk.go are the memory below, encode.go has the snapshot format.
package store

// Store holds all messages.
type Store struct {
	messages slab[messageRecord]
	entries  slab[entryRecord]
	holds    slab[holdRecord]
	delays   slab[Delay]
	contents contents
	timers   timers // derived

	queues       map[uint64]*Queue // by serial; never ranged over
	queueSlots   []*Queue          // by slot, nil where vacant
	queueSerials []uint64          // by slot, for Freeze
	vacantQueues []uint32

	digest       Digest
	lastDelivery uint64 // highest delivery id seen, of holds and delays
	frozen       *Frozen
	discarded    bool
}

// New returns an empty Store.
func New(c Chunks) *Store {
	return &Store{
		messages: newSlab[messageRecord]("messages", messageRecordBytes),
		entries:  newSlab[entryRecord]("entries", entryRecordBytes),
		holds:    newSlab[holdRecord]("holds", holdRecordBytes),
		delays:   newSlab[Delay]("delays", delayBytes),
		contents: newContents(c),
		queues:   make(map[uint64]*Queue),
	}
}

// Queue returns the queue with that serial, creating it empty if need be.
func (s *Store) Queue(serial uint64) *Queue {
	if q := s.queues[serial]; q != nil {
		return q
	}
	q := &Queue{store: s, serial: serial}
	if n := len(s.vacantQueues); n > 0 {
		q.slot = s.vacantQueues[n-1]
		s.vacantQueues = s.vacantQueues[:n-1]
		s.queueSlots[q.slot], s.queueSerials[q.slot] = q, serial
	} else {
		q.slot = uint32(len(s.queueSlots))
		s.queueSlots = append(s.queueSlots, q)
		s.queueSerials = append(s.queueSerials, serial)
	}
	s.queues[serial] = q
	return q
}

// DropQueue forgets an empty queue; one that does not exist is no error. The *Queue must not be used afterwards.
func (s *Store) DropQueue(serial uint64) {
	q := s.queues[serial]
	if q == nil {
		return
	}
	if q.ready+q.held+q.delayed > 0 {
		panic("store: DropQueue of a queue that holds messages")
	}
	delete(s.queues, serial)
	s.queueSlots[q.slot], s.queueSerials[q.slot] = nil, 0
	s.vacantQueues = append(s.vacantQueues, q.slot)
	q.store = nil
}

// Digest covers every entry: queue, ID, priority, counts, expiry, hold or delay, and its content's checksum. O(1).
func (s *Store) Digest() Digest { return s.digest }

// Stats counts what the store holds.
type Stats struct {
	Messages, Entries, Held, Delayed int

	ContentBytes int64 // live content bytes
	ChunkBytes   int64 // chunk memory held, sparse parts and what a Frozen view pins included
	SlabBytes    int64
	TimerBytes   int64
}

// Stats returns the present figures. O(1).
func (s *Store) Stats() Stats {
	return Stats{
		Messages:     s.messages.live,
		Entries:      s.entries.live,
		Held:         s.holds.live,
		Delayed:      s.delays.live,
		ContentBytes: s.contents.contentBytes,
		ChunkBytes:   s.contents.heldBytes,
		SlabBytes:    s.messages.memoryBytes() + s.entries.memoryBytes() + s.holds.memoryBytes() + s.delays.memoryBytes(),
		TimerBytes:   s.timers.memoryBytes(),
	}
}

// Discard gives every chunk back to Chunks. The Store must not be used afterwards, except that a Frozen view stays readable until its Thaw,
// which then gives back its chunks. Whoever replaces a Store by a restored one calls it, or the memory outside the Go heap is lost.
func (s *Store) Discard() {
	s.discarded = true
	if s.frozen == nil {
		s.contents.freeAll()
	}
}
