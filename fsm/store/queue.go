package store

// Queue is the messages of one queue: for each priority level a FIFO of what was never returned and an ordered set of what was. Order
// of delivery: priority descending, then ID ascending, whatever was returned or delayed in between.
type Queue struct {
	store  *Store
	serial uint64
	slot   uint32

	levels  levels
	holding entryList // held entries, in order of delivery
	waiting entryList // delayed entries, in order of their delivery ids
	ready   int
	held    int
	delayed int
	bytes   int64 // ready body bytes
	last    ID    // highest ID pushed since New or Restore
	pushed  bool  // last means something
}

// Placement says where a message goes in a queue, and for how long.
type Placement struct {
	Priority      uint8
	ExpiresMillis int64 // when Due reports it as Expired, unless it is held; 0 = never
	Delay         Delay // DueMillis 0: it is ready at once
}

// Push appends a message, which gains a reference. id must be greater than every earlier id of this queue. Where Placements have times, IDs must
// differ over the whole Store: they decide which of two entries is due first.
func (q *Queue) Push(m Message, id ID, p Placement) Entry {
	s := q.store
	if q.pushed && !q.last.Less(id) {
		panic("store: Push of an ID that is not greater than the queue's last")
	}
	e, r := q.add(m, id, &p)
	if p.Delay.DueMillis != 0 {
		s.number(p.Delay.Delivery)
		q.postpone(e, r, p.Delay)
	} else {
		q.queueUp(e, r)
	}
	s.timers.note(s, e, r)
	return e
}

// queueUp makes an entry that is in no place ready, as the last of its level.
func (q *Queue) queueUp(e Entry, r *entryRecord) {
	q.levels.at(r.priority).push(q.store, e, r)
	q.ready++
	q.bytes += int64(r.bodyBytes)
}

// putBack makes an entry that is in no place ready in the place that its ID gives it.
func (q *Queue) putBack(e Entry, r *entryRecord) {
	q.levels.putBack(e, r)
	q.ready++
	q.bytes += int64(r.bodyBytes)
}

// number checks a new delivery id.
func (s *Store) number(delivery uint64) {
	if delivery <= s.lastDelivery {
		panic("store: a delivery id that is not greater than the last")
	}
	s.lastDelivery = delivery
}

// add makes an entry that is in no place yet.
func (q *Queue) add(m Message, id ID, p *Placement) (Entry, *entryRecord) {
	s := q.store
	message := s.messages.mut(uint32(m))
	if message.refs == 0 {
		panic("store: Push of a message that is gone")
	}
	message.refs++
	q.last, q.pushed = id, true
	e := Entry(s.entries.alloc())
	r := s.entries.mut(uint32(e))
	*r = entryRecord{
		index: id.Index, ordinal: id.Ordinal,
		message: m, bodyBytes: message.bodyBytes,
		queue: q.slot, priority: p.Priority, expires: p.ExpiresMillis,
	}
	s.digest.Add(entryPart(q.serial, r, message))
	return e, r
}

// Front is the entry that Take would take.
func (q *Queue) Front() (Entry, bool) {
	if q.ready == 0 {
		return 0, false
	}
	return q.levels.highest().front(q.store), true
}

// Take moves the front entry into the hands of h. Delivery ids ascend over the whole Store, from 1.
func (q *Queue) Take(h Hold) (Entry, bool) {
	if q.ready == 0 {
		return 0, false
	}
	s := q.store
	s.number(h.Delivery)
	e := q.levels.highest().front(s)
	r := s.entries.mut(uint32(e))
	q.leave(e, r)
	q.grasp(e, r, h)
	if r.expires != 0 {
		s.timers.drop(s, e)
	}
	return e, true
}

// leave takes a ready entry out of its level.
func (q *Queue) leave(e Entry, r *entryRecord) {
	level := q.levels.at(r.priority)
	level.remove(q, e, r)
	if level.empty() {
		q.levels.drop(r.priority)
	}
	q.ready--
	q.bytes -= int64(r.bodyBytes)
}

