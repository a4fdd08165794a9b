package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

// Check verifies every invariant: each entry in exactly one place, counts, reference counts, lists, timers, chunks, checksums, digest. It reports
// all faults it finds. O(n).
func (s *Store) Check() error {
	c := checker{s: s, place: make(map[Entry]place), refs: make(map[Message]uint32)}
	for slot, q := range s.queueSlots {
		if q != nil {
			c.queue(slot, q)
		}
	}
	c.entries()
	c.timers()
	c.messages()
	c.chunks()
	c.sparse()
	checkSlab(&c, &s.messages)
	checkSlab(&c, &s.entries)
	checkSlab(&c, &s.holds)
	checkSlab(&c, &s.delays)
	if c.digest != s.digest {
		c.fault("the digest is %x, its parts add up to %x", s.digest, c.digest)
	}
	if channel, tag, twice := s.tagTwice(s.heldSlots()); twice {
		c.fault("channel %d has tag %d twice", channel, tag)
	}
	return errors.Join(c.faults...)
}

type checker struct {
	s      *Store
	faults []error
	place  map[Entry]place // where an entry was met
	refs   map[Message]uint32
	held   int
	delays int
	digest Digest
}

const faultsMax = 20

func (c *checker) fault(format string, args ...any) {
	if len(c.faults) < faultsMax {
		c.faults = append(c.faults, fmt.Errorf("store: "+format, args...))
	}
}

func (c *checker) queue(slot int, q *Queue) {
	if q.store != c.s || q.slot != uint32(slot) || c.s.queues[q.serial] != q || c.s.queueSerials[slot] != q.serial {
		c.fault("queue %d is not where it should be", q.serial)
		return
	}
	ready, bytes := 0, int64(0)
	var inUse [4]uint64
	for i := range q.levels.used {
		l := &q.levels.used[i]
		n, priority := c.level(q, l, &bytes)
		if n == 0 {
			c.fault("queue %d has an empty level", q.serial)
			continue
		}
		ready += n
		if i != q.levels.rank(priority) {
			c.fault("queue %d has level %d in the wrong place", q.serial, priority)
		}
		inUse[priority>>6] |= 1 << (priority & 63)
	}
	if inUse != q.levels.inUse {
		c.fault("queue %d has the levels %x, its map says %x", q.serial, inUse, q.levels.inUse)
	}
	held := c.holding(q)
	c.held += held
	delayed := c.delayed(q)
	c.delays += delayed
	if ready != q.ready || held != q.held || delayed != q.delayed || bytes != q.bytes {
		c.fault("queue %d has %d ready of %d bytes, %d held and %d delayed, and counts %d, %d, %d, %d",
			q.serial, ready, bytes, held, delayed, q.ready, q.bytes, q.held, q.delayed)
	}
}

// level checks a level and returns how many entries it has, and their priority.
func (c *checker) level(q *Queue, l *level, bytes *int64) (n int, priority uint8) {
	visit := func(e Entry, want place) *entryRecord {
		r := c.visit(q, e, want)
		if r == nil {
			return nil
		}
		if n > 0 && r.priority != priority {
			c.fault("entry %d of priority %d is on level %d of queue %d", e, r.priority, priority, q.serial)
		}
		n++
		priority = r.priority
		*bytes += int64(r.bodyBytes)
		return r
	}
	c.list(&l.fifo, func(e Entry, before *entryRecord) *entryRecord {
		r := visit(e, placeFIFO)
		if r != nil && before != nil && !before.id().Less(r.id()) {
			c.fault("entry %d is out of order in a FIFO of queue %d", e, q.serial)
		}
		return r
	})
	stale := 0
	for i := range l.returned.nodes {
		node := &l.returned.nodes[i]
		if parent := (i - 1) / 2; i > 0 && node.id().Less(l.returned.nodes[parent].id()) {
			c.fault("a returned entry of queue %d comes before its parent", q.serial)
		}
		if node.valid(q) {
			visit(node.entry, placeReturned)
		} else if stale++; i == 0 {
			c.fault("the first returned entry of queue %d is stale", q.serial)
		}
	}
	if stale != l.returned.stale || stale > len(l.returned.nodes)/2 {
		c.fault("queue %d has %d stale of %d returned, and counts %d", q.serial, stale, len(l.returned.nodes), l.returned.stale)
	}
	return n, priority
}

// list walks a list; visit returns nil to stop.
func (c *checker) list(l *entryList, visit func(e Entry, before *entryRecord) *entryRecord) {
	var last Entry
	var before *entryRecord
	for e := l.first; e != 0; {
		r := visit(e, before)
		if r == nil {
			return
		}
		if before != nil && r.prev != last {
			c.fault("entry %d is listed after %d, and says %d", e, last, r.prev)
		}
		last, before, e = e, r, r.next
	}
	if last != l.last {
		c.fault("a list ends with entry %d, and says %d", last, l.last)
	}
}

