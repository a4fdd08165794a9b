package fsm

import (
	"fmt"

	"github.com/triagemq/triagemq/fsm/store"
)

// Length limits count what is ready: messages, and the bytes of their bodies. What consumers hold does not count, and counts again when it comes back.
//
// With drop-head a message is always enqueued; when the command is through and waiting consumers have taken theirs, the queue sheds what is too much, from
// the front, in order of delivery. With reject-publish a client's message is refused before it is enqueued anywhere. Nobody could be told of the refusal of a
// dead letter, a message that comes due or one that returns: those are always taken, and may lift such a queue above its limit.

// limited tells whether there is a limit to the queue's length.
func (a *queueArguments) limited() bool { return a.maxLength >= 0 || a.maxLengthBytes >= 0 }

// sheds tells whether the queue makes room by dropping.
func (q *queue) sheds() bool { return q.args.overflow == dropHead && q.args.limited() }

// exceeds tells whether a queue with so many ready messages and bytes would be over its limit.
func (a *queueArguments) exceeds(ready, bytes int64) bool {
	return a.maxLength >= 0 && ready > a.maxLength || a.maxLengthBytes >= 0 && bytes > a.maxLengthBytes
}

// crowded tells whether the queue must shed.
func (q *queue) crowded() bool {
	return q.sheds() && q.args.exceeds(int64(q.ready()), q.bytes())
}

// refuses tells whether the queue refuses a client's message, also where a consumer waits for one, as in RabbitMQ.
func (q *queue) refuses(bodyBytes int) bool {
	return q.args.overflow != dropHead && q.args.limited() && q.args.exceeds(int64(q.ready())+1, q.bytes()+int64(bodyBytes))
}

// shed drops what a queue has too much, or leaves it to a remainder. The first message is free where the publish that displaced it has paid, or passed on what
// was paid: a dead letter costs nothing while it remains one message, and what multiplies ends with the budget.
func (s *State) shed(q *queue, free bool) {
	if !q.crowded() || s.isGone(q) {
		return
	}
	if free {
		s.shedFront(q)
	}
	if s.shedSome(q) || q.shedding {
		return
	}
	q.shedding = true
	s.remainders = append(s.remainders, &remainder{crowded: q, crowdedSerial: q.serial})
}

// shedSome spends the budget on a queue and reports whether it is within its limit.
func (s *State) shedSome(q *queue) (done bool) {
	for ; q.crowded(); s.budget-- {
		if s.budget <= 0 {
			return false
		}
		s.shedFront(q)
	}
	return true
}

func (s *State) shedFront(q *queue) {
	p, e, ok := s.front(q)
	if !ok {
		panic(fmt.Sprintf("fsm: queue %d is over its limit and has no front", q.serial))
	}
	info := s.store.Info(e)
	s.deadLetter(q, &info, reasonMaxLen)
	p.messages.Remove(e)
	s.trim(p)
	s.dispatch(q) // a consumer still waits only if that front had expired; it can take what was behind it
}

// accepting parts the queues that take a client's message from those that refuse it. Both slices are valid until the next call.
func (s *State) accepting(queues []*queue, bodyBytes int) (accept, refuse []*queue) {
	if s.committing {
		return queues, nil // the transaction was checked as a whole
	}
	r := &s.router
	for i, q := range queues {
		if !q.refuses(bodyBytes) {
			if refuse != nil {
				accept = append(accept, q)
			}
			continue
		}
		if refuse == nil { // by far most messages are refused by none: nothing is copied for them
			accept, refuse = append(r.accept[:0], queues[:i]...), r.refuse[:0]
		}
		refuse = append(refuse, q)
	}
	if refuse == nil {
		return queues, nil
	}
	r.accept, r.refuse = accept, refuse
	return accept, refuse
}

// deadLetterRefused dead-letters a message that was refused, for each of the queues that wants that.
func (s *State) deadLetterRefused(queues []*queue, c *store.Content) {
	for _, q := range queues {
		if q.args.overflow != rejectPublishDLX {
			continue
		}
		m := s.store.Put(*c)
		s.deadLetter(q, &store.Info{Message: m}, reasonMaxLen)
		s.store.Release(m)
	}
}

// lengthLimit is the reason of a refusal, for people.
func lengthLimit(q *queue) string {
	label, a := queueLabel(q.name, q.vhost), &q.args
	switch {
	case a.maxLength < 0:
		return fmt.Sprintf("%s is full: max-length-bytes is %d", label, a.maxLengthBytes)
	case a.maxLengthBytes < 0:
		return fmt.Sprintf("%s is full: max-length is %d", label, a.maxLength)
	}
	return fmt.Sprintf("%s is full: max-length is %d, max-length-bytes %d", label, a.maxLength, a.maxLengthBytes)
}
