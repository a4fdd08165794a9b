package fsm

// applyCommand applies one command of an origin that is open.
func (s *State) applyCommand(o *origin, kind CommandKind, ref Ref, payload []byte) {
	switch kind {
	case KindOpenSession:
		var c OpenSession
		s.decoded(c.decode(ref, payload))
		s.openSession(o, &c)
	case KindCloseSession:
		s.closeSession(o, ref)
	case KindOpenChannel:
		s.openChannel(o, ref)
	case KindCloseChannel:
		s.closeChannel(o, ref)
	default:
		if ref.Conn == 0 {
			s.applyOperator(o, kind, ref, payload)
			return
		}
		// A command of an unknown, old or failed incarnation was sent before its origin knew; it must do nothing.
		if ch := o.channel(ref); ch != nil {
			s.failed(ch, kind, s.applyOnChannel(ch, kind, ref, payload))
		}
	}
}

// decoded panics where a command that passed CheckItem does not decode.
func (s *State) decoded(err error) {
	if err != nil {
		mustDecode(s.index, err)
	}
}

func (s *State) applyOnChannel(ch *channel, kind CommandKind, ref Ref, payload []byte) *refusal {
	if r := s.early(kind); r != nil {
		return r
	}
	switch kind {
	case KindPublish:
		summary, err := s.publish.scan(ref, payload)
		s.decoded(err)
		return s.applyPublish(ch, &s.publish, &summary)
	case KindAck:
		var c Ack
		s.decoded(c.decode(ref, payload))
		return s.ack(ch, &c)
	case KindGrant:
		s.decoded(s.grant.decode(ref, payload))
		s.applyGrant(ch, &s.grant)
		return nil
	case KindNack:
		var c Nack
		s.decoded(c.decode(ref, payload))
		r := s.nack(ch, &c)
		if r != nil {
			r.reject = c.Reject
		}
		return r
	case KindGet:
		var c Get
		s.decoded(c.decode(ref, payload))
		return s.get(ch, &c)
	case KindConsume:
		var c Consume
		s.decoded(c.decode(ref, payload))
		return s.consume(ch, &c)
	case KindCancel:
		var c Cancel
		s.decoded(c.decode(ref, payload))
		s.cancel(ch, &c)
		return nil
	case KindSetQos:
		var c SetQos
		s.decoded(c.decode(ref, payload))
		s.setQos(ch, &c)
		return nil
	case KindRecover:
		s.recover(ch)
		return nil
	case KindTx:
		var c Tx
		s.decoded(c.decode(ref, payload))
		return s.applyTx(ch, &c)
	}
	return s.applyTopology(ch, kind, ref, payload)
}

func (s *State) applyTopology(ch *channel, kind CommandKind, ref Ref, payload []byte) *refusal {
	switch kind {
	case KindDeclareExchange:
		var c DeclareExchange
		s.decoded(c.decode(ref, payload))
		return s.declareExchange(ch, &c)
	case KindDeleteExchange:
		var c DeleteExchange
		s.decoded(c.decode(ref, payload))
		return s.deleteExchange(ch, &c)
	case KindDeclareQueue:
		var c DeclareQueue
		s.decoded(c.decode(ref, payload))
		return s.declareQueue(ch, &c)
	case KindDeleteQueue:
		var c DeleteQueue
		s.decoded(c.decode(ref, payload))
		return s.deleteQueue(ch, &c)
	case KindPurgeQueue:
		var c PurgeQueue
		s.decoded(c.decode(ref, payload))
		return s.purgeQueue(ch, &c)
	case KindBind:
		var c Bind
		s.decoded(c.decode(ref, payload))
		return s.bind(ch, &c)
	case KindUnbind:
		var c Unbind
		s.decoded(c.decode(ref, payload))
		return s.unbind(ch, &c)
	}
	return nil
}
