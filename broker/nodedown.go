package broker

import (
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	nodeDownAfter = 15 * time.Second
	nodeDownAgain = 2 * time.Second // an OriginDown that is not applied by then is proposed again
	// pauseAfter is the gap between two looks that tells that this process did not run, in which case the others' silence is our own.
	pauseAfter = 3 * time.Second
)

// silence is since when this leader may hold silence against others.
type silence struct {
	since time.Time // the term's beginning, or the end of a pause
	last  time.Time // the last look
	asked map[fsm.Origin]time.Time
}

// closeSilent closes the origins of nodes that are gone: every open one in the state, member or not, and again while it stays open.
func (d *duties) closeSilent(now time.Time) {
	if now.Sub(d.silence.last) > pauseAfter {
		d.silence.since = now
	}
	if d.silence.asked == nil {
		d.silence.asked = map[fsm.Origin]time.Time{}
	}
	d.silence.last = now
	n := d.node
	var origins []fsm.OriginInfo
	n.replica.view(func(s *fsm.State) { origins = s.Origins() })
	boots := map[string]uint64{}
	for _, m := range n.log.Members() {
		boots[m.Node] = m.Boot
	}
	for _, o := range origins {
		if !o.Open || o.Node == n.self {
			continue
		}
		heard := n.log.LastHeard(o.Node)
		if heard.Before(d.silence.since) {
			heard = d.silence.since
		}
		newer := boots[o.Node] > o.Boot
		if (newer || now.Sub(heard) >= nodeDownAfter) && now.Sub(d.silence.asked[o.Origin]) >= nodeDownAgain {
			d.silence.asked[o.Origin] = now
			n.logger.Info("closing the origin of a node that is gone", "node", o.Node, "boot", o.Boot, "newer_boot_seen", newer)
			d.propose(fsm.AppendOriginDown(nil, o.Origin), "origin down")
		}
	}
}
