package fsm

import (
	"math"

	"github.com/triagemq/triagemq/fsm/store"
)

// settlement says how a delivery ended.
type settlement uint8

const (
	acked            settlement = iota + 1
	rejected                    // not to be requeued: dead-lettered
	requeued                    // nack or reject with requeue: a failure of the consumer
	lostByConnection            // its session or channel ended, or it asked for recovery: nobody's failure, but a delivery
	lostByNode                  // the link to its node was lost: counts as nothing
)

func (how settlement) cause() store.ReturnCause {
	switch how {
	case requeued:
		return store.ReturnFailed
	case lostByNode:
		return store.ReturnNode
	}
	return store.ReturnConnection
}

func (s *State) ack(ch *channel, c *Ack) *refusal {
	return s.settleTag(ch, c.Tag, c.Multiple, acked)
}

func (s *State) nack(ch *channel, c *Nack) *refusal {
	if c.Requeue {
		return s.settleTag(ch, c.Tag, c.Multiple, requeued)
	}
	return s.settleTag(ch, c.Tag, c.Multiple, rejected)
}

func (s *State) recover(ch *channel) {
	s.settleUpTo(ch, math.MaxUint64, lostByConnection)
	ch.reply(s, KindRecover, false, Effect{})
}

// settleTag settles one tag, or it and all before it. A tag that is not outstanding fails the channel even with multiple, as in RabbitMQ; void tags are
// outstanding and settle nothing.
func (s *State) settleTag(ch *channel, tag uint64, multiple bool, how settlement) *refusal {
	if multiple && tag == 0 {
		s.settleUpTo(ch, math.MaxUint64, how)
		return nil
	}
	e, void, ok := ch.unacked.Take(tag)
	if !ok {
		return unknownTag(tag)
	}
	if void {
		s.touch(ch)
	}
	var rest *remainder
	if multiple {
		rest = s.settleUpTo(ch, tag, how)
	}
	switch {
	case void:
	case rest != nil:
		rest.held.Add(tag, e)
		rest.upTo = tag
	default:
		s.settle(ch, e, how)
	}
	return nil
}

func unknownTag(tag uint64) *refusal {
	return refuse(PreconditionFailed, "unknown delivery tag %d", tag)
}

// settleUpTo settles tags in order as far as the budget goes. What is left is taken from the channel all the same, in a remainder, which it returns.
func (s *State) settleUpTo(ch *channel, upTo uint64, how settlement) (rest *remainder) {
	for {
		tag, e, void, ok := ch.unacked.TakeFirst(upTo)
		switch {
		case !ok:
			return rest
		case void:
			s.touch(ch)
		case s.budget > 0:
			s.budget--
			s.settle(ch, e, how)
		default:
			if rest == nil {
				rest = &remainder{channel: ch, channelSerial: ch.serial, how: how}
				s.remainders = append(s.remainders, rest)
			}
			rest.held.Add(tag, e)
			rest.upTo = tag
		}
	}
}

// settle ends a delivery whose tag is no longer among its channel's.
func (s *State) settle(ch *channel, e store.Entry, how settlement) {
	info := s.store.Info(e)
	if ch != nil {
		s.release(ch, info.Hold.Consumer)
	}
	p := s.parts[info.Queue]
	switch {
	case how == acked || p.queue == nil:
		if p.queue != nil {
			s.countQueue(p.queue, AckCount)
		}
		p.messages.Remove(e)
	case how == rejected:
		s.deadLetter(p.queue, &info, reasonRejected)
		p.messages.Remove(e)
	default:
		s.giveBack(p, e, &info, how.cause())
	}
	s.trim(p)
}

// release gives a consumer its credit back.
func (s *State) release(ch *channel, serial uint64) {
	if serial == 0 || ch.ended || ch.failed {
		return
	}
	full := ch.limitShared != 0 && ch.held >= int(ch.limitShared)
	c := ch.count(serial, -1)
	if full {
		s.offerAll(ch)
	} else if c != nil {
		s.offer(c)
	}
	if c != nil {
		s.settledOne(c)
	}
}

// giveBack returns a held entry to its place, unless it has failed too often.
func (s *State) giveBack(p *part, e store.Entry, info *store.Info, cause store.ReturnCause) {
	limit := p.queue.args.deliveryLimit
	switch {
	case cause == store.ReturnFailed && limit >= 0 && int64(info.Failures)+1 > limit:
		s.deadLetter(p.queue, info, reasonDeliveryLimit)
		p.messages.Remove(e)
	case p.draining:
		p.parked = append(p.parked, parked{delivery: info.Hold.Delivery, entry: e, cause: cause})
		s.touch(p.queue)
	default:
		s.putBack(p, e, info.Failures, cause)
	}
}

// putBack makes a held entry ready again, at once or after the time that its queue wants.
func (s *State) putBack(p *part, e store.Entry, failuresBefore uint32, cause store.ReturnCause) {
	if millis := p.queue.args.retryDelayMillis(failuresBefore, cause); millis > 0 {
		p.messages.Delay(e, cause, s.nextDelay(millis))
		return
	}
	p.messages.Return(e, cause)
	s.wake(p.queue)
}

// retryDelayMillis is how long a returned message waits: the longer the more often it failed. A lost link to the consumer's node is nobody's failure and no
// reason to wait.
func (a *queueArguments) retryDelayMillis(failuresBefore uint32, cause store.ReturnCause) int64 {
	failed := cause == store.ReturnFailed
	if a.delayedRetry == retryAtOnce || cause == store.ReturnNode || a.delayedRetry == retryFailed && !failed {
		return 0
	}
	failures := int64(failuresBefore)
	if failed {
		failures++
	}
	millis := min(a.delayedRetryMin, maxMillis/max(failures, 1)) * max(failures, 1)
	if a.delayedRetryMax > 0 {
		millis = min(millis, a.delayedRetryMax)
	}
	return millis
}

// unpark settles the oldest parked entry of a part whose ready messages are gone.
func (s *State) unpark(p *part) {
	entry := p.parked[0]
	p.parked = p.parked[1:]
	if p.queue == nil || entry.cause == parkedPurged {
		p.messages.Remove(entry.entry)
		return
	}
	s.putBack(p, entry.entry, s.store.Info(entry.entry).Failures, entry.cause)
}
