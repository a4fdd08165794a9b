package fsm

import "github.com/triagemq/triagemq/fsm/store"

// wake has a queue looked at when the present command is through, because messages or consumers came to it: replies precede deliveries, and a queue that
// several things happened to is looked at once. First it is dispatched, then it sheds.
func (s *State) wake(q *queue) {
	if !q.woken && (q.waiting.first != nil || q.sheds()) {
		q.woken = true
		s.woken = append(s.woken, q)
	}
}

func (s *State) dispatchWoken() {
	paid := len(s.woken) // what came to the others are dead letters of these
	for i := 0; i < len(s.woken); i++ {
		q := s.woken[i]
		s.woken[i] = nil
		q.woken = false
		s.dispatch(q)
		s.shed(q, i < paid || s.budget > 0)
	}
	s.woken = s.woken[:0]
}

// dispatch hands out messages, one to each waiting consumer in turn, until messages or consumers run out.
func (s *State) dispatch(q *queue) {
	for c := q.waiting.first; c != nil; c = q.waiting.first {
		if !c.canTake() { // its channel's shared limit was used up for another queue
			q.waiting.remove(c)
			s.touch(q)
			continue
		}
		p, e, ok := s.front(q)
		if !ok || s.overdue(e) {
			return
		}
		s.deliver(p, e, c)
		if q.waiting.first != q.waiting.last || !c.canTake() {
			s.touch(q)
			q.waiting.remove(c)
			if c.canTake() {
				q.waiting.push(c)
			}
		}
	}
}

// deliver hands the front message of a part to a consumer.
func (s *State) deliver(p *part, e store.Entry, c *consumer) {
	info := s.store.Info(e)
	ch := c.channel
	c.grantMessages--
	c.grantBytes -= int64(info.SizeBytes)
	s.touch(c)
	tag := s.hand(p, ch, c.serial, c.noAck)
	s.countDelivered(p.queue, DeliverCount, DeliverNoAckCount, c.noAck, info.Redelivered)
	if !c.noAck {
		c.held++
		ch.held++
		if ch.limitShared != 0 {
			ch.turn = c.serial
		}
		if c.timeoutMillis > 0 {
			s.arm(ch, later(s.nowMillis, c.timeoutMillis))
		}
	}
	if ch.session.origin == s.mine && s.mine != nil {
		effect := Effect{Kind: Delivered, Ref: ch.ref(), Consumer: c.tag, Tag: tag, Delivery: s.lastDelivery, Quorum: p.queue.args.quorum}
		s.emitMessage(ch, effect, &info)
	}
	if c.noAck {
		p.messages.Remove(e)
		s.trim(p)
	}
}

// hand gives the front entry of a part a delivery tag; with noAck the caller removes it once its content has been emitted.
func (s *State) hand(p *part, ch *channel, consumer uint64, noAck bool) (tag uint64) {
	ch.lastTag++
	s.lastDelivery++
	s.touch(ch)
	if !noAck {
		e, _ := p.messages.Take(store.Hold{
			Channel: ch.serial, Consumer: consumer, Tag: ch.lastTag, Delivery: s.lastDelivery, SinceMillis: s.nowMillis,
		})
		ch.unacked.Add(ch.lastTag, e)
	}
	return ch.lastTag
}

// emitMessage completes a Delivered with the message. info is from before the delivery.
func (s *State) emitMessage(ch *channel, e Effect, info *store.Info) {
	m := s.store.Content(info.Message)
	e.Redelivered, e.Deliveries = info.Redelivered, info.Deliveries
	e.Exchange, e.RoutingKey, e.Properties, e.Body = m.Exchange, m.RoutingKey, traitsOf(info.ID).visible(m.Properties), m.Body
	s.emit(ch.session, e)
}

// get is basic.get.
func (s *State) get(ch *channel, c *Get) *refusal {
	q, r := ch.session.queueFor(read, c.Queue)
	if r != nil {
		return r
	}
	s.use(q)
	p, e, ok := s.front(q)
	if !ok || s.overdue(e) {
		s.countQueue(q, GetEmptyCount)
		ch.reply(s, KindGet, false, Effect{Empty: true})
		return nil
	}
	info := s.store.Info(e)
	tag := s.hand(p, ch, 0, c.NoAck)
	s.countDelivered(q, GetCount, GetNoAckCount, c.NoAck, info.Redelivered)
	if !c.NoAck && q.args.consumerTimeout > 0 {
		s.arm(ch, later(s.nowMillis, q.args.consumerTimeout))
	}
	left := q.ready()
	if c.NoAck {
		left-- // it still counts until it is removed, after its content was used
	}
	effect := Effect{Kind: Delivered, Ref: ch.ref(), Command: KindGet, Get: true, Tag: tag, Delivery: s.lastDelivery, Count: countOf(left), Quorum: q.args.quorum}
	s.emitMessage(ch, effect, &info)
	if c.NoAck {
		p.messages.Remove(e)
		s.trim(p)
	}
	return nil
}
