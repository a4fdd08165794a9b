package fsm

// Probe returns the reply of an encoded command if applying it now would succeed and change nothing: a passive or identical declare, a binding that is
// there, a Get of an empty queue; but not where it renews the lease of a queue that expires. ok is false otherwise, errors included. It changes nothing itself and may run beside the views.
func (s *State) Probe(o Origin, command []byte) (reply Effect, ok bool) {
	kind, ref, payload, _, err := decodeCommandHead(command)
	if err != nil {
		return Effect{}, false
	}
	record := s.origins[o.Node]
	if record == nil || !record.open || record.boot != o.Boot {
		return Effect{}, false
	}
	ch := record.channel(ref)
	if ch == nil {
		return Effect{}, false
	}
	switch kind {
	case KindDeclareExchange:
		ok = s.probeDeclareExchange(ch, ref, payload)
	case KindDeclareQueue:
		reply, ok = s.probeDeclareQueue(ch, ref, payload)
	case KindBind:
		ok = s.probeBind(ch, ref, payload)
	case KindGet:
		reply.Empty, ok = true, s.probeGet(ch, ref, payload)
	}
	if !ok {
		return Effect{}, false
	}
	reply.Kind, reply.Ref, reply.Command = Replied, ref, kind
	return reply, true
}

func (s *State) probeDeclareExchange(ch *channel, ref Ref, payload []byte) bool {
	var c DeclareExchange
	if c.decode(ref, payload) != nil {
		return false
	}
	c.Name = withoutLineBreaks(c.Name)
	x, r := ch.session.checkDeclareExchange(&c)
	return x != nil && r == nil
}

func (s *State) probeDeclareQueue(ch *channel, ref Ref, payload []byte) (Effect, bool) {
	var c DeclareQueue
	if c.decode(ref, payload) != nil {
		return Effect{}, false
	}
	c.Name = withoutLineBreaks(c.Name)
	q, _, r := s.checkDeclareQueue(ch.session, &c)
	if q == nil || r != nil || q.args.expires >= 0 { // a declaration renews the lease
		return Effect{}, false
	}
	return q.declared(), true
}

func (s *State) probeBind(ch *channel, ref Ref, payload []byte) bool {
	var c Bind
	if c.decode(ref, payload) != nil {
		return false
	}
	source, dest, r := s.bindingEnds(ch.session, (*Unbind)(&c))
	return r == nil && dest.inbound().find(source, c.Key, tableOf(c.Arguments)) != nil
}

func (s *State) probeGet(ch *channel, ref Ref, payload []byte) bool {
	var c Get
	if c.decode(ref, payload) != nil {
		return false
	}
	q, r := ch.session.queueFor(read, c.Queue)
	return r == nil && q.ready() == 0 && q.args.expires < 0
}
