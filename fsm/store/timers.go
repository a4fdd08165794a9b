package store

import (
	"cmp"
	"slices"
)

// timers orders all entries that wait for a time: ready ones that expire, and delayed ones. It is a heap by (time, ID), so that every replica finds
// them due in the same order; four children a node, because a heap of millions is bound by cache misses. An entry that stops waiting leaves its node
// behind, stale, and may get another that is equal to it. The first node is never stale, and there are at most about twice as many nodes as
// entries that wait. It is derived: not part of snapshots or digests.
type timers struct {
	nodes []timerNode
	armed int // entries that wait
}

// timerNode has no pointers: a million cost the garbage collector nothing.
type timerNode struct {
	millis  int64
	index   uint64
	ordinal uint32
	entry   Entry
}

const (
	timerNodeBytes = 24
	timerChildren  = 4
	timersSlack    = 1024 // stale nodes that are left alone
)

// Due tells what becomes of an entry whose time has come.
type Due uint8

// What is due.
const (
	Expired Due = iota + 1 // ready or delayed, and its ExpiresMillis has passed
	Matured                // delayed, and its DueMillis has passed
)

// NextDue is the earliest time at which Due has something to report; ok is false where nothing waits. O(1).
func (s *Store) NextDue() (millis int64, ok bool) {
	if len(s.timers.nodes) == 0 {
		return 0, false
	}
	return s.timers.nodes[0].millis, true
}

// Due returns the first entry, by time and then ID, whose time is not after nowMillis, and what that means. The caller removes or promotes it.
func (s *Store) Due(nowMillis int64) (e Entry, what Due, ok bool) {
	if millis, waits := s.NextDue(); !waits || millis > nowMillis {
		return 0, 0, false
	}
	e = s.timers.nodes[0].entry
	if s.entries.at(uint32(e)).expires == s.timers.nodes[0].millis {
		return e, Expired, true
	}
	return e, Matured, true
}

// deadline is what an entry waits for; 0 is nothing.
func (r *entryRecord) deadline(s *Store) int64 {
	switch {
	case r.place == placeHeld:
		return 0
	case r.place != placeDelayed:
		return r.expires
	}
	due := s.delays.at(r.hold).DueMillis
	if r.expires != 0 {
		return min(due, r.expires)
	}
	return due
}

// note sees to an entry that has come to a place.
func (t *timers) note(s *Store, e Entry, r *entryRecord) {
	millis := r.deadline(s)
	if millis == 0 {
		return
	}
	t.armed++
	t.nodes = append(t.nodes, timerNode{millis: millis, index: r.index, ordinal: r.ordinal, entry: e})
	t.rise(len(t.nodes) - 1)
	t.bound(s)
}

// drop sees to an entry that waited and has left its place.
func (t *timers) drop(s *Store, e Entry) {
	t.armed--
	if t.nodes[0].entry == e {
		for len(t.nodes) > 0 && !t.nodes[0].valid(s) {
			t.pop()
		}
	}
	t.bound(s)
}

// bound sweeps where too many nodes are stale.
func (t *timers) bound(s *Store) {
	if len(t.nodes) > 2*t.armed+timersSlack {
		t.sweep(s)
	}
}

// valid tells whether the node's entry waits for just that time.
func (n *timerNode) valid(s *Store) bool {
	if !s.entries.has(uint32(n.entry)) {
		return false
	}
	r := s.entries.at(uint32(n.entry))
	return r.index == n.index && r.ordinal == n.ordinal && r.deadline(s) == n.millis
}

func (n *timerNode) before(o *timerNode) bool {
	switch {
	case n.millis != o.millis:
		return n.millis < o.millis
	case n.index != o.index:
		return n.index < o.index
	}
	return n.ordinal < o.ordinal
}

func (t *timers) rise(i int) {
	n := t.nodes[i]
	for i > 0 {
		parent := (i - 1) / timerChildren
		if !n.before(&t.nodes[parent]) {
			break
		}
		t.nodes[i] = t.nodes[parent]
		i = parent
	}
	t.nodes[i] = n
}

func (t *timers) pop() {
	last := len(t.nodes) - 1
	n := t.nodes[last]
	t.nodes = t.nodes[:last]
	if last > 0 {
		t.sink(n)
	}
	t.shrink()
}

// shrink gives memory back after a wave.
func (t *timers) shrink() {
	if cap(t.nodes) > 2*timersSlack && len(t.nodes) <= cap(t.nodes)/4 {
		t.nodes = append(make([]timerNode, 0, 2*len(t.nodes)), t.nodes...)
	}
}

// sink puts a node into the hole at the top.
func (t *timers) sink(n timerNode) {
	i := 0
	for {
		first := timerChildren*i + 1
		if first >= len(t.nodes) {
			break
		}
		least := first
		for child := first + 1; child < min(first+timerChildren, len(t.nodes)); child++ {
			if t.nodes[child].before(&t.nodes[least]) {
				least = child
			}
		}
		if !t.nodes[least].before(&n) {
			break
		}
		t.nodes[i] = t.nodes[least]
		i = least
	}
	t.nodes[i] = n
}

// sweep drops stale nodes and doubles. What is sorted is a heap.
func (t *timers) sweep(s *Store) {
	nodes := slices.DeleteFunc(t.nodes, func(n timerNode) bool { return !n.valid(s) })
	slices.SortFunc(nodes, func(a, b timerNode) int {
		return cmp.Or(cmp.Compare(a.millis, b.millis), cmp.Compare(a.index, b.index), cmp.Compare(a.ordinal, b.ordinal))
	})
	t.nodes = slices.Compact(nodes)
	t.shrink()
}

func (t *timers) memoryBytes() int64 { return int64(cap(t.nodes)) * timerNodeBytes }
