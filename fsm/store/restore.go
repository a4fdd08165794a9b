package store

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
)

// Restore reads what WriteTo wrote into a new Store, and not a byte more. Memory is allocated for what has arrived, never for what a
// length announces; damage is an error that wraps ErrDamaged.
func Restore(c Chunks, r io.Reader) (*Store, error) {
	d := decoder{in: newSectionReader(r), s: New(c)}
	if err := d.run(); err != nil {
		d.s.Discard()
		return nil, err
	}
	return d.s, nil
}

type decoder struct {
	in       *sectionReader
	s        *Store
	contents []Message // by number
	buffer   []byte
}

func (d *decoder) run() error {
	d.header()
	d.queues()
	d.end()
	if err := d.in.end(); err != nil {
		return err
	}
	if err := d.relist(); err != nil {
		return err
	}
	for _, m := range d.contents {
		d.s.Release(m)
	}
	return nil
}

func (d *decoder) header() {
	d.buffer = d.in.appendTo(d.buffer[:0], len(streamMagic))
	if string(d.buffer) != streamMagic {
		d.in.fail(damaged("it is not a store's snapshot"))
	}
	if version := d.in.byte(); version != streamVersion {
		d.in.fail(damaged("it has version %d, this program knows %d", version, streamVersion))
	}
}

func (d *decoder) queues() {
	for first, before := true, uint64(0); d.in.err == nil; first = false {
		switch tag := d.in.byte(); tag {
		case tagEnd:
			return
		case tagQueue:
		default:
			d.in.fail(damaged("%d stands where a queue should", tag))
			return
		}
		serial := d.in.uvarint()
		if !first && serial <= before {
			d.in.fail(damaged("queue %d follows %d", serial, before))
			return
		}
		before = serial
		d.queue(serial)
	}
}

func (d *decoder) queue(serial uint64) {
	n := d.in.uvarint()
	if n == 0 {
		d.in.fail(damaged("queue %d is empty", serial))
	}
	if d.in.err != nil {
		return
	}
	q := d.s.Queue(serial)
	for ; n > 0 && d.in.err == nil; n-- {
		d.entry(q)
	}
}

func (d *decoder) entry(q *Queue) {
	in := d.in
	id := ID{Index: q.last.Index + in.uvarint(), Ordinal: in.uvarint32()} // an index that overflows is out of order
	flags, priority := in.byte(), in.byte()
	deliveries, failures := in.uvarint32(), in.uvarint32()
	placement := Placement{Priority: priority}
	if flags&flagExpires != 0 {
		placement.ExpiresMillis = d.varint()
	}
	var hold Hold
	switch {
	case flags&flagHeld != 0:
		hold = d.hold()
	case flags&flagDelayed != 0:
		placement.Delay = Delay{DueMillis: d.varint(), Delivery: in.uvarint()}
	}
	switch {
	case q.pushed && !q.last.Less(id):
		in.fail(damaged("an entry of queue %d is out of order", q.serial))
	case flags&^flagsKnown != 0 || flags&flagHeld != 0 && flags&flagDelayed != 0:
		in.fail(damaged("an entry has the flags %#x", flags))
	case (flags&flagExpires != 0) != (placement.ExpiresMillis != 0) || (flags&flagDelayed != 0) != (placement.Delay.DueMillis != 0):
		in.fail(damaged("an entry has no time where one is announced"))
	}
	m, ok := d.message(flags)
	if !ok || in.err != nil {
		return
	}
	e, r := q.add(m, id, &placement)
	d.s.digest.Sub(entryPart(q.serial, r, d.s.messages.at(uint32(m))))
	r.redelivered = flags&flagRedelivered != 0
	r.deliveries, r.failures = deliveries, failures
	d.s.digest.Add(entryPart(q.serial, r, d.s.messages.at(uint32(m))))
	switch {
	case flags&flagHeld != 0:
		q.grasp(e, r, hold)
	case flags&flagDelayed != 0:
		q.postpone(e, r, placement.Delay)
	default:
		q.queueUp(e, r)
	}
	d.s.timers.note(d.s, e, r)
}

