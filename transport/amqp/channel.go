package amqp

import (
	"sync/atomic"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// channelState is where an incarnation of a channel stands.
//
//	         ┌─ we find a fault ─▶ failing ─┐ CloseChannel applied: our channel.close follows all earlier effects
//	open ────┤                              ▼
//	  │      └─ ChannelFailed ──────────▶ failed ── close-ok ─────────────────────▶ gone
//	  │                                     └────── the client's close, answered ─▶ crossed ── close-ok ─▶ gone
//	  └─ the client's close ─▶ closing ── CloseChannel applied: close-ok ─────────▶ gone
//	                              └────── ChannelFailed, then CloseChannel applied ▶ crossed
//
// In every state but open, all else that the client sends on the channel is dropped. crossed and gone may be opened again.
type channelState uint32

const (
	channelOpen    channelState = iota
	channelFailing              // CloseChannel is submitted, channel.close not yet sent
	channelFailed               // channel.close is sent, close-ok is awaited
	channelClosing              // CloseChannel is submitted for the client's close
	channelCrossed              // both sides closed; the client's close-ok may still come
	channelGone
)

// channel is one incarnation.
type channel struct {
	conn *connection
	ref  fsm.Ref

	// The reader's own.
	content    assembly
	confirms   bool
	tx         *transaction // nil: not transactional
	published  uint64       // number of the last publish in confirm mode
	lastQueue  string       // what an empty queue name means
	closeAsked bool         // CloseChannel is submitted, which ends the incarnation in the state

	// Changed with connection.mu held; the reader reads the state without.
	atState     atomic.Uint32
	failure     *exception // what failing will tell
	alsoCloseOk bool       // failing, closing: the client and we both closed
	expected    expectations
	run         confirmRun
	consumers   map[string]*consumer // those that the state machine has, by tag
	windows     int                  // the same, and those that are being started
	lastServed  *consumer
	lastTag     uint64        // of the last delivery
	replies     replyConsumer // of direct replies
	gets        int
	delivered   uint64 // the last delivery tag
}

func (ch *channel) state() channelState     { return channelState(ch.atState.Load()) }
func (ch *channel) setState(s channelState) { ch.atState.Store(uint32(s)) }
func (ch *channel) id() uint16              { return ch.ref.Channel }

// openChannel takes a frame of a channel that is not open: only channel.open is right.
func (c *connection) openChannel(f wire.Frame) error {
	if f.Type != wire.FrameMethod {
		return exceptionf(unexpectedFrame, 0, "expected method frame, got non method frame instead")
	}
	id, arguments, err := wire.SplitMethod(f.Payload)
	if err != nil {
		return malformed(0, err)
	}
	if id == wire.IDChannelCloseOk {
		return nil // left over from closing at the same time
	}
	if wire.NewMethod(id) == nil {
		return exceptionf(commandInvalid, id, "unknown method %v", id)
	}
	if id != wire.IDChannelOpen {
		return exceptionf(channelError, id, "expected 'channel.open'")
	}
	var m wire.ChannelOpen
	if err := m.Decode(arguments); err != nil {
		return malformed(id, err)
	}
	if f.Channel > c.tuned.ChannelMax {
		return exceptionf(notAllowed, id, "channel number %d is above the negotiated channel_max (%d)", f.Channel, c.tuned.ChannelMax)
	}
	c.lastOpened++
	ch := &channel{conn: c, ref: fsm.Ref{Conn: c.session.Conn(), Channel: f.Channel, Incarnation: c.lastOpened}}
	b := c.beginCommand()
	b.b = (&fsm.OpenChannel{Ref: ch.ref}).Append(b.b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channels[f.Channel] = ch
	c.encoder().b = (&wire.ChannelOpenOk{}).AppendFrame(c.out.b, f.Channel)
	c.signalWriter()
	return nil
}

// handleFrame takes a frame of a channel that was opened at some time. A channel exception ends in here.
func (ch *channel) handleFrame(f wire.Frame) error {
	if ch.state() != channelOpen {
		return ch.handleClosedFrame(f)
	}
	var x *exception
	var err error
	switch f.Type {
	case wire.FrameHeader:
		x, err = ch.handleHeader(f.Payload)
	case wire.FrameBody:
		x, err = ch.handleBody(f.Payload)
	default:
		x, err = ch.handleMethodFrame(f.Payload)
	}
	switch {
	case err != nil:
		return err
	case x == nil:
		return nil
	case x.code.endsConnection():
		return x
	}
	ch.fail(x)
	return nil
}

func (ch *channel) handleMethodFrame(payload []byte) (*exception, error) {
	id, arguments, err := wire.SplitMethod(payload)
	if err != nil {
		return malformed(0, err), nil
	}
	if x := ch.content.interrupted(); x != nil {
		return x, nil
	}
	switch id { // what comes with every message, without allocation
	case wire.IDBasicPublish:
		return ch.handlePublish(arguments), nil
	case wire.IDBasicAck:
		return ch.handleAck(arguments), nil
	}
	m := wire.NewMethod(id)
	if m == nil {
		return exceptionf(commandInvalid, id, "unknown method %v", id), nil
	}
	if err := m.Decode(arguments); err != nil {
		return malformed(id, err), nil
	}
	return ch.handleMethod(m)
}

// handleMethod is the table of what a client may send on a channel.
func (ch *channel) handleMethod(m wire.Method) (*exception, error) {
	switch m := m.(type) {
	case *wire.ChannelOpen:
		return exceptionf(channelError, m.ID(), "second 'channel.open' seen"), nil
	case *wire.ChannelFlow:
		return ch.handleFlow(m), nil
	case *wire.ChannelClose:
		ch.handleClose()
		return nil, nil
	case *wire.ChannelCloseOk:
		return nil, nil // left over from closing at the same time
	case *wire.AccessRequest:
		ch.expectLocal(&wire.AccessRequestOk{Ticket: 1})
		return nil, nil
	case *wire.ExchangeDeclare:
		return ch.declareExchange(m)
	case *wire.ExchangeDelete:
		ch.deleteExchange(m)
		return nil, nil
	case *wire.ExchangeBind:
		return ch.bindExchange(m)
	case *wire.ExchangeUnbind:
		ch.unbindExchange(m)
		return nil, nil
	case *wire.QueueDeclare:
		return ch.declareQueue(m)
	case *wire.QueueBind:
		return ch.bindQueue(m)
	case *wire.QueueUnbind:
		return ch.unbindQueue(m), nil
	case *wire.QueuePurge:
		return ch.purgeQueue(m), nil
	case *wire.QueueDelete:
		return ch.deleteQueue(m), nil
	case *wire.BasicQos:
		return ch.handleQos(m), nil
	case *wire.BasicConsume:
		return ch.handleConsume(m), nil
	case *wire.BasicCancel:
		ch.handleCancel(m)
		return nil, nil
	case *wire.BasicGet:
		return ch.handleGet(m)
	case *wire.BasicReject:
		return ch.nack(m.DeliveryTag, settle{method: m.ID(), requeue: m.Requeue}), nil
	case *wire.BasicNack:
		return ch.nack(m.DeliveryTag, settle{method: m.ID(), multiple: m.Multiple, requeue: m.Requeue}), nil
	case *wire.BasicRecover:
		return ch.handleRecover(m.ID(), m.Requeue), nil
	case *wire.BasicRecoverAsync:
		return ch.handleRecover(m.ID(), m.Requeue), nil
	case *wire.ConfirmSelect:
		return ch.selectConfirms(m), nil
	case *wire.TxSelect:
		return ch.selectTx(m), nil
	case *wire.TxCommit:
		return ch.commitTx(m)
	case *wire.TxRollback:
		return ch.rollbackTx(m), nil
	}
	if m.ID().Class() == wire.IDConnectionOpen.Class() {
		return exceptionf(commandInvalid, m.ID(), "%v belongs on channel 0", m.ID()), nil
	}
	return exceptionf(commandInvalid, m.ID(), "%v is not for a client to send", m.ID()), nil
}

// handleFlow: we always send, so turning flow off is what RabbitMQ refuses too.
func (ch *channel) handleFlow(m *wire.ChannelFlow) *exception {
	if !m.Active {
		return exceptionf(notImplemented, m.ID(), "active=false")
	}
	ch.expectLocal(&wire.ChannelFlowOk{Active: true})
	return nil
}

// handleClose begins the client's close: close-ok comes when the state machine has returned what the channel held.
func (ch *channel) handleClose() {
	c := ch.conn
	c.mu.Lock()
	if ch.state() == channelOpen { // it may have failed this moment
		ch.setState(channelClosing)
		c.mu.Unlock()
		ch.askClose()
		return
	}
	c.mu.Unlock()
	ch.crossClose()
}

// fail begins our own close. What came before must be answered first, in order, so the exception follows CloseChannel.
func (ch *channel) fail(x *exception) {
	c := ch.conn
	c.mu.Lock()
	if ch.state() != channelOpen {
		c.mu.Unlock()
		return
	}
	ch.setState(channelFailing)
	ch.failure = x
	c.mu.Unlock()
	ch.askClose()
}

// askClose submits CloseChannel, once.
func (ch *channel) askClose() {
	ch.content.drop(ch)
	ch.forgetTx()
	if ch.closeAsked {
		return
	}
	ch.closeAsked = true
	b := ch.conn.beginCommand()
	b.b = (&fsm.CloseChannel{Ref: ch.ref}).Append(b.b)
}

// handleClosedFrame takes a frame of a channel that is not open any more: closing goes on, all else is dropped.
func (ch *channel) handleClosedFrame(f wire.Frame) error {
	c := ch.conn
	if ch.state() == channelGone {
		c.mu.Lock()
		delete(c.channels, ch.id())
		c.mu.Unlock()
		return c.openChannel(f)
	}
	ch.content.drop(ch)
	if f.Type != wire.FrameMethod {
		return nil
	}
	switch id, _, _ := wire.SplitMethod(f.Payload); id {
	case wire.IDChannelClose:
		ch.crossClose()
	case wire.IDChannelCloseOk:
		ch.closeAnswered()
	case wire.IDChannelOpen:
		if ch.state() == channelCrossed {
			return c.openChannel(f)
		}
	}
	return nil
}

// crossClose takes the client's close while ours is on its way or sent.
func (ch *channel) crossClose() {
	c := ch.conn
	c.mu.Lock()
	switch ch.state() {
	case channelFailing:
		ch.alsoCloseOk = true
	case channelFailed:
		c.encoder().b = (&wire.ChannelCloseOk{}).AppendFrame(c.out.b, ch.id())
		c.signalWriter()
		ch.setState(channelCrossed)
	}
	c.mu.Unlock()
	ch.askClose()
}

// closeAnswered takes close-ok.
func (ch *channel) closeAnswered() {
	c := ch.conn
	c.mu.Lock()
	if s := ch.state(); s == channelFailed || s == channelCrossed {
		ch.setState(channelGone)
	}
	c.mu.Unlock()
	ch.askClose()
}

// failedLocked tells the client of a channel exception. Called with mu held, from any goroutine.
func (ch *channel) failedLocked(x *exception) {
	c := ch.conn
	switch ch.state() {
	case channelOpen, channelFailing:
	case channelClosing: // the client awaits close-ok; it hears of the error first
		ch.alsoCloseOk = true
	default:
		return
	}
	c.sendChannelClose(ch, x)
	if ch.state() != channelClosing {
		ch.setState(channelFailed)
		if ch.alsoCloseOk {
			c.encoder().b = (&wire.ChannelCloseOk{}).AppendFrame(c.out.b, ch.id())
			ch.setState(channelCrossed)
		}
	}
	ch.forget()
}

func (c *connection) sendChannelClose(ch *channel, x *exception) {
	ch.flushConfirms()
	m := wire.ChannelClose{ReplyCode: uint16(x.code), ReplyText: x.replyText(), ClassID: x.method.Class(), MethodID: x.method.Method()}
	c.encoder().b = m.AppendFrame(c.out.b, ch.id())
}

// closedLocked takes the reply to CloseChannel. Called with mu held.
func (ch *channel) closedLocked() {
	c := ch.conn
	switch ch.state() {
	case channelFailing:
		ch.failedLocked(ch.failure)
	case channelClosing:
		ch.flushConfirms()
		c.encoder().b = (&wire.ChannelCloseOk{}).AppendFrame(c.out.b, ch.id())
		ch.setState(channelGone)
		if ch.alsoCloseOk {
			ch.setState(channelCrossed)
		}
	}
	ch.forget()
}

// forget drops what nothing refers to any more. Called with mu held.
func (ch *channel) forget() {
	c := ch.conn
	c.gets -= ch.gets
	ch.gets = 0
	if c.readerAt == placeRoom {
		c.wakeReader()
	}
	for _, consumer := range ch.consumers {
		consumer.gone = true
	}
	ch.consumers, ch.lastServed, ch.windows = nil, nil, 0
	ch.closeReplies()
	ch.expected = expectations{}
}
