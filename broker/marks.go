package broker

import (
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	markQuiet      = 500 * time.Millisecond // after the last change: a digest is to follow within a second of quiet
	markEvery      = 10 * time.Second       // under load
	markEveryBytes = 64 << 20               // of log under load
	markBound      = 5 * time.Second        // a Mark not applied by then is given up, and due again
	reportsBound   = 5 * time.Second        // a majority of reports is enough after this
	compareBound   = 30 * time.Second       // without a majority of reports by then, the comparison is given up
)

// marking is the leader's comparison of replicas:
//
//	idle --changes, then quiet or much--> marking --Mark applied here--> comparing --reports, Verify--> idle
type marking struct {
	stage stage
	base  uint64    // the Mark before
	index uint64    // the Mark under comparison
	since time.Time // this stage began
	last  time.Time // the last Mark was proposed
}

type stage uint8

const (
	idle stage = iota
	marked
	comparing
)

// compare goes on with the comparison of replicas and returns when to look again.
func (d *duties) compare(now time.Time) time.Duration {
	m := &d.mark
	var index uint64
	var hash [16]byte
	d.node.replica.view(func(s *fsm.State) { index, hash = s.Marked() })
	switch m.stage {
	case idle:
		due, dirty := d.changes.due(now, m.last)
		if due {
			m.stage, m.base, m.since, m.last = marked, index, now, now
			d.propose(markItem, "mark")
		} else if !dirty {
			return dutyEvery
		}
	case marked:
		switch {
		case index > m.base:
			m.stage, m.index, m.since = comparing, index, now
			d.node.reports.heard(d.node.self, index, hash)
			d.verify(now)
		case now.Sub(m.since) > markBound:
			m.stage = idle
			d.changes.redo()
		}
	case comparing:
		d.verify(now)
	}
	return dutyEveryBusy
}

// verify puts the reports for the Mark into the log once all voters have reported, or a majority and some time has passed.
func (d *duties) verify(now time.Time) {
	m := &d.mark
	voters := d.node.voters()
	reports := d.node.reports.at(m.index, voters)
	waited := now.Sub(m.since)
	switch {
	case len(reports) == len(voters), len(reports) > len(voters)/2 && waited >= reportsBound:
	case waited >= compareBound:
		m.stage = idle
		return
	default:
		return
	}
	m.stage = idle
	item := fsm.AppendVerify(nil, m.index, len(voters), reports)
	d.changes.expect(item)
	if d.propose(item, "verify") && agreed(reports, len(voters)) {
		d.node.flow.agreedAt(m.index)
	}
}

// agreed says whether a majority of voters reported the same.
func agreed(reports []fsm.DigestReport, voters int) bool {
	counts := map[[16]byte]int{}
	for _, r := range reports {
		if counts[r.Hash]++; counts[r.Hash] > voters/2 {
			return true
		}
	}
	return false
}

// due says whether a Mark is, and whether one will be.
func (c *changes) due(now, last time.Time) (due, dirty bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	quiet := now.Sub(c.last) >= markQuiet
	return c.dirty && (quiet || now.Sub(last) >= markEvery || c.bytes >= markEveryBytes), c.dirty
}

// redo makes a Mark due again: the last one was lost.
func (c *changes) redo() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
}

// expect names the Verify that is about to be proposed: it is no change.
func (c *changes) expect(item []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet = item
}
