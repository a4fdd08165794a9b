package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// The stream within the sections (section.go), version 1. Numbers are unsigned varints in their shortest form unless noted; those of fixed size are
// big-endian, as everywhere in our formats.
//
//	stream   = "TMQM" | version (byte) | queue… | 0 (byte) | entries | messages | digest Hi, Lo (uint64 each)
//	queue    = 1 (byte) | serial | number of entries, at least 1 | entry…                queues ascend by serial
//	entry    = index, less the index before in this queue | ordinal | flags (byte) | priority (byte) | deliveries | failures
//	           | expiry, if flagged (zigzag varint) | hold or delay, if flagged | content or number of a content
//	                                                                                     entries ascend by ID
//	flags    = 1 redelivered | 2 held | 4 a content follows; otherwise its number does: contents count from 0 as they appear
//	           | 8 expires | 16 delayed, never with held
//	hold     = channel | consumer | tag | delivery | since (zigzag varint)
//	delay    = due (zigzag varint) | delivery
//	content  = exchange length (byte) | key length (byte) | properties length | body length | CRC32C (uint32) | the four parts
//
// Empty queues are left out, and messages that no entry refers to. Nothing depends on slots: equal content gives equal bytes.
const (
	streamMagic   = "TMQM"
	streamVersion = 1

	tagEnd   = 0
	tagQueue = 1

	flagRedelivered = 1
	flagHeld        = 2
	flagContent     = 4
	flagExpires     = 8
	flagDelayed     = 16
	flagsKnown      = flagRedelivered | flagHeld | flagContent | flagExpires | flagDelayed
)

// WriteTo writes a canonical encoding (the same bytes on every replica with the same content) in checksummed sections, in bounded memory
// beyond an index of 4 bytes an entry and 4 a message slot. Contents that do not match their checksum are an error: such a snapshot could
// never be restored.
func (f *Frozen) WriteTo(w io.Writer) (int64, error) {
	if f.thawed {
		panic("store: WriteTo of a view that was thawed")
	}
	e := encoder{f: f, out: newSectionWriter(w), numbers: make([]uint32, f.messageSlots)}
	e.scratch = append(e.scratch[:0], streamMagic...)
	e.scratch = append(e.scratch, streamVersion)
	e.out.write(e.scratch)
	for _, entries := range f.byQueue() {
		e.queue(entries)
	}
	e.end()
	return e.out.written, e.out.err
}

type encoder struct {
	f        *Frozen
	out      *sectionWriter
	numbers  []uint32 // by message slot: the content's number plus 1, once it is written
	contents uint32
	scratch  []byte
}

func (e *encoder) queue(entries []Entry) {
	f := e.f
	serial := f.queues[f.entries.at(uint32(entries[0])).queue]
	b := append(e.scratch[:0], tagQueue)
	b = binary.AppendUvarint(b, serial)
	b = binary.AppendUvarint(b, uint64(len(entries)))
	e.out.write(b)
	index := uint64(0)
	for _, slot := range entries {
		r := f.entries.at(uint32(slot))
		e.entry(r, index)
		index = r.index
		if e.out.err != nil {
			return
		}
	}
}

func (e *encoder) entry(r *entryRecord, indexBefore uint64) {
	f := e.f
	number := e.numbers[r.message]
	flags := r.flags()
	if number == 0 {
		flags |= flagContent
	}
	b := binary.AppendUvarint(e.scratch[:0], r.index-indexBefore)
	b = binary.AppendUvarint(b, uint64(r.ordinal))
	b = append(b, flags, r.priority)
	b = binary.AppendUvarint(b, uint64(r.deliveries))
	b = binary.AppendUvarint(b, uint64(r.failures))
	if r.expires != 0 {
		b = binary.AppendVarint(b, r.expires)
	}
	switch r.place {
	case placeHeld:
		b = appendHold(b, &f.holds.at(r.hold).Hold)
	case placeDelayed:
		d := f.delays.at(r.hold)
		b = binary.AppendUvarint(binary.AppendVarint(b, d.DueMillis), d.Delivery)
	}
	if number == 0 {
		e.contents++
		e.numbers[r.message] = e.contents
		e.content(b, f.messages.at(uint32(r.message)))
		return
	}
	b = binary.AppendUvarint(b, uint64(number-1))
	e.scratch = b
	e.out.write(b)
}

