package amqp

import (
	"slices"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// Confirms are numbered from 1 per channel by the reader and come back from apply. Those of one log entry that follow one
// another without a gap leave as one basic.ack with multiple: it costs the client one frame instead of hundreds. A basic.return or basic.nack between them
// ends the run: it keeps its place in the order of publishing.

// confirmRun is what of a channel is confirmed and not yet written. All below next is settled and told.
type confirmRun struct {
	next  uint64 // lowest number that was not told; 0 as long as none was
	first uint64 // of the run; 0 = there is none
	last  uint64
	early []uint64 // told while numbers below were open: direct replies, which do not wait for the log
}

// earlyConfirmsMax bounds confirmRun.early. Beyond it they are forgotten, and next stays: the channel's confirms are then written one by one.
const earlyConfirmsMax = 1024

func (ch *channel) selectConfirms(m *wire.ConfirmSelect) *exception {
	if ch.tx != nil {
		return exceptionf(preconditionFailed, m.ID(), "cannot switch from tx to confirm mode")
	}
	ch.confirms = true
	if !m.NoWait {
		ch.expectLocal(&wire.ConfirmSelectOk{})
	}
	return nil
}

// settled takes a Published. Called with mu held.
func (ch *channel) settled(e *fsm.Effect) {
	if e.Code != fsm.OK {
		ch.flushConfirms()
		ch.refused(e)
		return
	}
	r := &ch.run
	if r.first != 0 && e.Confirm == r.last+1 {
		r.last = e.Confirm
		return
	}
	if r.first == 0 {
		ch.conn.confirming = append(ch.conn.confirming, ch)
	} else {
		ch.writeRun()
	}
	r.first, r.last = e.Confirm, e.Confirm
}

// refused tells of a publish that was enqueued nowhere; clients that announced it learn why.
func (ch *channel) refused(e *fsm.Effect) {
	b := ch.conn.encoder()
	if ch.conn.client.nackReason {
		why := exception{code: resourceError, text: e.Text}
		m := wire.BasicReturn{ReplyCode: uint16(why.code), ReplyText: why.replyText(), Exchange: e.Exchange, RoutingKey: e.RoutingKey}
		b.b = m.AppendFrame(b.b, ch.id())
		b.b = wire.AppendContent(b.b, ch.id(), ch.conn.tuned.FrameMax, e.Properties, e.Body)
	}
	b.b = (&wire.BasicNack{DeliveryTag: e.Confirm}).AppendFrame(b.b, ch.id())
	ch.run.told(e.Confirm, e.Confirm)
}

// told notes that all of first..last were written. Numbers below that are still open keep next where it is.
func (r *confirmRun) told(first, last uint64) {
	if first > r.next && first != 1 {
		for n := first; n <= last && len(r.early) < earlyConfirmsMax; n++ {
			r.early = append(r.early, n)
		}
		return
	}
	r.next = max(r.next, last+1)
	for i := slices.Index(r.early, r.next); i >= 0; i = slices.Index(r.early, r.next) {
		r.early = slices.Delete(r.early, i, i+1)
		r.next++
	}
}

// flushConfirms writes the channel's run, if there is one. Called with mu held.
func (ch *channel) flushConfirms() {
	if ch.run.first == 0 {
		return
	}
	ch.writeRun()
	ch.run.first = 0
}

// writeRun acks the run, with multiple where nothing below it is open.
func (ch *channel) writeRun() {
	r := &ch.run
	b := ch.conn.encoder()
	if r.first == 1 || r.first == r.next {
		m := wire.BasicAck{DeliveryTag: r.last, Multiple: r.last > r.first}
		b.b = m.AppendFrame(b.b, ch.id())
	} else {
		for n := r.first; n <= r.last; n++ {
			b.b = (&wire.BasicAck{DeliveryTag: n}).AppendFrame(b.b, ch.id())
		}
	}
	r.told(r.first, r.last)
}

// flushConfirms writes the runs of all channels. Called with mu held.
func (c *connection) flushConfirms() {
	for i, ch := range c.confirming {
		ch.flushConfirms()
		c.confirming[i] = nil
	}
	c.confirming = c.confirming[:0]
}
