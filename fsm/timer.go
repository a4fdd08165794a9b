package fsm

import (
	"fmt"
	"math"
	"slices"

	"github.com/triagemq/triagemq/fsm/store"
)

// maxMillis bounds spans of time so that no sum of them overflows.
const maxMillis = math.MaxInt64 / 4

// later adds a span to a time; it never reaches the end of time, where the sum would be in the past.
func later(millis, spanMillis int64) int64 {
	if millis > math.MaxInt64-spanMillis {
		return math.MaxInt64
	}
	return millis + spanMillis
}

// An object has one deadline at most: a channel's is when, as far as is known, the first of its deliveries becomes overdue, a queue's when it may have been
// without use for too long. It is set by what finds none or a later one and is not moved when its reason goes; when it is due, what is really the case is
// looked for, and the deadline set anew or taken away. So a delivery costs a comparison, and each deadline fires once.

// alarm is the deadline of an object.
type alarm struct {
	deadlineMillis int64 // 0 = none
	timer          int   // 1 + place in the heap; 0 = not in it
}

func (a *alarm) clock() *alarm { return a }

// timed is an object that may have a deadline.
type timed interface {
	object
	serialised
	clock() *alarm
	// due is called when the deadline has come and is disarmed.
	due(s *State)
}

// timerHeap orders objects by (deadline, serial), the earliest first.
type timerHeap []timed

func (h timerHeap) less(i, j int) bool {
	if a, b := h[i].clock().deadlineMillis, h[j].clock().deadlineMillis; a != b {
		return a < b
	}
	return h[i].serialNumber() < h[j].serialNumber()
}

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].clock().timer, h[j].clock().timer = i+1, j+1
}

func (h timerHeap) up(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h timerHeap) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

// arm makes sure that the object is looked at by then.
func (s *State) arm(t timed, deadlineMillis int64) {
	a := t.clock()
	// 0 would mean that there is none.
	deadlineMillis = max(deadlineMillis, 1)
	if a.deadlineMillis != 0 && a.deadlineMillis <= deadlineMillis {
		return
	}
	a.deadlineMillis = deadlineMillis
	s.touch(t)
	s.schedule(t)
}

// schedule puts an object with a deadline, new or earlier, into its place.
func (s *State) schedule(t timed) {
	a := t.clock()
	if a.timer == 0 {
		s.timers = append(s.timers, t)
		a.timer = len(s.timers)
	}
	s.timers.up(a.timer - 1)
}

func (s *State) disarm(t timed) {
	a := t.clock()
	if a.timer == 0 {
		return
	}
	i, last := a.timer-1, len(s.timers)-1
	s.timers.swap(i, last)
	s.timers[last] = nil
	s.timers = s.timers[:last]
	if i < last {
		s.timers.down(i)
		s.timers.up(i)
	}
	a.timer, a.deadlineMillis = 0, 0
	s.touch(t)
}

// NextDeadline is the time at which a Tick would do something; ok is false when none is due ever. Work left over is due now.
func (s *State) NextDeadline() (millis int64, ok bool) {
	if len(s.remainders) > 0 {
		return s.nowMillis, true
	}
	millis, ok = s.store.NextDue()
	if len(s.timers) > 0 && (!ok || s.timers[0].clock().deadlineMillis < millis) {
		millis, ok = s.timers[0].clock().deadlineMillis, true
	}
	return millis, ok
}

// tick fires the deadlines that have passed and continues what was left over.
func (s *State) tick() {
	s.continueRemainders()
	for s.budget > 0 && len(s.timers) > 0 && s.timers[0].clock().deadlineMillis <= s.nowMillis {
		t := s.timers[0]
		s.disarm(t)
		t.due(s)
	}
}

// due implements timed.
func (ch *channel) due(s *State) { s.checkHolds(ch) }

