package amqp

import (
	"math"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// A connection is its session's broker.Handler: what follows runs on the apply goroutine, under locks of the node. It encodes
// into the output buffer and returns.

// Effect implements broker.Handler.
func (c *connection) Effect(e *fsm.Effect) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Kind == fsm.SessionFailed {
		c.closeLocked(exceptionOf(e))
		return
	}
	ch := c.channels[e.Ref.Channel]
	if c.phase != phaseRunning || ch == nil || ch.ref.Incarnation != e.Ref.Incarnation {
		return
	}
	switch ch.state() {
	case channelFailed, channelCrossed, channelGone: // channel.close or close-ok was the channel's last word
		return
	}
	ch.effect(e)
}

func (ch *channel) effect(e *fsm.Effect) {
	switch e.Kind {
	case fsm.Delivered:
		ch.deliver(e)
	case fsm.Published:
		ch.settled(e)
	case fsm.Replied:
		ch.replied(e)
	case fsm.Returned:
		ch.returned(e)
	case fsm.ConsumerCancelled:
		ch.cancelled(e)
	case fsm.ChannelFailed:
		x := exceptionOf(e)
		if asked, ok := ch.expected.first(); ok && asked.command == e.Command {
			x.method = asked.asked
		} else if e.Reject {
			x.method = wire.IDBasicReject
		}
		if x.code.endsConnection() {
			ch.conn.closeLocked(x)
			return
		}
		ch.failedLocked(x)
	}
}

// deliver encodes basic.deliver, or get-ok.
func (ch *channel) deliver(e *fsm.Effect) {
	c := ch.conn
	ch.delivered = e.Tag
	b := c.encoder()
	ch.lastTag = e.Tag
	if e.Get {
		ch.getAnswered()
		if asked, ok := ch.expected.first(); ok && asked.command == fsm.KindGet {
			ch.expected.pop()
		}
		m := wire.BasicGetOk{DeliveryTag: e.Tag, Redelivered: e.Redelivered, Exchange: e.Exchange, RoutingKey: e.RoutingKey, MessageCount: e.Count}
		b.b = m.AppendFrame(b.b, ch.id())
	} else {
		m := wire.BasicDeliver{ConsumerTag: e.Consumer, DeliveryTag: e.Tag, Redelivered: e.Redelivered, Exchange: e.Exchange, RoutingKey: e.RoutingKey}
		b.b = m.AppendFrame(b.b, ch.id())
		if consumer := ch.consumer(e.Consumer); consumer != nil {
			c.countDelivery(consumer, len(e.Body))
		}
	}
	properties := e.Properties
	if e.Deliveries > 0 {
		properties = withDeliveryCount(properties, e)
	}
	b.b = wire.AppendContent(b.b, ch.id(), c.tuned.FrameMax, properties, e.Body)
	if e.Get {
		ch.replyLocals()
	}
}

// withDeliveryCount adds RabbitMQ's header for redeliveries. RabbitMQ sends it as a 64-bit integer, and only where the queue is of type quorum. Elsewhere its
// clients never met it, and Perl's Net::AMQP ends at a 64-bit integer, which it cannot read: there the header is a 32-bit one.
func withDeliveryCount(properties []byte, e *fsm.Effect) []byte {
	p, err := content.DecodeProperties(properties)
	if err != nil {
		return properties // never: they were validated when they were published
	}
	var count any = int32(min(e.Deliveries, math.MaxInt32))
	if e.Quorum {
		count = int64(e.Deliveries)
	}
	p.Headers = p.Headers.With("x-delivery-count", count)
	p.Has |= content.HasHeaders
	return p.Append(nil)
}

// returned encodes basic.return: no queue took a mandatory message. The confirms of those published before it go first, so that an ack with
// multiple that comes after a return begins at the returned message.
func (ch *channel) returned(e *fsm.Effect) {
	ch.flushConfirms()
	b := ch.conn.encoder()
	m := wire.BasicReturn{ReplyCode: uint16(noRoute), ReplyText: noRoute.name(), Exchange: e.Exchange, RoutingKey: e.RoutingKey}
	b.b = m.AppendFrame(b.b, ch.id())
	b.b = wire.AppendContent(b.b, ch.id(), ch.conn.tuned.FrameMax, e.Properties, e.Body)
}

// Flush implements broker.Handler.
func (c *connection) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushConfirms()
	if c.out != nil {
		c.signalWriter()
	}
}

// End implements broker.Handler. It may come before open-ok was sent.
func (c *connection) End(code fsm.Code, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeLocked(&exception{code: replyCodeOf(code), text: text})
}

// Blocked implements broker.Handler.
func (c *connection) Blocked(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocked = reason
	c.announceBlocked()
}

// announceBlocked tells a client that publishes, once at the first alarm and once at the end of the last. Called with mu held.
func (c *connection) announceBlocked() {
	if c.phase != phaseRunning || !c.client.blocked || !c.publishes || c.toldBlocked == (c.blocked != "") {
		return
	}
	c.toldBlocked = c.blocked != ""
	b := c.encoder()
	if c.toldBlocked {
		b.b = (&wire.ConnectionBlocked{Reason: c.blocked}).AppendFrame(b.b, 0)
	} else {
		b.b = (&wire.ConnectionUnblocked{}).AppendFrame(b.b, 0)
	}
	c.signalWriter()
}