func (d *decoder) varint() int64 {
	n := d.in.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (d *decoder) hold() Hold {
	h := Hold{Channel: d.in.uvarint(), Consumer: d.in.uvarint(), Tag: d.in.uvarint(), Delivery: d.in.uvarint()}
	h.SinceMillis = d.varint()
	return h
}

// message reads a content, or the number of one that came before.
func (d *decoder) message(flags byte) (Message, bool) {
	if flags&flagContent != 0 {
		return d.content()
	}
	number := d.in.uvarint()
	if d.in.err == nil && number >= uint64(len(d.contents)) {
		d.in.fail(damaged("content %d of %d is referred to", number, len(d.contents)))
	}
	if d.in.err != nil {
		return 0, false
	}
	return d.contents[number], true
}

func (d *decoder) content() (Message, bool) {
	in := d.in
	r := messageRecord{exchangeBytes: in.byte(), keyBytes: in.byte(), propertiesBytes: in.uvarint32(), bodyBytes: in.uvarint32()}
	if uint64(r.propertiesBytes)+uint64(r.bodyBytes) > contentBytesMax-510 {
		in.fail(damaged("a content of %d and %d bytes", r.propertiesBytes, r.bodyBytes))
	}
	var sum [4]byte
	crc := binary.BigEndian.Uint32(in.appendTo(sum[:0], len(sum))[:len(sum)])
	if in.err != nil {
		return 0, false
	}
	if cap(d.buffer) > sectionBytesMax {
		d.buffer = nil // one large content must not pin as much for the rest
	}
	d.buffer = in.appendTo(d.buffer[:0], int(r.sizeBytes()))
	if in.err != nil {
		return 0, false
	}
	if crc32.Update(0, castagnoli, d.buffer) != crc {
		in.fail(damaged("a content's checksum does not match"))
		return 0, false
	}
	m := d.s.Put(r.split(d.buffer))
	d.contents = append(d.contents, m)
	return m, true
}

// end reads the totals and compares them.
func (d *decoder) end() {
	entries, contents := d.in.uvarint(), d.in.uvarint()
	var sum [16]byte
	b := d.in.appendTo(sum[:0], len(sum))[:len(sum)]
	digest := Digest{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
	if d.in.err != nil {
		return
	}
	switch {
	case entries != uint64(d.s.entries.live) || contents != uint64(d.s.messages.live):
		d.in.fail(damaged("it has %d entries and %d contents, and says %d and %d", d.s.entries.live, d.s.messages.live, entries, contents))
	case digest != d.s.digest:
		d.in.fail(damaged("its digest does not match its content"))
	}
}

// relist puts the held and the delayed entries of each queue into the order of their delivery ids, as they are in a Store that was never restored.
func (d *decoder) relist() error {
	s := d.s
	held := s.heldSlots()
	slices.SortFunc(held, func(a, b uint32) int { return cmp.Compare(s.holds.at(a).Delivery, s.holds.at(b).Delivery) })
	for _, q := range s.queueSlots {
		q.holding = entryList{}
	}
	for _, slot := range held {
		h := s.holds.at(slot)
		if h.Delivery <= s.lastDelivery {
			return damaged("delivery id %d is 0 or there twice", h.Delivery)
		}
		s.lastDelivery = h.Delivery
		r := s.entries.mut(uint32(h.entry))
		s.queueSlots[r.queue].holding.append(s, h.entry, r)
	}
	if err := d.relistDelayed(); err != nil {
		return err
	}
	if channel, tag, twice := s.tagTwice(held); twice {
		return damaged("channel %d has tag %d twice", channel, tag)
	}
	return nil
}

func (d *decoder) relistDelayed() error {
	s := d.s
	all := make([]Entry, 0, s.delays.live)
	for _, q := range s.queueSlots {
		for e := q.waiting.first; e != 0; e = s.entries.at(uint32(e)).next {
			all = append(all, e)
		}
		q.waiting = entryList{}
	}
	delivery := func(e Entry) uint64 { return s.delays.at(s.entries.at(uint32(e)).hold).Delivery }
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(delivery(a), delivery(b)) })
	last := uint64(0)
	for _, e := range all {
		if id := delivery(e); id <= last {
			return damaged("delivery id %d of a delayed entry is 0 or there twice", id)
		}
		last = delivery(e)
		r := s.entries.mut(uint32(e))
		s.queueSlots[r.queue].waiting.append(s, e, r)
	}
	s.lastDelivery = max(s.lastDelivery, last)
	return nil
}
