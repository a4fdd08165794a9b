package amqp

import (
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// A consumer is sent messages within a window that the broker knows as granted messages and bytes: prefetch limits what may be
// unacknowledged, the window what may lie between apply and the client's socket. It is refilled, half a window at a time, with
// what the socket has really taken; a client that does not read stops its own deliveries and nobody else's.

// consumer is the window of one consumer. All fields are guarded by connection.mu.
type consumer struct {
	ref      fsm.Ref
	tag      string
	messages uint32 // the window
	bytes    uint32

	encoded tally // in the output buffer
	taken   tally // by the writer, not yet written
	written tally // and not yet granted again
	listed  bool  // in connection.delivered
	due     bool  // in connection.due
	gone    bool
}

type tally struct {
	messages uint32
	bytes    uint64
}

func (t *tally) add(other tally) {
	t.messages += other.messages
	t.bytes += other.bytes
}

// windowBytesMin is the least window in bytes: a consumer may always be sent one message more than its window holds.
const windowBytesMin = 32 << 10

// newConsumer sizes the window. Many consumers on one connection share the bytes: its socket drains no faster for them.
// Called with mu held.
func (ch *channel) newConsumer(tag string) *consumer {
	c := ch.conn
	others := c.consumerCount()
	ch.windows++
	bytes := max(int(c.config.WindowBytes)/(others+1), min(windowBytesMin, int(c.config.WindowBytes)))
	return &consumer{ref: ch.ref, tag: tag, messages: c.config.WindowMessages, bytes: uint32(bytes)}
}

// consumerCount is how many consumers the connection has, or asked for. Called with mu held.
func (c *connection) consumerCount() (n int) {
	for _, ch := range c.channels {
		n += ch.windows
	}
	return n
}

// consumerStarted follows the state machine, not the reader: a client may cancel a tag and consume with it again in one write,
// and the end of the first must not take the window of the second away.
func (ch *channel) consumerStarted(window *consumer) {
	ch.consumerGone(window.tag) // one that the broker cancelled without a word
	if ch.consumers == nil {
		ch.consumers = make(map[string]*consumer)
	}
	ch.consumers[window.tag] = window
	ch.lastServed = window
}

// countDelivery counts a message that was encoded. Called with mu held, as all that follow.
func (c *connection) countDelivery(consumer *consumer, bodyBytes int) {
	consumer.encoded.add(tally{1, uint64(bodyBytes)})
	if !consumer.listed {
		consumer.listed = true
		c.delivered = append(c.delivered, consumer)
	}
}

// take follows the output buffer into the writer.
func (c *consumer) take() {
	c.taken.add(c.encoded)
	c.encoded = tally{}
	c.listed = false
}

// drained notes that what was taken is written and reports whether a grant became due.
func (c *consumer) drained() bool {
	c.written.add(c.taken)
	c.taken = tally{}
	if c.gone || c.due || 2*c.written.messages < c.messages && 2*c.written.bytes < uint64(c.bytes) {
		return false
	}
	c.due = true
	return true
}

// appendGrants turns what is due into commands and reports whether there was any. It runs on the reader.
func (c *connection) appendGrants() bool {
	if len(c.due) == 0 {
		return false
	}
	b := c.beginCommand()
	for i, consumer := range c.due {
		c.due[i] = nil
		consumer.due = false
		if consumer.gone {
			continue
		}
		grant := fsm.Grant{Ref: consumer.ref, Tag: consumer.tag, Messages: consumer.written.messages, Bytes: uint32(consumer.written.bytes)}
		consumer.written = tally{}
		b.b = grant.Append(b.b)
	}
	c.due = c.due[:0]
	return true
}

// consumer finds a consumer by tag; messages come in runs.
func (ch *channel) consumer(tag string) *consumer {
	if last := ch.lastServed; last != nil && last.tag == tag {
		return last
	}
	found := ch.consumers[tag]
	if found != nil {
		ch.lastServed = found
	}
	return found
}

func (ch *channel) consumerGone(tag string) {
	if found := ch.consumers[tag]; found != nil {
		found.gone = true
		ch.windows--
		delete(ch.consumers, tag)
	}
	ch.lastServed = nil
}

func (ch *channel) handleConsume(m *wire.BasicConsume) *exception {
	if m.Queue == directReplyTo {
		return ch.consumeReplies(m)
	}
	name, x := ch.queueName(m.Queue, m.ID())
	if x != nil {
		return x
	}
	tag := consumerTag(m.ConsumerTag)
	c := ch.conn
	c.mu.Lock()
	if c.consumerCount() >= consumersWhenShort && c.server.broker.MemoryShort() {
		c.mu.Unlock()
		return memoryShort(m.ID())
	}
	window := ch.newConsumer(tag)
	c.mu.Unlock()
	ch.ask(&fsm.Consume{
		Ref: ch.ref, Queue: name, Tag: tag, NoAck: m.NoAck, Exclusive: m.Exclusive, Arguments: m.Arguments,
		GrantMessages: window.messages, GrantBytes: window.bytes,
	}, expectation{command: fsm.KindConsume, ok: wire.IDBasicConsumeOk, asked: m.ID(), window: window}, m.NoWait)
	return nil
}

// consumerTag is the client's, or a new one.
func consumerTag(asked string) string {
	if asked == "" {
		return uniqueName("amq.ctag-")
	}
	return asked
}

// consumes tells whether the tag is taken, by a consumer that is there or being started. Called with mu held.
func (ch *channel) consumes(tag string) bool {
	return ch.consumers[tag] != nil || ch.expected.contains(func(x expectation) bool { return x.window != nil && x.window.tag == tag })
}

func (ch *channel) handleCancel(m *wire.BasicCancel) {
	if ch.cancelReplies(m) {
		return
	}
	ch.ask(&fsm.Cancel{Ref: ch.ref, Tag: m.ConsumerTag},
		expectation{command: fsm.KindCancel, ok: wire.IDBasicCancelOk, asked: m.ID()}, m.NoWait)
}

// cancelled takes a ConsumerCancelled. Called with mu held.
func (ch *channel) cancelled(e *fsm.Effect) {
	ch.consumerGone(e.Consumer)
	if ch.conn.client.cancelNotify {
		b := ch.conn.encoder()
		b.b = (&wire.BasicCancel{ConsumerTag: e.Consumer, NoWait: true}).AppendFrame(b.b, ch.id())
	}
}
