package store

import (
	"cmp"
	"slices"
)

// Unacked is a channel's deliveries in tag order: find by tag in O(1) at the front, O(log n) elsewhere; memory O(live and void). The zero
// value is empty and ready for use. After Restore, Add(tag, 0) and Void(tag) bring back a void tag in its turn.
type Unacked struct {
	deliveries []delivery // by tag; those below first are gone
	first      int        // index of the lowest tag that is not gone
	firstLive  int        // no live tag has an index below
	gone       int        // gone tags at or above first
	voids      int
}

type delivery struct {
	tag   uint64
	entry Entry
	state deliveryState
}

type deliveryState uint8

const (
	deliveryLive deliveryState = iota
	deliveryVoid
	deliveryGone
)

// unackedKeep is how many deliveries' memory an Unacked keeps however few are left.
const unackedKeep = 64

// Add appends a delivery; tags ascend.
func (u *Unacked) Add(tag uint64, e Entry) {
	if n := len(u.deliveries); n > u.first && u.deliveries[n-1].tag >= tag {
		panic("store: Unacked.Add of a tag that does not ascend")
	}
	if len(u.deliveries) == cap(u.deliveries) && u.first+u.gone > len(u.deliveries)/2 {
		u.compact()
	}
	u.deliveries = append(u.deliveries, delivery{tag: tag, entry: e})
}

// Take removes a tag and returns its entry. void is true for a tag whose entry Void has cut loose.
func (u *Unacked) Take(tag uint64) (e Entry, void, ok bool) {
	i, ok := u.find(tag)
	if !ok {
		return 0, false, false
	}
	e, void = u.take(i)
	return e, void, true
}

// Has tells whether a tag is there, void ones included.
func (u *Unacked) Has(tag uint64) bool {
	_, ok := u.find(tag)
	return ok
}

// TakeFirst removes the lowest tag if it is at most upTo.
func (u *Unacked) TakeFirst(upTo uint64) (tag uint64, e Entry, void, ok bool) {
	if u.first == len(u.deliveries) || u.deliveries[u.first].tag > upTo {
		return 0, 0, false, false
	}
	tag = u.deliveries[u.first].tag
	e, void = u.take(u.first)
	return tag, e, void, true
}

// First returns the lowest live (not void) tag.
func (u *Unacked) First() (tag uint64, e Entry, ok bool) {
	for i := max(u.firstLive, u.first); i < len(u.deliveries); i++ {
		if d := &u.deliveries[i]; d.state == deliveryLive {
			u.firstLive = i
			return d.tag, d.entry, true
		}
	}
	u.firstLive = len(u.deliveries)
	return 0, 0, false
}

// Void keeps a tag whose entry is gone (queue deleted, time-out), so that a late ack of it is no error and does nothing. A tag that is not
// there stays so.
func (u *Unacked) Void(tag uint64) {
	if i, ok := u.find(tag); ok && u.deliveries[i].state == deliveryLive {
		u.deliveries[i].state = deliveryVoid
		u.deliveries[i].entry = 0
		u.voids++
	}
}

// Voids lists the void tags, ascending, for snapshots.
func (u *Unacked) Voids() []uint64 {
	var tags []uint64
	if u.voids == 0 {
		return nil
	}
	for _, d := range u.deliveries[u.first:] {
		if d.state == deliveryVoid {
			tags = append(tags, d.tag)
		}
	}
	return tags
}

// Live counts the tags that have an entry; Len counts void ones too.
func (u *Unacked) Live() int { return u.Len() - u.voids }

// Len counts all tags.
func (u *Unacked) Len() int { return len(u.deliveries) - u.first - u.gone }

// find returns the index of a tag that is not gone.
func (u *Unacked) find(tag uint64) (int, bool) {
	if u.first == len(u.deliveries) {
		return 0, false
	}
	if u.deliveries[u.first].tag == tag {
		return u.first, true
	}
	i, ok := slices.BinarySearchFunc(u.deliveries[u.first:], tag, func(d delivery, tag uint64) int { return cmp.Compare(d.tag, tag) })
	i += u.first
	return i, ok && u.deliveries[i].state != deliveryGone
}

func (u *Unacked) take(i int) (e Entry, void bool) {
	d := &u.deliveries[i]
	e, void = d.entry, d.state == deliveryVoid
	if void {
		u.voids--
	}
	d.state = deliveryGone
	u.gone++
	for u.first < len(u.deliveries) && u.deliveries[u.first].state == deliveryGone {
		u.first++
		u.gone--
	}
	if u.first == len(u.deliveries) && cap(u.deliveries) <= unackedKeep {
		u.deliveries, u.first, u.firstLive = u.deliveries[:0], 0, 0
	} else if dead := u.first + u.gone; dead > unackedKeep && dead > len(u.deliveries)*3/4 {
		u.compact()
	}
	return e, void
}

// compact forgets what is gone, and gives memory back where little is left.
func (u *Unacked) compact() {
	left := u.Len()
	to := u.deliveries[:0]
	if cap(u.deliveries) > unackedKeep && left < cap(u.deliveries)/4 {
		to = make([]delivery, 0, 2*left)
	}
	live := -1
	for _, d := range u.deliveries[u.first:] {
		if d.state == deliveryGone {
			continue
		}
		if d.state == deliveryLive && live < 0 {
			live = len(to)
		}
		to = append(to, d)
	}
	if live < 0 {
		live = len(to)
	}
	u.deliveries, u.first, u.firstLive, u.gone = to, 0, live, 0
}
