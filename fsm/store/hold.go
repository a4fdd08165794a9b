package store

import (
	"cmp"
	"slices"
)

// Hold says who has an entry that was delivered and not yet settled.
type Hold struct {
	Channel     uint64 // serial of the channel, never reused
	Consumer    uint64 // serial of the consumer, 0 for basic.get
	Tag         uint64 // delivery tag within the channel
	Delivery    uint64 // delivery id, unique over the whole state, ascending: the fencing token
	SinceMillis int64  // state time of the delivery
}

type holdRecord struct {
	Hold
	entry Entry
	_     uint32
}

const holdRecordBytes = 48

// EachHeld calls f for every held entry, in order of (channel, tag). For rebuilding after Restore. f must not change the Store.
func (s *Store) EachHeld(f func(e Entry, i Info)) {
	held := s.heldSlots()
	s.sortByTag(held)
	for _, slot := range held {
		e := s.holds.at(slot).entry
		f(e, s.Info(e))
	}
}

// heldSlots lists the slots of all holds, in an order that means nothing.
func (s *Store) heldSlots() []uint32 {
	slots := make([]uint32, 0, s.holds.live)
	for p := range s.holds.meta {
		slots = s.holds.meta[p].appendSlots(slots, uint32(p))
	}
	return slots
}

func (s *Store) sortByTag(holds []uint32) {
	slices.SortFunc(holds, func(a, b uint32) int {
		x, y := s.holds.at(a), s.holds.at(b)
		return cmp.Or(cmp.Compare(x.Channel, y.Channel), cmp.Compare(x.Tag, y.Tag), cmp.Compare(x.Delivery, y.Delivery))
	})
}

// tagTwice looks for two held entries of one channel with the same tag. It sorts holds.
func (s *Store) tagTwice(holds []uint32) (channel, tag uint64, twice bool) {
	s.sortByTag(holds)
	for i := 1; i < len(holds); i++ {
		x, y := s.holds.at(holds[i-1]), s.holds.at(holds[i])
		if x.Channel == y.Channel && x.Tag == y.Tag {
			return x.Channel, x.Tag, true
		}
	}
	return 0, 0, false
}

// grasp gives an entry that is in no place a hold.
func (q *Queue) grasp(e Entry, r *entryRecord, h Hold) {
	s := q.store
	slot := s.holds.alloc()
	*s.holds.mut(slot) = holdRecord{Hold: h, entry: e}
	r.place, r.hold = placeHeld, slot
	q.holding.append(s, e, r)
	q.held++
	s.digest.Add(holdPart(q.serial, r, &h))
}

// loosen undoes grasp; the entry is then in no place.
func (q *Queue) loosen(e Entry, r *entryRecord) {
	s := q.store
	s.digest.Sub(holdPart(q.serial, r, &s.holds.at(r.hold).Hold))
	s.holds.free(r.hold)
	r.hold = 0
	q.holding.remove(s, e, r)
	q.held--
}
