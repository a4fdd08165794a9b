package cluster

import (
	"cmp"
	"context"
	"time"
)

// charge is the suspicion that the process of the leader of a term has ended.
type charge struct {
	leader string
	term   uint64
}

// inquiry finds out whether a majority of the voters finds the same, and who is to act on it. It decides and does nothing; failover.go does.
type inquiry struct {
	charge charge
	self   string
	voters []string // of the latest configuration, the accused among them

	testify func(context.Context) testimony // this node's
	ask     func(ctx context.Context, voter string) (testimony, error)
}

// finding is what an inquiry ends with.
type finding int

const (
	findNothing finding = iota // this node does not agree, or no majority does: raft's time-outs decide
	findOther                  // agreed, and another voter has a better log: it acts
	findSelf                   // agreed, and this node acts
)

// answerGrace is how long an inquiry that has its majority waits for the others, one of which may have the better log.
const answerGrace = 50 * time.Millisecond

// run asks. The accused counts among those of whom a majority is needed, and gives no answer: of two voters both would be needed, so that a cluster of two
// has no shortcut, as raft has no majority there.
func (q *inquiry) run(ctx context.Context) finding {
	mine := q.testify(ctx)
	if !mine.yes || mine.term != q.charge.term {
		return findNothing
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan statement, len(q.voters))
	open := 0
	for _, v := range q.voters {
		if v == q.self || v == q.charge.leader {
			continue
		}
		open++
		go func() {
			t, err := q.ask(ctx, v)
			answers <- statement{voter: v, testimony: t, failed: err != nil}
		}()
	}
	// Joined here: an answer comes from every one of them, at the latest when the bound of ctx or cancel interrupts it.
	agreed := []statement{{voter: q.self, testimony: mine}}
	var grace <-chan time.Time
	for ; open > 0; open-- {
		select {
		case s := <-answers:
			if !s.failed && s.yes && s.term == q.charge.term {
				agreed = append(agreed, s)
			}
		case <-grace:
			cancel()
			grace = nil
			open++ // nothing was answered
			continue
		}
		if grace == nil && ctx.Err() == nil && 2*len(agreed) > len(q.voters) {
			t := time.NewTimer(answerGrace)
			defer t.Stop()
			grace = t.C
		}
	}
	return decide(q.self, len(q.voters), agreed)
}

// statement is what a voter answered.
type statement struct {
	testimony
	voter  string
	failed bool
}

// decide tells what follows from those that agree, this node among them.
func decide(self string, voters int, agreed []statement) finding {
	if 2*len(agreed) <= voters {
		return findNothing
	}
	best := agreed[0]
	for _, s := range agreed[1:] {
		if better(s, best) {
			best = s
		}
	}
	if best.voter == self {
		return findSelf
	}
	return findOther
}

// better compares logs as votes do; of equal ones the lowest id is the best, so that two do not stand against one another.
func better(a, b statement) bool {
	return cmp.Or(cmp.Compare(b.lastTerm, a.lastTerm), cmp.Compare(b.lastIndex, a.lastIndex), cmp.Compare(a.voter, b.voter)) < 0
}

// convictions is what this node has found of leaders, so that one that is alive after all is not deposed again and again: where a firewall refuses in the name
// of a process that leads, the shortcut is worse than none. A process that was found gone in one term is found so in another only after a pause that doubles
// each time. A new process of the same server begins without a record; one whose nonce was not learned is taken for the same.
type convictions map[string]conviction

type conviction struct {
	nonce uint64
	term  uint64
	count int
	at    time.Time
}

const (
	holdOffFirst = 2 * time.Second
	holdOffMax   = 2 * time.Minute
	forgetAfter  = 10 * holdOffMax
)

// allows tells whether a leader may be found gone now.
func (c convictions) allows(what charge, nonce uint64, now time.Time) bool {
	last, found := c[what.leader]
	if !found || last.isOther(nonce) || last.term == what.term {
		return true
	}
	return now.Sub(last.at) >= holdOff(last.count)
}

func (c convictions) note(what charge, nonce uint64, now time.Time) {
	for leader, v := range c {
		if now.Sub(v.at) > forgetAfter {
			delete(c, leader)
		}
	}
	last, found := c[what.leader]
	switch {
	case !found || last.isOther(nonce):
		c[what.leader] = conviction{nonce, what.term, 1, now}
	case last.term != what.term:
		c[what.leader] = conviction{max(nonce, last.nonce), what.term, last.count + 1, now}
	}
}

func (v conviction) isOther(nonce uint64) bool {
	return nonce != 0 && v.nonce != 0 && nonce != v.nonce
}

func holdOff(count int) time.Duration {
	return min(holdOffFirst<<min(count-1, 10), holdOffMax)
}