func (c *checker) holding(q *Queue) (n int) {
	s := c.s
	c.list(&q.holding, func(e Entry, before *entryRecord) *entryRecord {
		r := c.visit(q, e, placeHeld)
		if r == nil {
			return nil
		}
		n++
		if !s.holds.has(r.hold) || s.holds.at(r.hold).entry != e {
			c.fault("entry %d is held without a hold", e)
			return nil
		}
		h := &s.holds.at(r.hold).Hold
		if before != nil && s.holds.at(before.hold).Delivery >= h.Delivery {
			c.fault("entry %d is out of order among the held of queue %d", e, q.serial)
		}
		if h.Delivery > s.lastDelivery {
			c.fault("entry %d has delivery id %d, the last is %d", e, h.Delivery, s.lastDelivery)
		}
		c.digest.Add(holdPart(q.serial, r, h))
		return r
	})
	return n
}

func (c *checker) delayed(q *Queue) (n int) {
	s := c.s
	c.list(&q.waiting, func(e Entry, before *entryRecord) *entryRecord {
		r := c.visit(q, e, placeDelayed)
		if r == nil {
			return nil
		}
		n++
		if !s.delays.has(r.hold) {
			c.fault("entry %d is delayed without a delay", e)
			return nil
		}
		d := s.delays.at(r.hold)
		if before != nil && s.delays.at(before.hold).Delivery >= d.Delivery || d.Delivery > s.lastDelivery || d.DueMillis == 0 {
			c.fault("entry %d is out of order among the delayed of queue %d", e, q.serial)
		}
		c.digest.Add(delayPart(q.serial, r, d))
		return r
	})
	return n
}

// timers verifies that every entry that waits has a node, the heap's order, and its bounds.
func (c *checker) timers() {
	s, t := c.s, &c.s.timers
	waiting := make(map[Entry]bool)
	//fsm:unordered a set
	for e := range c.place {
		if s.entries.at(uint32(e)).deadline(s) != 0 {
			waiting[e] = true
		}
	}
	if len(waiting) != t.armed || len(t.nodes) > 2*t.armed+timersSlack {
		c.fault("%d entries wait for a time, %d are counted, there are %d nodes", len(waiting), t.armed, len(t.nodes))
	}
	for i := range t.nodes {
		n := &t.nodes[i]
		if i > 0 && n.before(&t.nodes[(i-1)/timerChildren]) {
			c.fault("node %d of the timers comes before its parent", i)
		}
		if n.valid(s) {
			delete(waiting, n.entry)
		} else if i == 0 {
			c.fault("the first node of the timers is stale")
		}
	}
	for _, e := range slices.Sorted(maps.Keys(waiting)) {
		c.fault("entry %d waits for a time and has no timer", e)
	}
}

// visit checks an entry that was met in some place and counts it. It returns nil for one that cannot be looked at.
func (c *checker) visit(q *Queue, e Entry, want place) *entryRecord {
	s := c.s
	if !s.entries.has(uint32(e)) {
		c.fault("queue %d lists entry %d, which is free", q.serial, e)
		return nil
	}
	if met := c.place[e]; met != 0 {
		c.fault("entry %d is in place %d and in place %d", e, met, want)
		return nil
	}
	c.place[e] = want
	r := s.entries.at(uint32(e))
	if r.place != want || r.queue != q.slot {
		c.fault("entry %d is in place %d of queue slot %d, and says %d of %d", e, want, q.slot, r.place, r.queue)
	}
	if !s.messages.has(uint32(r.message)) {
		c.fault("entry %d refers to message %d, which is free", e, r.message)
		return nil
	}
	m := s.messages.at(uint32(r.message))
	if m.bodyBytes != r.bodyBytes {
		c.fault("entry %d has %d bytes, its message %d", e, r.bodyBytes, m.bodyBytes)
	}
	c.refs[r.message]++
	c.digest.Add(entryPart(q.serial, r, m))
	return r
}

func (c *checker) entries() {
	if len(c.place) != c.s.entries.live {
		c.fault("%d entries are in some place, %d exist", len(c.place), c.s.entries.live)
	}
	if c.delays != c.s.delays.live {
		c.fault("%d entries are delayed, %d delays exist", c.delays, c.s.delays.live)
	}
	if c.held != c.s.holds.live {
		c.fault("%d entries are held, %d holds exist", c.held, c.s.holds.live)
	}
}

func (c *checker) messages() {
	s := c.s
	for p := range s.messages.meta {
		for _, slot := range s.messages.meta[p].appendSlots(nil, uint32(p)) {
			r := s.messages.at(slot)
			want := c.refs[Message(slot)]
			if r.put {
				want++
			}
			if r.refs != want || r.refs == 0 {
				c.fault("message %d has %d references, and counts %d", slot, want, r.refs)
			}
		}
	}
}

