package store

// ID names an entry for ever: the log index that created it and an ordinal within that index. Order of IDs is order of arrival.
type ID struct {
	Index   uint64
	Ordinal uint32
}

// Less tells whether i arrived before o.
func (i ID) Less(o ID) bool {
	return i.Index < o.Index || i.Index == o.Index && i.Ordinal < o.Ordinal
}

// Entry is the slot of one message in one queue. 0 is none.
type Entry uint32

// Info describes an entry.
type Info struct {
	ID          ID
	Queue       uint64 // serial of its queue
	Message     Message
	Priority    uint8
	Redelivered bool
	Deliveries  uint32 // times delivered before, whatever ended them, but for a lost link to a node (delivered again without a count)
	Failures    uint32 // rejects, nacks and time-outs
	SizeBytes   int    // body bytes
	Held        bool
	Hold        Hold // meaningful when Held

	ExpiresMillis int64 // 0 = never
	Delayed       bool
	Delay         Delay // meaningful when Delayed
}

// place says where an entry is:
//
//	Push → placeFIFO ─Take→ placeHeld ─Return→ placeReturned ─Take→ placeHeld …
//	                                  ─Delay─→ placeDelayed ─Promote→ placeReturned
//	Push of a delayed one → placeDelayed              any ─Remove→ gone
type place uint8

const (
	placeFIFO     place = iota + 1 // in its level's FIFO, through next and prev
	placeReturned                  // in its level's heap
	placeHeld                      // has a hold, and is in its queue's held list, through next and prev
	placeDelayed                   // has a delay, and is in its queue's delayed list, through next and prev
)

type entryRecord struct {
	index       uint64
	expires     int64 // milliseconds, 0 = never
	ordinal     uint32
	message     Message
	queue       uint32 // slot
	deliveries  uint32
	failures    uint32
	bodyBytes   uint32 // the message's, here to spare a look at its record
	next, prev  Entry  // prev of a list's first entry has no meaning
	hold        uint32 // slot of the hold while held, of the delay while delayed
	priority    uint8
	place       place
	redelivered bool
	_           uint8
}

const entryRecordBytes = 56

func (r *entryRecord) id() ID { return ID{r.index, r.ordinal} }

// Info describes a live entry.
func (s *Store) Info(e Entry) Info {
	if !s.entries.has(uint32(e)) {
		panic("store: Info of an entry that is gone")
	}
	r := s.entries.at(uint32(e))
	i := Info{
		ID:          r.id(),
		Queue:       s.queueSerials[r.queue],
		Message:     r.message,
		Priority:    r.priority,
		Redelivered: r.redelivered,
		Deliveries:  r.deliveries,
		Failures:    r.failures,
		SizeBytes:   int(r.bodyBytes),

		ExpiresMillis: r.expires,
	}
	switch r.place {
	case placeHeld:
		i.Held = true
		i.Hold = s.holds.at(r.hold).Hold
	case placeDelayed:
		i.Delayed = true
		i.Delay = *s.delays.at(r.hold)
	}
	return i
}

// entryList is a list through next and prev.
type entryList struct{ first, last Entry }

func (l *entryList) append(s *Store, e Entry, r *entryRecord) {
	r.next, r.prev = 0, l.last
	if l.last != 0 {
		s.entries.mut(uint32(l.last)).next = e
	} else {
		l.first = e
	}
	l.last = e
}

// remove takes e out. It leaves the prev of a new first entry as it is: the front of a queue is taken without touching the one behind it.
func (l *entryList) remove(s *Store, e Entry, r *entryRecord) {
	if l.first == e {
		l.first = r.next
		if l.first == 0 {
			l.last = 0
		}
		return
	}
	s.entries.mut(uint32(r.prev)).next = r.next
	if l.last == e {
		l.last = r.prev
	} else {
		s.entries.mut(uint32(r.next)).prev = r.prev
	}
}
