package fsm

// A queue with x-single-active-consumer serves one of its consumers, the active one; the others stand by, in line by priority and then by age. When the
// active one goes, the first in line follows at once: what the former still holds stays its channel's, and returns to its place if the channel ends. A
// consumer of a higher priority comes first in line too, but takes over only when the active one, which is not served any more, holds nothing.
//
//	standing by ──first in line, and nobody active or the active one holds nothing──► active
//	active ──a consumer of higher priority came, and something is held──► quiescing ──the last is settled──► standing by
//	                                                                         └──that consumer went──► active

// firstInLine is the consumer that is active or shall be.
func (q *queue) firstInLine() (first *consumer) {
	for _, c := range q.consumers { // in order of age
		if first == nil || c.priority > first.priority {
			first = c
		}
	}
	return first
}

// chooseActive follows a change of a queue's consumers, or of what the active one holds.
func (s *State) chooseActive(q *queue) {
	if !q.args.singleActive {
		return
	}
	first, before := q.firstInLine(), q.active
	if before == nil || before.held == 0 {
		q.active = first
	}
	if q.active != before {
		s.touch(q)
	}
	q.standBy()
	for _, c := range q.consumers {
		if c.standsBy && c.waiting {
			q.waiting.remove(c)
			s.touch(q)
		}
	}
	if q.active != nil {
		s.offer(q.active)
	}
}

// standBy marks those that are not served.
func (q *queue) standBy() {
	if !q.args.singleActive {
		return
	}
	first := q.firstInLine()
	for _, c := range q.consumers {
		c.standsBy = c != q.active || c != first
	}
}

// leaveLine forgets a consumer that is going, and is in the queue's list no more.
func (s *State) leaveLine(c *consumer) {
	q := c.queue
	if q.active == c {
		q.active = nil
		s.chooseActive(q)
	} else if q.active != nil && q.active.standsBy { // it may have been the one that was waited for
		s.chooseActive(q)
	}
}

// settledOne hands the queue over when its active consumer was only waited for.
func (s *State) settledOne(c *consumer) {
	if c.held == 0 && c.standsBy && c.queue.active == c {
		s.chooseActive(c.queue)
	}
}

// isActive tells whether a consumer is served when it has room: all are but those that stand by.
func (c *consumer) isActive() bool { return !c.queue.args.singleActive || c.queue.active == c }
