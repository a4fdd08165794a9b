package fsm

import (
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/store"
)

// Messages expire wherever they are in their queue, but not while a consumer holds them; and delayed ones come due. The store knows when. What is due is seen
// to before an entry's commands and after each of them, so that a message past its time is never delivered, and as far as the entry's budget goes: what is
// left is due still, and a Tick goes on with it.
//
// A time to live of 0 means: now or never. Such a message is offered once, in the command that enqueues it.

// noTTL is a time to live without end.
const noTTL = -1

// ttlOf is the time to live that a message's own properties give it.
func ttlOf(p *content.Summary) int64 {
	if p.Expiration == nil {
		return noTTL
	}
	millis, fault := content.ExpirationMillis(p.Expiration)
	if fault != "" { // doors refuse it
		return noTTL
	}
	return millis
}

// expiryMillis is when a message enqueued now expires; 0 is never. The shorter time to live counts: the queue's or its own.
func (s *State) expiryMillis(q *queue, ttlMillis int64) int64 {
	if own := q.args.messageTTL; own != noTTL && (ttlMillis == noTTL || own < ttlMillis) {
		ttlMillis = own
	}
	if ttlMillis == noTTL {
		return 0
	}
	return max(later(s.nowMillis, ttlMillis), 1) // 0 would mean never
}

// fireDue sees to what is due, in order of time.
func (s *State) fireDue() {
	for ; s.budget > 0; s.budget-- {
		e, what, ok := s.store.Due(s.nowMillis)
		if !ok {
			return
		}
		s.fire(e, what)
		s.dispatchWoken()
	}
}

func (s *State) fire(e store.Entry, what store.Due) {
	info := s.store.Info(e)
	p := s.parts[info.Queue]
	switch {
	case p.exchange != nil:
		s.routeDelayed(p.exchange, &info)
		p.messages.Remove(e)
	case p.queue == nil || p.draining: // it was deleted or purged already
		p.messages.Remove(e)
	case what == store.Matured:
		p.messages.Promote(e)
		s.wake(p.queue)
	default:
		s.deadLetter(p.queue, &info, reasonExpired)
		p.messages.Remove(e)
		s.wake(p.queue)
	}
	s.trim(p)
}

// overdue tells whether the front of a queue has expired and must wait for its turn to be removed: what is behind it waits too. That is so only where an
// entry's budget is spent, or its present command brought the message back.
func (s *State) overdue(e store.Entry) bool {
	if millis, waits := s.store.NextDue(); !waits || millis > s.nowMillis {
		return false
	}
	info := s.store.Info(e)
	if info.ExpiresMillis == s.nowMillis && info.ID.Index == s.index {
		return false // it was enqueued just now, with a time to live of 0: this is its only chance
	}
	return info.ExpiresMillis != 0 && info.ExpiresMillis <= s.nowMillis
}