// ReturnCause says how a held entry came back, for the counts.
type ReturnCause uint8

// Causes.
const (
	ReturnFailed     ReturnCause = iota + 1 // nack, reject, time-out: Failures+1, Deliveries+1
	ReturnConnection                        // session or channel ended: Deliveries+1
	ReturnNode                              // the link to the consumer's node was lost: no count, still redelivered
)

// Return puts a held entry back into its place and counts. One that has expired meanwhile is due at once.
func (q *Queue) Return(e Entry, cause ReturnCause) {
	r := q.letGo(e, cause)
	q.putBack(e, r)
	q.store.timers.note(q.store, e, r)
}

// letGo takes an entry from its holder and counts. The entry is then in no place.
func (q *Queue) letGo(e Entry, cause ReturnCause) *entryRecord {
	s := q.store
	r := q.own(e)
	if r.place != placeHeld {
		panic("store: Return or Delay of an entry that is not held")
	}
	q.loosen(e, r)
	message := s.messages.at(uint32(r.message))
	s.digest.Sub(entryPart(q.serial, r, message))
	r.redelivered = true
	switch cause {
	case ReturnFailed:
		r.failures++
		r.deliveries++
	case ReturnConnection:
		r.deliveries++
	case ReturnNode:
	default:
		panic("store: Return for no known cause")
	}
	s.digest.Add(entryPart(q.serial, r, message))
	return r
}

// Remove deletes an entry of this queue, wherever it is, and drops its reference. Removing a ready entry that is not the front costs
// O(log n) amortised.
func (q *Queue) Remove(e Entry) {
	s := q.store
	r := q.own(e)
	waits := r.deadline(s) != 0
	switch r.place {
	case placeHeld:
		q.loosen(e, r)
	case placeDelayed:
		q.resume(e, r)
	default:
		q.leave(e, r)
	}
	message := s.messages.mut(uint32(r.message))
	s.digest.Sub(entryPart(q.serial, r, message))
	s.unref(r.message, message)
	s.entries.free(uint32(e))
	if waits {
		s.timers.drop(s, e)
	}
}

// own returns the record, for writing, of a live entry of this queue.
func (q *Queue) own(e Entry) *entryRecord {
	s := q.store
	if !s.entries.has(uint32(e)) {
		panic("store: the entry is gone")
	}
	r := s.entries.mut(uint32(e))
	if r.queue != q.slot {
		panic("store: the entry is another queue's")
	}
	return r
}

// Each calls f for the ready entries in order of delivery until it returns false. For views; O(n log n) where returned entries exist.
// f must not change the Store.
func (q *Queue) Each(f func(e Entry, i Info) bool) {
	s := q.store
	for i := len(q.levels.used) - 1; i >= 0; i-- {
		level := &q.levels.used[i]
		if !level.each(q, func(e Entry) bool { return f(e, s.Info(e)) }) {
			return
		}
	}
}

// FirstHeld is the held entry with the lowest delivery id, the one held longest. For deleting a queue and for consumer time-outs.
func (q *Queue) FirstHeld() (Entry, bool) {
	return q.holding.first, q.holding.first != 0
}

// EachHeld calls f for the held entries of this queue by ascending delivery id until it returns false. f must not change the Store.
func (q *Queue) EachHeld(f func(e Entry, i Info) bool) {
	s := q.store
	for e := q.holding.first; e != 0; e = s.entries.at(uint32(e)).next {
		if !f(e, s.Info(e)) {
			return
		}
	}
}

// Serial is the queue's name in the Store.
func (q *Queue) Serial() uint64 { return q.serial }

// Ready counts the entries that Take can take.
func (q *Queue) Ready() int { return q.ready }

// Held counts delivered, unsettled entries.
func (q *Queue) Held() int { return q.held }

// Delayed counts the entries that wait for their time.
func (q *Queue) Delayed() int { return q.delayed }

// Bytes is the sum of ready body bytes.
func (q *Queue) Bytes() int64 { return q.bytes }
