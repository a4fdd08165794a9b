package broker

import (
	"context"
	"sync"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	nodeDownAfter = 15 * time.Second
	nodeDownAgain = 2 * time.Second // an OriginDown that is not applied by then is proposed again
	// pauseAfter is the gap between two looks that tells that this process did not run, in which case the others' silence is our own.
	pauseAfter = 3 * time.Second

	// A node whose stream broke is looked at so often, at first after lookFirst and then after twice the time before: its process may be about to end, and
	// the others may see it a moment later. Then silence decides.
	lookTries = 7
	lookFirst = 10 * time.Millisecond
	lookBound = time.Second
	lostMax   = 64 // nodes that wait to be looked at
)

// silence is since when this leader may hold silence against others.
type silence struct {
	since time.Time // the term's beginning, or the end of a pause
	last  time.Time // the last look

	mu    sync.Mutex // guards what follows
	asked map[fsm.Origin]time.Time
}

// mayAsk reports whether it is time to propose OriginDown of an origin, and notes that it was done.
func (s *silence) mayAsk(o fsm.Origin, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = map[fsm.Origin]time.Time{}
	}
	if now.Sub(s.asked[o]) < nodeDownAgain {
		return false
	}
	s.asked[o] = now
	return true
}

// closeSilent closes the origins of nodes that are gone: every open one in the state, member or not, and again while it stays open.
func (d *duties) closeSilent(now time.Time) {
	if now.Sub(d.silence.last) > pauseAfter {
		d.silence.since = now
	}
	d.silence.last = now
	n := d.node
	boots := map[string]uint64{}
	for _, m := range n.log.Members() {
		boots[m.Node] = m.Boot
	}
	for _, o := range d.openOrigins() {
		heard := n.log.LastHeard(o.Node)
		if heard.Before(d.silence.since) {
			heard = d.silence.since
		}
		switch {
		case boots[o.Node] > o.Boot:
			d.closeOrigin(o, "a newer boot was seen")
		case now.Sub(heard) >= nodeDownAfter:
			d.closeOrigin(o, "it is silent")
		case now.Sub(heard) >= nodeDownAgain:
			d.lookAfter(o.Node)
		}
	}
}

// openOrigins are those of other nodes.
func (d *duties) openOrigins() (open []fsm.Origin) {
	var all []fsm.OriginInfo
	d.node.replica.view(func(s *fsm.State) { all = s.Origins() })
	for _, o := range all {
		if o.Open && o.Node != d.node.self {
			open = append(open, o.Origin)
		}
	}
	return open
}

func (d *duties) closeOrigin(o fsm.Origin, why string) {
	if d.silence.mayAsk(o, time.Now()) {
		d.node.logger.Info("closing the origin of a node that is gone", "node", o.Node, "boot", o.Boot, "why", why)
		d.propose(fsm.AppendOriginDown(nil, o), "origin down")
	}
}

// Lost tells the leader that a node's stream has broken: its process may have ended. Any goroutine; it does not block.
func (n *Node) Lost(node string) {
	if d := n.dutiesNow.Load(); d != nil {
		d.lookAfter(node)
	}
}

// lookAfter has a node looked at, unless it is already waiting for that.
func (d *duties) lookAfter(node string) {
	select {
	case d.lost <- node:
	default:
	}
}

// lookAfterLost closes origins at once whose processes have ended, as a majority of the voters finds by asking their hosts, so that what their consumers held
// goes to others in milliseconds. It begins with all of them: the leader before this one is among them, most likely. It returns when the term is over.
func (d *duties) lookAfterLost() {
	var looks sync.WaitGroup
	defer looks.Wait()
	looking := map[string]bool{}
	done := make(chan string)
	begin := func(node string) {
		if !looking[node] && len(looking) < lostMax {
			looking[node] = true
			looks.Go(func() {
				d.look(node)
				select {
				case done <- node:
				case <-d.ctx.Done():
				}
			})
		}
	}
	for _, o := range d.openOrigins() {
		begin(o.Node)
	}
	for {
		select {
		case node := <-d.lost:
			begin(node)
		case node := <-done:
			delete(looking, node)
		case <-d.ctx.Done():
			return
		}
	}
}

// look closes the open origin of a node if its process has ended. The origin is read first: a process that listened no more after that had this boot at the
// latest, so that the boot of the process that follows it is left alone.
func (d *duties) look(node string) {
	begin, pause := time.Now(), time.NewTimer(0)
	defer pause.Stop()
	for try := range lookTries {
		select {
		case <-pause.C:
		case <-d.ctx.Done():
			return
		}
		boot, open := d.openBoot(node)
		if !open || !d.node.log.LastHeard(node).Before(begin) {
			return
		}
		ctx, cancel := context.WithTimeout(d.ctx, lookBound)
		gone := d.node.log.Gone(ctx, node)
		cancel()
		if gone {
			d.closeOrigin(boot, "its process has ended")
			return
		}
		pause.Reset(lookFirst << try)
	}
}

func (d *duties) openBoot(node string) (boot fsm.Origin, open bool) {
	for _, o := range d.openOrigins() {
		if o.Node == node {
			return o, true
		}
	}
	return boot, false
}
