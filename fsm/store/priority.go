package store

import (
	"math/bits"
	"slices"
)

// levels is the priority levels of a queue that have ready entries. A level's position among used is the number of lower priorities in
// the bit map, so nothing is searched and a level costs memory only while in use.
type levels struct {
	inUse [4]uint64 // by priority
	used  []level   // ascending
	spare []node    // a small heap's memory, for the next level that needs one
}

// level is one priority: what was never returned, in order of arrival, and what was.
type level struct {
	fifo     entryList
	returned returned
}

const (
	levelsKept = 8  // an empty queue keeps room for so many levels
	nodesKept  = 64 // and for so many returned entries
)

func (l *levels) highest() *level { return &l.used[len(l.used)-1] }

// at returns the level, making it if need be. The pointer is good until the next at of another level, or drop.
func (l *levels) at(priority uint8) *level {
	word, bit := priority>>6, uint64(1)<<(priority&63)
	i := l.rank(priority)
	if l.inUse[word]&bit == 0 {
		l.inUse[word] |= bit
		if i == len(l.used) { // the common case: a queue with one level that comes and goes
			l.used = append(l.used, level{})
		} else {
			l.used = slices.Insert(l.used, i, level{})
		}
	}
	return &l.used[i]
}

// rank counts the levels in use below a priority.
func (l *levels) rank(priority uint8) int {
	word := priority >> 6
	n := bits.OnesCount64(l.inUse[word] & (uint64(1)<<(priority&63) - 1))
	for w := range word {
		n += bits.OnesCount64(l.inUse[w])
	}
	return n
}

// drop forgets an empty level.
func (l *levels) drop(priority uint8) {
	i := l.rank(priority)
	if nodes := l.used[i].returned.nodes; l.spare == nil && cap(nodes) > 0 && cap(nodes) <= nodesKept {
		l.spare = nodes[:0]
	}
	if i == len(l.used)-1 {
		l.used[i] = level{}
		l.used = l.used[:i]
	} else {
		l.used = slices.Delete(l.used, i, i+1)
	}
	l.inUse[priority>>6] &^= 1 << (priority & 63)
	if len(l.used) == 0 && cap(l.used) > levelsKept {
		l.used = nil
	}
}

func (l *level) empty() bool { return l.fifo.first == 0 && len(l.returned.nodes) == 0 }

func (l *level) push(s *Store, e Entry, r *entryRecord) {
	r.place = placeFIFO
	l.fifo.append(s, e, r)
}

func (l *levels) putBack(e Entry, r *entryRecord) {
	r.place = placeReturned
	level := l.at(r.priority)
	if level.returned.nodes == nil {
		level.returned.nodes, l.spare = l.spare, nil
	}
	level.returned.push(node{index: r.index, ordinal: r.ordinal, entry: e})
}

// front is the entry with the lowest ID of a level that is not empty.
func (l *level) front(s *Store) Entry {
	if len(l.returned.nodes) == 0 {
		return l.fifo.first
	}
	top := &l.returned.nodes[0]
	if l.fifo.first != 0 && s.entries.at(uint32(l.fifo.first)).id().Less(top.id()) {
		return l.fifo.first
	}
	return top.entry
}

func (l *level) remove(q *Queue, e Entry, r *entryRecord) {
	if r.place == placeFIFO {
		l.fifo.remove(q.store, e, r)
		return
	}
	r.place = 0
	l.returned.remove(q, e)
}

// each merges the FIFO and the returned entries by ID. It reports whether f always returned true.
func (l *level) each(q *Queue, f func(e Entry) bool) bool {
	s := q.store
	returned := l.returned.sorted(q)
	next := l.fifo.first
	for next != 0 || len(returned) > 0 {
		var e Entry
		if next == 0 || len(returned) > 0 && returned[0].id().Less(s.entries.at(uint32(next)).id()) {
			e, returned = returned[0].entry, returned[1:]
		} else {
			e, next = next, s.entries.at(uint32(next)).next
		}
		if !f(e) {
			return false
		}
	}
	return true
}