// checkHolds looks for what a channel holds too long, times one consumer out if it must, and sets the next deadline.
func (s *State) checkHolds(ch *channel) {
	var overdue store.Info
	var timeoutMillis int64
	next, found := int64(math.MaxInt64), false
	s.eachHeld(ch, func(_ store.Entry, info *store.Info) bool {
		span := s.timeoutOf(ch, info)
		if span == 0 {
			return true
		}
		due := later(info.Hold.SinceMillis, span)
		if due <= s.nowMillis && !found {
			overdue, timeoutMillis, found = *info, span, true
		}
		next = min(next, due)
		return true
	})
	if found {
		s.timeOut(ch, &overdue, timeoutMillis)
	}
	// Others may be overdue too; the time-out left the channel, they are found when the same entry comes back to it.
	if next != math.MaxInt64 && !ch.ended && !ch.failed {
		s.arm(ch, next)
	}
}

// timeoutOf is how long an entry may be held; 0 is for ever.
func (s *State) timeoutOf(ch *channel, info *store.Info) int64 {
	if slices.Contains(ch.evicting, info.Hold.Consumer) {
		return 0
	}
	if c := ch.consumer(info.Hold.Consumer); c != nil {
		return c.timeoutMillis
	}
	if q := s.parts[info.Queue].queue; q != nil { // basic.get, or a consumer that was cancelled
		return q.args.consumerTimeout
	}
	return 0
}

// timeOut takes everything from a consumer that held a message too long. Where the client cannot be told that its consumer is cancelled, or there is none
// to cancel, the channel fails, as in RabbitMQ.
func (s *State) timeOut(ch *channel, overdue *store.Info, timeoutMillis int64) {
	c := ch.consumer(overdue.Hold.Consumer)
	if c == nil || !ch.session.cancelNotify {
		s.evictOne(ch, overdue.Hold.Tag)
		s.failChannel(ch, 0, refuse(PreconditionFailed, "delivery acknowledgement on channel %d timed out. Timeout value used: %d ms. "+
			"This timeout value can be configured, see consumers doc guide to learn more", ch.number, timeoutMillis))
		return
	}
	q := c.queue
	s.serverCancel(c)
	s.evict(ch, c.serial, overdue.Hold.Tag)
	if s.budget <= 0 {
		ch.evicting = append(ch.evicting, c.serial)
		s.remainders = append(s.remainders, &remainder{channel: ch, channelSerial: ch.serial, evicted: c.serial})
	}
	s.deleteIfUnused(q)
}

// evictOne returns the entry of one tag as failed and leaves its tag void.
func (s *State) evictOne(ch *channel, tag uint64) {
	e, void, ok := ch.unacked.Take(tag)
	if !ok || void {
		panic(fmt.Sprintf("fsm: overdue tag %d of channel %d is not held", tag, ch.serial))
	}
	s.settle(ch, e, requeued)
}

// evict returns what a consumer holds, as far as the budget goes, and leaves the tags void: a late ack of them is no error and does nothing. The entry with
// the failed tag counts a failure, the others were only waiting behind it.
func (s *State) evict(ch *channel, consumer, failed uint64) {
	var entries []store.Entry
	var tags []uint64
	s.eachHeld(ch, func(e store.Entry, info *store.Info) bool {
		if info.Hold.Consumer == consumer {
			entries, tags = append(entries, e), append(tags, info.Hold.Tag)
		}
		return len(tags) < s.budget
	})
	s.budget -= len(tags)
	for i, tag := range tags {
		how := lostByConnection
		if tag == failed {
			how = requeued
		}
		ch.unacked.Void(tag)
		s.settle(ch, entries[i], how)
	}
	s.touch(ch)
}

// eachHeld calls f for what a channel holds, in order of tags, until it returns false. Time-outs alone need it, and are rare.
func (s *State) eachHeld(ch *channel, f func(e store.Entry, info *store.Info) bool) {
	all := ch.unacked
	ch.unacked = store.Unacked{}
	for more := true; ; {
		tag, e, void, ok := all.TakeFirst(math.MaxUint64)
		if !ok {
			return
		}
		ch.unacked.Add(tag, e)
		if void {
			ch.unacked.Void(tag)
		} else if more {
			info := s.store.Info(e)
			more = f(e, &info)
		}
	}
}
