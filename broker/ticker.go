package broker

import (
	"math"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	tickRetry = time.Second // a Tick whose apply is not seen by then is proposed again
	tickWait  = time.Hour   // longest sleep: deadlines are looked at again then, at no cost
)

// tick proposes a Tick if the earliest deadline is due, and returns how long to sleep. A Tick is proposed again only after an entry was applied meanwhile and
// there is still something to do: so at most one is in each entry, and an idle cluster writes none.
func (d *duties) tick() time.Duration {
	d.armedMillis.Store(math.MaxInt64) // an apply between the reading and the arming must wake
	var deadline int64
	var due bool
	d.node.replica.view(func(s *fsm.State) { deadline, due = s.NextDeadline() })
	if !due {
		return tickWait
	}
	if wait := deadline - d.clock.nowMillis(); wait > 0 {
		d.armedMillis.Store(deadline)
		return min(tickWait, time.Duration(wait)*time.Millisecond)
	}
	d.propose(fsm.AppendTick(nil), "tick")
	return tickRetry
}

// applied is told of every entry applied while this node leads: an earlier deadline than the one armed, or a Tick that left something to do, wakes.
func (d *duties) applied(deadlineMillis int64, due bool) {
	if due && deadlineMillis < d.armedMillis.Load() {
		notify(d.wake)
	}
}