// flags are those that the record alone decides.
func (r *entryRecord) flags() (flags byte) {
	if r.redelivered {
		flags |= flagRedelivered
	}
	if r.expires != 0 {
		flags |= flagExpires
	}
	switch r.place {
	case placeHeld:
		flags |= flagHeld
	case placeDelayed:
		flags |= flagDelayed
	}
	return flags
}

func (e *encoder) content(b []byte, m *messageRecord) {
	b = append(b, m.exchangeBytes, m.keyBytes)
	b = binary.AppendUvarint(b, uint64(m.propertiesBytes))
	b = binary.AppendUvarint(b, uint64(m.bodyBytes))
	b = binary.BigEndian.AppendUint32(b, m.crc)
	e.scratch = b
	e.out.write(b)
	content := e.f.content(m)
	if crc32.Update(0, castagnoli, content) != m.crc && e.out.err == nil {
		e.out.err = fmt.Errorf("store: a content of %d bytes in memory does not match its checksum", len(content))
	}
	e.out.write(content)
}

func (e *encoder) end() {
	b := append(e.scratch[:0], tagEnd)
	b = binary.AppendUvarint(b, uint64(e.f.entriesLive))
	b = binary.AppendUvarint(b, uint64(e.contents))
	b = binary.BigEndian.AppendUint64(b, e.f.digest.Hi)
	b = binary.BigEndian.AppendUint64(b, e.f.digest.Lo)
	e.out.write(b)
	e.out.flush()
}

func appendHold(b []byte, h *Hold) []byte {
	b = binary.AppendUvarint(b, h.Channel)
	b = binary.AppendUvarint(b, h.Consumer)
	b = binary.AppendUvarint(b, h.Tag)
	b = binary.AppendUvarint(b, h.Delivery)
	return binary.AppendVarint(b, h.SinceMillis)
}

// byQueue lists the entries of every queue that has any, in canonical order.
func (f *Frozen) byQueue() [][]Entry {
	counts := make([]int, len(f.queues))
	f.eachEntry(func(e Entry, r *entryRecord) { counts[r.queue]++ })
	all := make([]Entry, f.entriesLive)
	lists := make([][]Entry, len(f.queues))
	from := 0
	for slot, n := range counts {
		lists[slot] = all[from : from : from+n]
		from += n
	}
	f.eachEntry(func(e Entry, r *entryRecord) { lists[r.queue] = append(lists[r.queue], e) })
	lists = slices.DeleteFunc(lists, func(l []Entry) bool { return len(l) == 0 })
	for _, list := range lists {
		slices.SortFunc(list, f.compareIDs)
	}
	slices.SortFunc(lists, func(a, b []Entry) int {
		return cmp.Compare(f.queues[f.entries.at(uint32(a[0])).queue], f.queues[f.entries.at(uint32(b[0])).queue])
	})
	return lists
}

func (f *Frozen) compareIDs(a, b Entry) int {
	x, y := f.entries.at(uint32(a)), f.entries.at(uint32(b))
	return cmp.Or(cmp.Compare(x.index, y.index), cmp.Compare(x.ordinal, y.ordinal))
}

// eachEntry visits the entries in slot order.
func (f *Frozen) eachEntry(do func(e Entry, r *entryRecord)) {
	slots := make([]uint32, 0, pageRecords)
	for p := range f.used {
		slots = appendSlots(slots[:0], uint32(p), &f.used[p])
		for _, slot := range slots {
			do(Entry(slot), f.entries.at(slot))
		}
	}
}
