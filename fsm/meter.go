package fsm

import "github.com/triagemq/triagemq/fsm/route"

// Counter names one of the things that meters count.
type Counter uint8

// Counters, as RabbitMQ's management API names them. Of a queue: PublishCount to RedeliverCount where they make sense; of a virtual host: all, the
// last two for its default exchange; of an exchange: the last two.
const (
	PublishCount          Counter = iota // messages that came in: of a virtual host those published, of a queue those enqueued
	ConfirmCount                         // publishes confirmed
	ReturnUnroutableCount                // mandatory messages that no queue took
	DropUnroutableCount                  // other messages that no queue took
	DeliverCount                         // deliveries to consumers that acknowledge
	DeliverNoAckCount                    // deliveries to consumers that do not
	GetCount                             // messages got that are to be acknowledged
	GetNoAckCount                        // messages got that are not
	GetEmptyCount                        // gets that found nothing, but for those that a probe answered
	AckCount                             // acknowledgements
	RedeliverCount                       // deliveries and gets of messages that had been delivered before
	PublishInCount                       // messages published to an exchange
	PublishOutCount                      // queues that took them

	CounterCount = iota
)

// Counters hold a number per Counter.
type Counters [CounterCount]uint64

// meter counts what happened to an object on this replica since it has its state. It is not replicated: a replica that started from a snapshot has
// seen less. It influences nothing.
type meter struct {
	counts     Counters
	taken      Reading // when TakeMoved saw it last
	serial     uint64  // of the object, once something was counted
	lastMillis int64   // when something was; 0 = never
	moved      bool    // in State.moved
}

// movedMax bounds what waits for TakeMoved where nobody takes it.
const movedMax = 1 << 20

// count counts.
func (s *State) count(m *meter, serial uint64, c Counter, n int) {
	m.counts[c] += uint64(n)
	m.lastMillis = s.nowMillis
	if !m.moved {
		s.noteMoved(m, serial)
	}
}

func (s *State) noteMoved(m *meter, serial uint64) {
	if len(s.moved) < movedMax {
		m.serial, m.moved = serial, true
		s.moved = append(s.moved, m)
	}
}

// countQueue counts for a queue and its virtual host.
func (s *State) countQueue(q *queue, c Counter) {
	s.count(&q.meter, q.serial, c, 1)
	s.count(&q.vhost.meter, q.vhost.serial, c, 1)
}

// countPublish counts a message that a client published to an exchange, nil for the default one, and that some queues took.
func (s *State) countPublish(v *vhost, x *exchange, mandatory bool, queues int) {
	m, serial := &v.meter, v.serial
	s.count(m, serial, PublishCount, 1)
	switch {
	case queues > 0:
	case mandatory:
		s.count(m, serial, ReturnUnroutableCount, 1)
	default:
		s.count(m, serial, DropUnroutableCount, 1)
	}
	if x != nil {
		m, serial = &x.meter, x.serial
	}
	s.count(m, serial, PublishInCount, 1)
	s.count(m, serial, PublishOutCount, queues)
}

// countDelivered counts a message that was handed out.
func (s *State) countDelivered(q *queue, acked, unacked Counter, noAck, redelivered bool) {
	if noAck {
		acked = unacked
	}
	s.countQueue(q, acked)
	if redelivered {
		s.countQueue(q, RedeliverCount)
	}
}

// Reading is what a meter and its queue show at one time.
type Reading struct {
	Counts      Counters
	Ready, Held int // of a queue
}

// Moved is a meter that counted something between two readings.
type Moved struct {
	Serial      uint64 // of a queue, an exchange or a virtual host
	Before, Now Reading
}

// TakeMoved appends the meters that counted something since they were last taken, max of them, and reports whether there are more. It changes what
// no command sees; whoever calls it excludes Apply and the views.
func (s *State) TakeMoved(into []Moved, max int) (_ []Moved, more bool) {
	for ; len(s.moved) > 0 && max > 0; max-- {
		last := len(s.moved) - 1
		m := s.moved[last]
		s.moved[last] = nil
		s.moved = s.moved[:last]
		m.moved = false
		before := m.taken
		m.taken = s.reading(m)
		into = append(into, Moved{Serial: m.serial, Before: before, Now: m.taken})
	}
	return into, len(s.moved) > 0
}

func (s *State) reading(m *meter) Reading {
	r := Reading{Counts: m.counts}
	if q := s.targets[route.Dest(m.serial)].queue; q != nil {
		r.Ready, r.Held = q.ready(), q.held()
	}
	return r
}

// MeterView is what a meter shows.
type MeterView struct {
	Counts     Counters
	LastMillis int64 // virtual time of the last thing counted, 0 = none
}

func (m *meter) view() MeterView { return MeterView{Counts: m.counts, LastMillis: m.lastMillis} }
