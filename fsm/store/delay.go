package store

// Delay says when a delayed entry is due.
type Delay struct {
	DueMillis int64  // never 0
	Delivery  uint64 // from the counter of Hold.Delivery: the order in which a queue's entries were delayed
}

const delayBytes = 16

// Delay takes an entry from its holder, counts as Return does, and lets it wait: it keeps its place, and Promote makes it ready there.
func (q *Queue) Delay(e Entry, cause ReturnCause, d Delay) {
	s := q.store
	s.number(d.Delivery)
	r := q.letGo(e, cause)
	q.postpone(e, r, d)
	s.timers.note(s, e, r)
}

// Promote makes a delayed entry ready, in its place.
func (q *Queue) Promote(e Entry) {
	s := q.store
	r := q.own(e)
	if r.place != placeDelayed {
		panic("store: Promote of an entry that is not delayed")
	}
	q.resume(e, r)
	q.putBack(e, r)
	s.timers.drop(s, e)
	s.timers.note(s, e, r)
}

// FirstDelayed is the entry that was delayed first of those that are.
func (q *Queue) FirstDelayed() (Entry, bool) {
	return q.waiting.first, q.waiting.first != 0
}

// EachDelayed calls f for the delayed entries in the order in which they were delayed until it returns false. f must not change the Store.
func (q *Queue) EachDelayed(f func(e Entry, i Info) bool) {
	s := q.store
	for e := q.waiting.first; e != 0; e = s.entries.at(uint32(e)).next {
		if !f(e, s.Info(e)) {
			return
		}
	}
}

// postpone gives an entry that is in no place a delay.
func (q *Queue) postpone(e Entry, r *entryRecord, d Delay) {
	if d.DueMillis == 0 {
		panic("store: a delay without a time")
	}
	s := q.store
	slot := s.delays.alloc()
	*s.delays.mut(slot) = d
	r.place, r.hold = placeDelayed, slot
	q.waiting.append(s, e, r)
	q.delayed++
	s.digest.Add(delayPart(q.serial, r, &d))
}

// resume undoes postpone; the entry is then in no place.
func (q *Queue) resume(e Entry, r *entryRecord) {
	s := q.store
	s.digest.Sub(delayPart(q.serial, r, s.delays.at(r.hold)))
	s.delays.free(r.hold)
	r.place, r.hold = 0, 0
	q.waiting.remove(s, e, r)
	q.delayed--
}
