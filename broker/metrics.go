package broker

import (
	"sync/atomic"

	"github.com/triagemq/triagemq/fsm"
)

// Counters are totals of this node since it started, for metrics and rates. The node counts outcomes; doors count what they decode.
type Counters struct {
	Published atomic.Uint64 // messages that clients of this node published (doors)
	Acked     atomic.Uint64 // acks, nacks and rejects that they sent (doors)

	Confirmed   atomic.Uint64 // publishes confirmed
	Refused     atomic.Uint64 // publishes nacked
	Returned    atomic.Uint64 // mandatory messages that no queue took
	Delivered   atomic.Uint64 // messages delivered to consumers
	Got         atomic.Uint64 // messages handed out by basic.get
	GetEmpty    atomic.Uint64 // basic.get that found nothing, those answered by a probe left out
	Redelivered atomic.Uint64 // of Delivered and Got, those delivered before
	Gaps        atomic.Uint64 // own batches that the log had out of turn: they were sent again
}

// Counters returns this node's counters.
func (n *Node) Counters() *Counters { return &n.counters }

func (c *Counters) count(e *fsm.Effect) {
	switch e.Kind {
	case fsm.Published:
		if e.Code == fsm.OK {
			c.Confirmed.Add(1)
		} else {
			c.Refused.Add(1)
		}
	case fsm.Delivered:
		if e.Get {
			c.Got.Add(1)
		} else {
			c.Delivered.Add(1)
		}
		if e.Redelivered {
			c.Redelivered.Add(1)
		}
	case fsm.Returned:
		c.Returned.Add(1)
	case fsm.Replied:
		if e.Empty {
			c.GetEmpty.Add(1)
		}
	}
}
