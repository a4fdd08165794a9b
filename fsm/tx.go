package fsm

import "fmt"

// A transaction is one command, and so one entry: everything that could refuse one of its commands is looked at before the first is carried out.

// applyTx carries out all of a transaction or nothing.
func (s *State) applyTx(ch *channel, c *Tx) *refusal {
	if r := s.checkTx(ch, c.Commands); r != nil {
		return r
	}
	s.committing = true
	for rest := c.Commands; len(rest) > 0; {
		kind, ref, payload, after, err := decodeCommandHead(rest)
		s.decoded(err)
		if r := s.applyOnChannel(ch, kind, ref, payload); r != nil {
			panic(fmt.Sprintf("fsm: %v of a transaction that was checked is refused: %s", kind, r.text))
		}
		rest = after
	}
	s.committing = false
	ch.reply(s, KindTx, false, Effect{})
	return nil
}

// txCheck goes over the commands of a transaction without changing the state.
type txCheck struct {
	state   *State
	channel *channel

	// What the commands so far would settle: all tags up to settledTo, and some above.
	settledTo uint64
	settled   map[uint64]struct{}

	// What they would add to queues that refuse messages beyond a limit.
	added map[*queue]addition
}

type addition struct{ messages, bytes int64 }

func (s *State) checkTx(ch *channel, commands []byte) *refusal {
	k := txCheck{state: s, channel: ch, settled: make(map[uint64]struct{}), added: make(map[*queue]addition)}
	for rest := commands; len(rest) > 0; {
		kind, ref, payload, after, err := decodeCommandHead(rest)
		s.decoded(err)
		if r := k.check(kind, ref, payload); r != nil {
			return r
		}
		rest = after
	}
	return nil
}

func (k *txCheck) check(kind CommandKind, ref Ref, payload []byte) *refusal {
	s := k.state
	switch kind {
	case KindAck:
		var c Ack
		s.decoded(c.decode(ref, payload))
		return k.settle(c.Tag, c.Multiple)
	case KindNack:
		var c Nack
		s.decoded(c.decode(ref, payload))
		return k.settle(c.Tag, c.Multiple)
	}
	return k.publish(ref, payload)
}

func (k *txCheck) publish(ref Ref, payload []byte) *refusal {
	s, c := k.state, &k.state.publish
	found, err := c.scan(ref, payload)
	s.decoded(err)
	v := k.channel.session.vhost
	x, r := k.channel.session.publishTo(c.Exchange)
	if r != nil {
		return r
	}
	var copies copies
	if found.Copies {
		copies = copiesOf(c.Properties)
	}
	if r := k.channel.session.mayRoute(x, c.RoutingKey, copies.keys); r != nil {
		return r
	}
	queues, _ := s.routeFrom(v, x, c.RoutingKey, copies.keys, c.Properties)
	for _, q := range queues {
		if r := k.add(q, int64(len(c.Body))); r != nil {
			return r
		}
	}
	return nil
}

// add counts a message for a queue. Nothing else that the transaction does makes room in it: settling frees what is held, and that does not count.
func (k *txCheck) add(q *queue, bodyBytes int64) *refusal {
	if q.args.overflow == dropHead || !q.args.limited() {
		return nil
	}
	a := k.added[q]
	a.messages++
	a.bytes += bodyBytes
	if q.args.exceeds(int64(q.ready())+a.messages, q.bytes()+a.bytes) {
		return refuse(PreconditionFailed, "%s", lengthLimit(q))
	}
	k.added[q] = a
	return nil
}

// settle follows settleTag.
func (k *txCheck) settle(tag uint64, multiple bool) *refusal {
	if multiple && tag == 0 {
		k.settledTo = k.channel.lastTag
		return nil
	}
	if _, before := k.settled[tag]; before || tag <= k.settledTo || !k.channel.unacked.Has(tag) {
		return unknownTag(tag)
	}
	if multiple {
		k.settledTo = tag
	} else {
		k.settled[tag] = struct{}{}
	}
	return nil
}
