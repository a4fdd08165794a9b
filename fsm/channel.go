package fsm

import (
	"math"
	"slices"

	"github.com/triagemq/triagemq/fsm/store"
)

// channel is one incarnation of a channel.
//
//	OpenChannel ──► open ──ChannelFailed──► failed ──CloseChannel, or OpenChannel of the next incarnation──► gone
//	                 └──────────────CloseChannel, end of the session──────────────────────────────────────► gone
//
// A failed incarnation holds nothing and has no consumers; it stays so that its commands still on the way are known to be stale.
type channel struct {
	cold
	serial      uint64
	session     *session
	number      uint16
	incarnation uint32
	failed      bool
	ended       bool
	confirms    bool // a publish asked for a confirm (not replicated, for views)
	lastTag     uint64
	unacked     store.Unacked
	limitEach   uint16 // qos of each consumer, present and future; 0 = none
	limitShared uint16 // qos of all consumers together; 0 = none
	held        int    // unacked deliveries to consumers, what cancelled ones left included; basic.get does not count (derived)
	consumers   []*consumer
	byTag       map[string]*consumer
	turn        uint64   // serial of the consumer served last while a shared limit holds: the next one waiting goes first
	evicting    []uint64 // serials of timed-out consumers whose messages a remainder is still returning

	alarm // when something held may be overdue
}

func (ch *channel) ref() Ref {
	return Ref{Conn: ch.session.conn, Channel: ch.number, Incarnation: ch.incarnation}
}

// channel finds the channel that a command addresses; nil when it must be skipped.
func (o *origin) channel(ref Ref) *channel {
	ses := o.sessions[ref.Conn]
	if ses == nil {
		return nil
	}
	ch := ses.channels[ref.Channel]
	if ch == nil || ch.incarnation != ref.Incarnation || ch.failed {
		return nil
	}
	return ch
}

func (s *State) openChannel(o *origin, ref Ref) {
	ses := o.sessions[ref.Conn]
	if ses == nil || ref.Channel == 0 {
		return
	}
	if old := ses.channels[ref.Channel]; old != nil {
		if ref.Incarnation <= old.incarnation {
			return
		}
		s.removeConsumers(old)
		s.endChannel(old, store.ReturnConnection)
	}
	if u := ses.account; u != nil && reached(u.channelsMax, u.channels) {
		s.failSession(ses, KindOpenChannel, refuse(NotAllowed, "number of channels opened for user '%s' has reached the maximum allowed user limit of (%d)",
			u.name, u.channelsMax))
		return
	}
	ch := &channel{serial: s.nextSerial(), session: ses, number: ref.Channel, incarnation: ref.Incarnation}
	ses.channels[ch.number] = ch
	ses.countChannels(1)
	o.churn.ChannelsCreated++
	s.touch(ch)
}

// closeChannel answers in any case: a channel that failed, or whose session did, has a client that waits for close-ok.
func (s *State) closeChannel(o *origin, ref Ref) {
	if ses := o.sessions[ref.Conn]; ses != nil {
		if ch := ses.channels[ref.Channel]; ch != nil && ch.incarnation == ref.Incarnation {
			s.removeConsumers(ch)
			s.endChannel(ch, store.ReturnConnection)
		}
	}
	if s.mine == o {
		s.emitNode(Effect{Kind: Replied, Ref: ref, Command: KindCloseChannel})
	}
}

// failed turns a refusal into its exception.
func (s *State) failed(ch *channel, kind CommandKind, r *refusal) {
	switch {
	case r == nil:
	case r.session:
		s.failSession(ch.session, kind, r)
	default:
		s.failChannel(ch, kind, r)
	}
}

// failChannel is a channel exception: the client must close the channel, and whatever it sent before it knew is void.
func (s *State) failChannel(ch *channel, kind CommandKind, r *refusal) {
	s.emit(ch.session, Effect{Kind: ChannelFailed, Ref: ch.ref(), Command: kind, Code: r.code, Text: r.text, Reject: r.reject})
	s.removeConsumers(ch)
	s.returnAll(ch)
	ch.failed = true
	s.touch(ch)
}

// returnAll gives everything that a channel holds back to its queues and forgets its tags.
func (s *State) returnAll(ch *channel) {
	s.settleUpTo(ch, math.MaxUint64, lostByConnection)
	s.disarm(ch)
	ch.unacked = store.Unacked{} // what is left are void tags
	ch.held = 0
	ch.evicting = nil
}

// endChannel takes a channel without consumers out of the state.
func (s *State) endChannel(ch *channel, cause store.ReturnCause) {
	how := lostByConnection
	if cause == store.ReturnNode {
		how = lostByNode
	}
	ch.ended = true
	s.settleUpTo(ch, math.MaxUint64, how)
	s.disarm(ch)
	delete(ch.session.channels, ch.number)
	ch.session.countChannels(-1)
	ch.session.origin.churn.ChannelsClosed++
	s.forget(ch)
}

// count counts a delivery that a consumer of the channel got or gave back.
func (ch *channel) count(consumer uint64, n int) (c *consumer) {
	if consumer == 0 || ch == nil || ch.ended || ch.failed {
		return nil
	}
	ch.held += n
	if c = ch.consumer(consumer); c != nil {
		c.held += n
	}
	return c
}

// consumer finds a consumer by serial.
func (ch *channel) consumer(serial uint64) *consumer {
	if len(ch.consumers) == 1 && ch.consumers[0].serial == serial { // by far the most frequent
		return ch.consumers[0]
	}
	i, ok := slices.BinarySearchFunc(ch.consumers, serial, compareSerial)
	if !ok {
		return nil
	}
	return ch.consumers[i]
}
