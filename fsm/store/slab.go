package store

import "math/bits"

const (
	pageShift   = 10
	pageRecords = 1 << pageShift
	pageWords   = pageRecords / 64
	pagesMax    = 1 << (32 - pageShift)

	// emptyPagesMax bounds the pages without a record that are kept for the next wave; the rest goes back to the garbage collector.
	emptyPagesMax = 8
)

// slab holds records without pointers in pages, under stable 32-bit slots. Slot 0 is never handed out, so that 0 can mean none.
//
// While frozen (barrier > 0), a page older than the barrier belongs to the Frozen view too: mut copies it before the first change.
type slab[T any] struct {
	name        string
	recordBytes int

	pages  []*[pageRecords]T // nil where the page was given back
	epochs []uint32          // the epoch in which the page was made or last copied
	meta   []pageMeta

	open    int32    // first page with a free slot, -1 for none
	vacant  []uint32 // numbers of the pages given back
	empty   int      // pages at hand without a live record
	live    int
	epoch   uint32 // counts freezes, from 1
	barrier uint32 // epoch of the Frozen view, 0 for none
}

// pageMeta is what alloc and free need to know of a page. Pages with a free slot are linked, in no order that matters.
type pageMeta struct {
	used       [pageWords]uint64
	next, prev int32
	live       uint16
	hint       uint16 // no word below it has a free bit
}

func newSlab[T any](name string, recordBytes int) slab[T] {
	s := slab[T]{name: name, recordBytes: recordBytes, open: -1, epoch: 1}
	s.alloc() // slot 0, for ever
	s.live = 0
	return s
}

// at is for reading. The pointer is stale after a mut of the same page.
func (s *slab[T]) at(slot uint32) *T {
	return &s.pages[slot>>pageShift][slot&(pageRecords-1)]
}

// mut is for writing.
func (s *slab[T]) mut(slot uint32) *T {
	p := slot >> pageShift
	if s.epochs[p] < s.barrier {
		s.copyPage(p)
	}
	return &s.pages[p][slot&(pageRecords-1)]
}

func (s *slab[T]) copyPage(p uint32) {
	mine := *s.pages[p]
	s.pages[p] = &mine
	s.epochs[p] = s.epoch
}

// has tells whether a slot is allocated.
func (s *slab[T]) has(slot uint32) bool {
	p := slot >> pageShift
	return slot != 0 && int(p) < len(s.meta) && s.meta[p].used[slot>>6&(pageWords-1)]>>(slot&63)&1 == 1
}

// alloc returns a free slot; what is in its record is arbitrary.
func (s *slab[T]) alloc() uint32 {
	if s.open < 0 {
		s.addPage()
	}
	p := uint32(s.open)
	m := &s.meta[p]
	w := m.hint
	for m.used[w] == ^uint64(0) {
		w++
	}
	b := bits.TrailingZeros64(^m.used[w])
	m.used[w] |= 1 << b
	m.hint = w
	if m.live == 0 {
		s.empty--
	}
	m.live++
	s.live++
	if m.live == pageRecords {
		s.unlink(p)
	}
	return p<<pageShift | uint32(w)<<6 | uint32(b)
}

func (s *slab[T]) free(slot uint32) {
	if !s.has(slot) {
		panic("store: freeing a slot twice among the " + s.name)
	}
	p := slot >> pageShift
	m := &s.meta[p]
	w := uint16(slot >> 6 & (pageWords - 1))
	m.used[w] &^= 1 << (slot & 63)
	m.hint = min(m.hint, w)
	if m.live == pageRecords {
		s.link(p)
	}
	m.live--
	s.live--
	if m.live == 0 {
		s.empty++
		if s.empty > emptyPagesMax {
			s.dropPage(p)
		}
	}
}

func (s *slab[T]) addPage() {
	var p uint32
	if n := len(s.vacant); n > 0 {
		p = s.vacant[n-1]
		s.vacant = s.vacant[:n-1]
	} else {
		if len(s.pages) == pagesMax {
			panic("store: 2^32 " + s.name + " are in use, the most that slots can number")
		}
		p = uint32(len(s.pages))
		s.pages = append(s.pages, nil)
		s.epochs = append(s.epochs, 0)
		s.meta = append(s.meta, pageMeta{})
	}
	s.pages[p] = new([pageRecords]T)
	s.epochs[p] = s.epoch
	s.empty++
	s.link(p)
}

func (s *slab[T]) dropPage(p uint32) {
	s.unlink(p)
	s.pages[p] = nil
	s.meta[p].hint = 0
	s.vacant = append(s.vacant, p)
	s.empty--
}

func (s *slab[T]) link(p uint32) {
	m := &s.meta[p]
	m.next, m.prev = s.open, -1
	if s.open >= 0 {
		s.meta[s.open].prev = int32(p)
	}
	s.open = int32(p)
}

func (s *slab[T]) unlink(p uint32) {
	m := &s.meta[p]
	if m.next >= 0 {
		s.meta[m.next].prev = m.prev
	}
	if m.prev >= 0 {
		s.meta[m.prev].next = m.next
	} else {
		s.open = m.next
	}
}

// appendSlots lists the allocated slots of page p, without slot 0.
func (m *pageMeta) appendSlots(slots []uint32, p uint32) []uint32 {
	return appendSlots(slots, p, &m.used)
}

func appendSlots(slots []uint32, p uint32, used *[pageWords]uint64) []uint32 {
	for w, word := range used {
		for ; word != 0; word &= word - 1 {
			slot := p<<pageShift | uint32(w)<<6 | uint32(bits.TrailingZeros64(word))
			if slot != 0 {
				slots = append(slots, slot)
			}
		}
	}
	return slots
}

// freeze makes the present pages immutable and returns them.
func (s *slab[T]) freeze() frozenSlab[T] {
	s.epoch++
	s.barrier = s.epoch
	return frozenSlab[T]{pages: append([]*[pageRecords]T(nil), s.pages...)}
}

func (s *slab[T]) thaw() { s.barrier = 0 }

func (s *slab[T]) memoryBytes() int64 {
	const metaBytes = pageRecords/8 + 12 + 8 + 4
	pages := len(s.pages)
	return int64(pages-len(s.vacant))*pageRecords*int64(s.recordBytes) + int64(pages)*metaBytes
}

// frozenSlab is the read-only side of a slab at one moment.
type frozenSlab[T any] struct {
	pages []*[pageRecords]T
}

func (f *frozenSlab[T]) at(slot uint32) *T {
	return &f.pages[slot>>pageShift][slot&(pageRecords-1)]
}
