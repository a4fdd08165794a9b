package amqp

import (
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

func (ch *channel) handleQos(m *wire.BasicQos) *exception {
	if m.PrefetchSize != 0 {
		return exceptionf(notImplemented, m.ID(), "prefetch_size!=0 (%d)", m.PrefetchSize)
	}
	ch.ask(&fsm.SetQos{Ref: ch.ref, Count: m.PrefetchCount, Global: m.Global},
		expectation{command: fsm.KindSetQos, ok: wire.IDBasicQosOk, asked: m.ID()}, false)
	return nil
}

// handleGet lets one get at a time be under way on a connection: a reply may be as large as a message may be, and a read may
// hold thousands of gets.
func (ch *channel) handleGet(m *wire.BasicGet) (*exception, error) {
	name, x := ch.queueName(m.Queue, m.ID())
	if x != nil {
		return x, nil
	}
	get := &fsm.Get{Ref: ch.ref, Queue: name, NoAck: m.NoAck}
	answered, err := ch.probe(get, wire.IDBasicGetOk)
	if answered || err != nil {
		return nil, err
	}
	if !ch.awaitOne() {
		return nil, nil
	}
	ch.ask(get, expectation{command: fsm.KindGet, ok: wire.IDBasicGetOk, asked: m.ID()}, false)
	if err := ch.conn.submit(); err != nil {
		return nil, err
	}
	return nil, ch.conn.attend()
}

// awaitOne has the reader's next attend wait for the reply that is about to be asked for; false where the channel is not open any more.
func (ch *channel) awaitOne() bool {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.state() != channelOpen {
		return false
	}
	ch.gets++
	c.gets++
	return true
}

// getAnswered lets the reader go on. Called with mu held.
func (ch *channel) getAnswered() {
	if ch.gets == 0 {
		return // by a probe: it was never counted
	}
	ch.gets--
	ch.conn.gets--
	if ch.conn.gets == 0 && ch.conn.readerAt == placeRoom {
		ch.conn.wakeReader()
	}
}

func (ch *channel) handleAck(arguments []byte) *exception {
	var m wire.BasicAck
	if err := m.Decode(arguments); err != nil {
		return malformed(m.ID(), err)
	}
	ack := fsm.Ack{Ref: ch.ref, Tag: m.DeliveryTag, Multiple: m.Multiple}
	if ch.tx != nil {
		inTx := ack // it goes to the heap
		return ch.settleInTx(m.ID(), m.DeliveryTag, m.Multiple, &inTx)
	}
	b := ch.conn.beginCommand()
	b.b = ack.Append(b.b)
	return nil
}

// settle is how basic.nack and basic.reject differ.
type settle struct {
	method            wire.MethodID
	multiple, requeue bool
}

func (ch *channel) nack(tag uint64, how settle) *exception {
	nack := &fsm.Nack{Ref: ch.ref, Tag: tag, Multiple: how.multiple, Requeue: how.requeue, Reject: how.method == wire.IDBasicReject}
	if ch.tx != nil {
		return ch.settleInTx(how.method, tag, how.multiple, nack)
	}
	b := ch.conn.beginCommand()
	b.b = nack.Append(b.b)
	return nil
}

// handleRecover takes basic.recover and basic.recover-async, which is the same without a reply.
func (ch *channel) handleRecover(method wire.MethodID, requeue bool) *exception {
	if !requeue {
		return exceptionf(notImplemented, method, "requeue=false")
	}
	expected := expectation{command: fsm.KindRecover, asked: method}
	if method == wire.IDBasicRecover {
		expected.ok = wire.IDBasicRecoverOk
	}
	if ch.tx.settles() { // what it acknowledged is not to be returned unless it is rolled back
		ch.tx.recovers = true
		if expected.ok != 0 {
			ch.expectLocal(&wire.BasicRecoverOk{})
		}
		return nil
	}
	ch.ask(&fsm.Recover{Ref: ch.ref}, expected, false)
	return nil
}
