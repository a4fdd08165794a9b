package store

// Frozen is an immutable view that another goroutine may write out while the Store goes on.
type Frozen struct {
	messages frozenSlab[messageRecord]
	entries  frozenSlab[entryRecord]
	holds    frozenSlab[holdRecord]
	delays   frozenSlab[Delay]
	used     [][pageWords]uint64 // which entries exist, by page
	chunks   [][]byte            // by number
	queues   []uint64            // serials, by slot

	entriesLive  int
	messageSlots int
	digest       Digest
	thawed       bool
}

// Freeze captures the present content in time proportional to the number of slab pages, chunks and queues, not of messages. At most one
// Frozen exists.
func (s *Store) Freeze() *Frozen {
	if s.frozen != nil {
		panic("store: Freeze while a Frozen view exists")
	}
	f := &Frozen{
		messages:     s.messages.freeze(),
		entries:      s.entries.freeze(),
		holds:        s.holds.freeze(),
		delays:       s.delays.freeze(),
		used:         make([][pageWords]uint64, len(s.entries.meta)),
		chunks:       s.contents.freeze(),
		queues:       append([]uint64(nil), s.queueSerials...),
		entriesLive:  s.entries.live,
		messageSlots: len(s.messages.pages) * pageRecords,
		digest:       s.digest,
	}
	for p := range s.entries.meta {
		f.used[p] = s.entries.meta[p].used
	}
	s.frozen = f
	return f
}

// Thaw ends a Frozen view, which nobody may be reading any more. Call it where Store's other methods are called.
func (s *Store) Thaw(f *Frozen) {
	if f == nil || s.frozen != f {
		panic("store: Thaw of a view that is not this Store's present one")
	}
	s.frozen = nil
	*f = Frozen{thawed: true}
	s.messages.thaw()
	s.entries.thaw()
	s.holds.thaw()
	s.delays.thaw()
	s.contents.thaw()
	if s.discarded {
		s.contents.freeAll()
	}
}

// content returns a message's parts in one slice.
func (f *Frozen) content(r *messageRecord) []byte {
	from := r.offset + contentHeaderBytes
	return f.chunks[r.chunk][from : from+r.sizeBytes()]
}
