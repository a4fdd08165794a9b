package fsm

// A queue with x-expires is deleted once it has been without use for so long: without consumers, declarations (passive ones too) and gets. Each use renews its
// lease, and costs a note of the time alone: the deadline stays where it is, and when it comes it is set anew if there was use since. While a queue has
// consumers its lease does not run; it begins anew when the last one goes.

// use renews a queue's lease.
func (s *State) use(q *queue) {
	if q.args.expires < 0 || s.isGone(q) {
		return
	}
	q.usedMillis = s.nowMillis
	s.touch(q)
	if len(q.consumers) == 0 {
		s.arm(q, q.expiresMillis())
	}
}

// changeLease follows a change of x-expires: the new lease begins now.
func (s *State) changeLease(q *queue) {
	s.disarm(q)
	s.use(q)
}

func (q *queue) expiresMillis() int64 { return later(q.usedMillis, q.args.expires) }

// due implements timed.
func (q *queue) due(s *State) {
	s.budget-- // very many queues may come due at once
	switch {
	case q.args.expires < 0 || len(q.consumers) > 0:
	case q.expiresMillis() > s.nowMillis:
		s.arm(q, q.expiresMillis())
	default:
		s.dropQueue(q)
	}
}
