package amqp

import (
	"bytes"
	"strings"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// RabbitMQ's direct reply-to. A requester consumes from a queue that is none; the reply-to of its requests then becomes an address, and what is published
// with that as the key, through the default exchange, by whichever client at whichever node, is delivered to the requester. Nothing of it is in the log: the
// consumer is known here alone, and the broker carries replies from node to node.

const (
	directReplyTo = "amq.rabbitmq.reply-to"
	replyPrefix   = directReplyTo + "." // before an address

	// unreadRepliesMax is what may be unsent to a requester, in bytes, for a reply to be taken: nothing else holds up those who reply to a client that does not read.
	unreadRepliesMax = 16 << 20
)

// replyConsumer is a channel's consumer of direct replies.
type replyConsumer struct {
	tag     string
	address string // "" = there is none
}

// consumeReplies takes a basic.consume of the queue that is none.
func (ch *channel) consumeReplies(m *wire.BasicConsume) *exception {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ch.consumes(m.ConsumerTag):
		return exceptionf(notAllowed, m.ID(), "attempt to reuse consumer tag '%s'", m.ConsumerTag)
	case !m.NoAck:
		return exceptionf(preconditionFailed, m.ID(), "reply consumer cannot acknowledge")
	case ch.replies.address != "":
		return exceptionf(preconditionFailed, m.ID(), "reply consumer already set")
	case ch.state() != channelOpen:
		return nil
	}
	ch.replies = replyConsumer{consumerTag(m.ConsumerTag), c.server.broker.OpenReplyAddress(ch)}
	if !m.NoWait {
		ch.replyLocally(&wire.BasicConsumeOk{ConsumerTag: ch.replies.tag})
	}
	return nil
}

// cancelReplies takes a basic.cancel, if it is of the channel's consumer of replies.
func (ch *channel) cancelReplies(m *wire.BasicCancel) bool {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.replies.address == "" || ch.replies.tag != m.ConsumerTag {
		return false
	}
	ch.closeReplies()
	if !m.NoWait {
		ch.replyLocally(&wire.BasicCancelOk{ConsumerTag: m.ConsumerTag})
	}
	return true
}

// closeReplies ends the address: replies that come from now on are for nobody. Called with mu held.
func (ch *channel) closeReplies() {
	if ch.replies.address != "" {
		ch.conn.server.broker.CloseReplyAddress(ch.replies.address)
		ch.replies = replyConsumer{}
	}
}

// closeReplies ends the addresses of all channels.
func (c *connection) closeReplies() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.channels {
		ch.closeReplies()
	}
}

// TakeReply implements broker.ReplyTaker. The delivery tag is that of the channel's next delivery, as in RabbitMQ: there is nothing to acknowledge.
func (ch *channel) TakeReply(r broker.DirectReply) bool {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseRunning || ch.state() != channelOpen || ch.replies.address != r.Address || c.unwritten() > unreadRepliesMax {
		return false
	}
	m := wire.BasicDeliver{ConsumerTag: ch.replies.tag, DeliveryTag: ch.lastTag + 1, RoutingKey: []byte(replyPrefix + r.Address)}
	b := c.encoder()
	b.b = m.AppendFrame(b.b, ch.id())
	b.b = wire.AppendContent(b.b, ch.id(), c.tuned.FrameMax, r.Properties, r.Body)
	c.signalWriter()
	return true
}

// declareReplies answers a declare of the queue that is none, or of an address.
func (ch *channel) declareReplies(name string, m *wire.QueueDeclare) (*exception, error) {
	c := ch.conn
	if err := c.submit(); err != nil { // what came before must not wait for another node
		return nil, err
	}
	address, isAddress := strings.CutPrefix(name, replyPrefix)
	c.held.Store(true)
	open := name == directReplyTo || isAddress && c.server.broker.ReplyAddressOpen(c.ctx, address)
	c.held.Store(false)
	if !open {
		return exceptionf(notFound, m.ID(), "no queue '%s' in vhost '%s'", name, c.vhost), nil
	}
	ch.lastQueue = name
	if !m.NoWait {
		ch.expectLocal(&wire.QueueDeclareOk{Queue: name, ConsumerCount: 1})
	}
	return nil, nil
}

