package fsm

import "github.com/triagemq/triagemq/fsm/store"

// remainder is bulk work whose logical effect is complete and whose moves were more than one entry may make. It is one of four:
//
//   - part is set: its ready messages are to be removed (purge, deletion), and then what was parked meanwhile is to return to it;
//   - evicted is set: what this consumer of channel holds is to be returned (time-out);
//   - crowdedSerial is set: messages of this queue are to be dropped until it is within its length limit;
//   - otherwise held, which were channelSerial's deliveries up to the tag upTo, are to be settled. To other commands (a purge, a get) they are as if their
//     channel still held them.
type remainder struct {
	part *part

	channel       *channel // nil once restored without it: the channel has ended
	channelSerial uint64
	evicted       uint64

	crowded       *queue // nil once restored without it: it was deleted
	crowdedSerial uint64

	held store.Unacked
	upTo uint64
	how  settlement
}

// continueRemainders spends the entry's budget on what is left over, oldest first.
func (s *State) continueRemainders() {
	for len(s.remainders) > 0 && s.budget > 0 {
		if !s.step(s.remainders[0]) {
			return
		}
		s.remainders[0] = nil
		s.remainders = s.remainders[1:]
	}
	if len(s.remainders) == 0 {
		s.remainders = nil
	}
}

// step works on one remainder and reports whether it is done.
func (s *State) step(r *remainder) (done bool) {
	switch {
	case r.part != nil:
		if !s.drainSome(r.part) {
			return false
		}
		s.trim(r.part)
		return true
	case r.evicted != 0:
		return s.evictSome(r)
	case r.crowdedSerial != 0:
		return s.stepShed(r.crowded)
	}
	for ; s.budget > 0; s.budget-- {
		_, e, _, ok := r.held.TakeFirst(r.upTo)
		if !ok {
			return true
		}
		s.settle(r.channel, e, r.how)
	}
	return r.held.Len() == 0
}

func (s *State) stepShed(q *queue) (done bool) {
	if q == nil || s.isGone(q) {
		return true
	}
	q.shedding = !s.shedSome(q)
	return !q.shedding
}

func (s *State) evictSome(r *remainder) (done bool) {
	ch := r.channel
	if ch == nil || ch.ended || ch.failed {
		return true
	}
	s.evict(ch, r.evicted, 0)
	if s.budget <= 0 {
		return false
	}
	for i, serial := range ch.evicting {
		if serial == r.evicted {
			ch.evicting = append(ch.evicting[:i:i], ch.evicting[i+1:]...)
			break
		}
	}
	s.touch(ch)
	return true
}