// chunks recounts the chunks from the messages, and looks at every content.
func (c *checker) chunks() {
	s := c.s
	recount := make([]chunk, len(s.contents.chunks))
	var contentBytes, heldBytes int64
	for p := range s.messages.meta {
		for _, slot := range s.messages.meta[p].appendSlots(nil, uint32(p)) {
			r := s.messages.at(slot)
			contentBytes += int64(r.sizeBytes())
			recount[r.chunk].contents++
			recount[r.chunk].live += r.sizeBytes() + contentHeaderBytes
			c.content(slot, r)
		}
	}
	for number := range s.contents.chunks {
		k := &s.contents.chunks[number]
		heldBytes += int64(len(k.data))
		c.chunk(uint32(number), k, &recount[number])
	}
	for _, data := range s.contents.retired {
		heldBytes += int64(len(data))
	}
	if contentBytes != s.contents.contentBytes || heldBytes != s.contents.heldBytes {
		c.fault("%d bytes of contents in %d of chunks, the counts are %d and %d", contentBytes, heldBytes, s.contents.contentBytes, s.contents.heldBytes)
	}
}

func (c *checker) content(slot uint32, r *messageRecord) {
	k := &c.s.contents.chunks[r.chunk]
	size := r.sizeBytes()
	if uint64(r.offset)+uint64(size)+contentHeaderBytes > uint64(k.used) {
		c.fault("message %d lies beyond the used part of chunk %d", slot, r.chunk)
		return
	}
	header := k.data[r.offset:]
	if binary.LittleEndian.Uint32(header) != slot || binary.LittleEndian.Uint32(header[4:]) != size {
		c.fault("message %d has another's header in chunk %d", slot, r.chunk)
	}
	if crc32.Checksum(c.s.contents.content(r.chunk, r.offset, size), castagnoli) != r.crc {
		c.fault("message %d does not match its checksum", slot)
	}
}

func (c *checker) chunk(number uint32, k, recount *chunk) {
	s := c.s
	open := number == s.contents.fresh || number == s.contents.moved
	sparse := k.data != nil && !open && k.isSparse()
	switch {
	case k.contents != recount.contents || k.live != recount.live:
		c.fault("chunk %d has %d contents of %d bytes, and counts %d of %d", number, recount.contents, recount.live, k.contents, k.live)
	case k.data != nil && k.contents == 0 && !open:
		c.fault("chunk %d is empty and was not freed", number)
	case k.data == nil && !slices.Contains(s.contents.vacant, number):
		c.fault("chunk %d has no memory and is not vacant", number)
	case sparse != k.sparse:
		c.fault("chunk %d is sparse: %t, and is listed: %t", number, sparse, k.sparse)
	}
}

// sparse walks the list of sparse chunks.
func (c *checker) sparse() {
	s := c.s
	listed, dead, last := 0, int64(0), noChunk
	for number := s.contents.sparseFirst; number != noChunk; number = s.contents.chunks[number].next {
		k := &s.contents.chunks[number]
		if listed++; !k.sparse || k.prev != last || listed > len(s.contents.chunks) {
			c.fault("chunk %d is not well listed as sparse", number)
			return
		}
		dead += k.deadBytes()
		last = number
	}
	for i := range s.contents.chunks {
		if s.contents.chunks[i].sparse {
			listed--
		}
	}
	if listed != 0 || last != s.contents.sparseLast || dead != s.contents.sparseDead {
		c.fault("the sparse chunks have %d dead bytes, the count is %d; %d are not listed", dead, s.contents.sparseDead, -listed)
	}
}

// checkSlab recounts a slab's bit maps.
func checkSlab[T any](c *checker, s *slab[T]) {
	live, empty := -1, 0 // slot 0 is not counted
	open := make(map[int32]bool)
	for p := s.open; p >= 0 && !open[p]; p = s.meta[p].next {
		open[p] = true
	}
	for p := range s.meta {
		n := len(s.meta[p].appendSlots(nil, uint32(p)))
		if p == 0 {
			n++
		}
		live += n
		if n == 0 && s.pages[p] != nil {
			empty++
		}
		if n != int(s.meta[p].live) || n > 0 && s.pages[p] == nil {
			c.fault("page %d of the %s has %d records, and counts %d", p, s.name, n, s.meta[p].live)
		}
		if open[int32(p)] != (s.pages[p] != nil && n < pageRecords) {
			c.fault("page %d of the %s with %d records is open: %t", p, s.name, n, open[int32(p)])
		}
	}
	if live != s.live || empty != s.empty {
		c.fault("there are %d %s and %d empty pages, the counts are %d and %d", live, s.name, empty, s.live, s.empty)
	}
}