// readdress returns a request's properties with the address for its reply.
func (ch *channel) readdress(properties []byte) ([]byte, *exception) {
	c := ch.conn
	c.mu.Lock()
	address := ch.replies.address
	c.mu.Unlock()
	if address == "" {
		return nil, exceptionf(preconditionFailed, wire.IDBasicPublish, "fast reply consumer does not exist")
	}
	p, err := content.DecodeProperties(properties)
	if err != nil {
		return nil, malformed(wire.IDBasicPublish, err) // never: they were scanned
	}
	p.ReplyTo = replyPrefix + address
	return p.Append(nil), nil
}

// isDirectReply tells a reply from a publish to a queue.
func (a *assembly) isDirectReply() bool {
	return len(a.exchange) == 0 && bytes.HasPrefix(a.key, []byte(replyPrefix))
}

// beginReply takes the content header of a reply, which needs the permission of any publish to the default exchange. It gathers in a buffer of its own, properties first, and becomes no command.
func (ch *channel) beginReply(header *wire.ContentHeader) (*exception, error) {
	a := &ch.content
	if why := ch.conn.server.broker.ReplyRefused(ch.conn.vhost, ch.conn.user); why != "" {
		return &exception{accessRefused, why, wire.IDBasicPublish}, nil
	}
	a.reply = &outgoingReply{
		address: string(a.key[len(replyPrefix):]), mandatory: a.command.Mandatory, confirm: a.command.Confirm, propertiesSize: len(a.command.Properties),
	}
	a.own = ownBuffer(len(a.command.Properties) + int(header.BodySize))
	a.own.b = append(a.own.b, a.command.Properties...)
	ch.conn.partial += len(a.own.b)
	a.command.Properties = nil // they alias the read buffer
	a.missing = int(header.BodySize)
	if a.missing == 0 {
		a.wants = wantsMethod
		return ch.finishOwn()
	}
	a.wants = wantsBody
	return nil, nil
}

// takeReply takes the finished reply out of the assembly.
func (ch *channel) takeReply() *outgoingReply {
	a := &ch.content
	r := a.reply
	r.content = a.own
	a.reply, a.own = nil, nil
	ch.conn.partial -= len(r.content.b)
	ch.unreserve()
	return r
}

// outgoingReply is a reply that a client publishes.
type outgoingReply struct {
	address        string
	mandatory      bool
	confirm        uint64 // number of the publish; 0 outside confirm mode
	propertiesSize int
	content        *buffer // properties and body
}

func (r *outgoingReply) properties() []byte { return r.content.b[:r.propertiesSize:r.propertiesSize] }
func (r *outgoingReply) body() []byte       { return r.content.b[r.propertiesSize:] }

// sendReply hands a reply to the broker. A confirm says that it is on its way and no more: a direct reply is kept nowhere. Where it is mandatory, the
// requester's node tells whether it was delivered.
func (ch *channel) sendReply(r *outgoingReply) {
	c := ch.conn
	var outcome func(taken bool)
	if r.mandatory {
		outcome = func(taken bool) {
			ch.replySent(r, taken)
			r.content.free()
		}
	}
	c.held.Store(true)
	c.server.broker.SendReply(c.ctx, broker.DirectReply{Address: r.address, Properties: r.properties(), Body: r.body()}, outcome)
	c.held.Store(false)
	if !r.mandatory {
		ch.replySent(r, true)
		r.content.free()
	}
}

// replySent returns a mandatory reply that found nobody, and confirms. Any goroutine.
func (ch *channel) replySent(r *outgoingReply, taken bool) {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseRunning || ch.state() != channelOpen {
		return
	}
	if !taken {
		ch.returned(&fsm.Effect{RoutingKey: []byte(replyPrefix + r.address), Properties: r.properties(), Body: r.body()})
	}
	if r.confirm > 0 {
		ch.settled(&fsm.Effect{Confirm: r.confirm})
	}
	c.flushConfirms()
	if c.out != nil {
		c.signalWriter()
	}
}
