package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	watchEvery    = 500 * time.Millisecond
	halfDeadAfter = 10 * time.Second
	probeAfter    = 2 * time.Second // of silence: own batches applied are as good as a probe
	probeBound    = 4 * time.Second
)

// watch measures how long this node has been without a majority. It counts time in which the process ran: after a pause or a migration of the machine the
// node first tries, and if others closed its origin meanwhile, its own apply will tell.
type watch struct {
	ranMillis atomic.Int64 // age of the process, pauses left out, at the last tick
	reachedAt atomic.Int64 // ranMillis when a leader with a majority was last reached
	probing   atomic.Bool
	probes    sync.WaitGroup
	lastTick  time.Time // used by keepOrigin's goroutine alone
}

// now is the age of the process in milliseconds, as of the last tick.
func (w *watch) now() int64 { return w.ranMillis.Load() }

// reached says that a leader with a majority behind it answered: an own batch was applied, or a read index came.
func (w *watch) reached() { w.reachedAt.Store(w.ranMillis.Load()) }

// tick lets the age advance by at most two intervals.
func (w *watch) tick() int64 {
	now := time.Now()
	if w.lastTick.IsZero() {
		w.lastTick = now
	}
	ran := min(now.Sub(w.lastTick), 2*watchEvery)
	w.lastTick = now
	return w.ranMillis.Add(ran.Milliseconds())
}

// watchOver applies the half-dead rule, and sees to a boot that cannot open.
func (n *Node) watchOver(ctx context.Context) {
	now := n.watch.tick()
	switch n.phase() {
	case phasePending:
		n.watchPending(now)
	case phaseLive:
		oldest, any := n.pipe.oldest()
		if any && now-oldest >= halfDeadAfter.Milliseconds() || now-n.watch.reachedAt.Load() >= halfDeadAfter.Milliseconds() {
			n.closeBoot(phaseClosed, textHalfDead)
			return
		}
		if now-n.watch.reachedAt.Load() >= probeAfter.Milliseconds() {
			n.probeMajority(ctx)
		}
	}
}

// watchPending burns a boot that can never open, because the state has seen a higher one, or has closed this one. A boot whose OriginOpen is merely late
// gets a new stream, on which it goes first again.
func (n *Node) watchPending(now int64) {
	boot := n.pipe.boot()
	var seen fsm.OriginInfo
	n.replica.view(func(s *fsm.State) { seen, _ = s.Origin(boot.Node) })
	if seen.Boot > boot.Boot || seen.Boot == boot.Boot && !seen.Open {
		n.logger.Warn("this boot cannot open", "boot", boot.Boot, "seen", seen.Boot)
		n.closeBoot(phaseClosed, textCutOff)
		return
	}
	if stream := n.pipe.openLate(now - halfDeadAfter.Milliseconds()); stream != nil {
		stream.Close()
	}
}

// probeMajority asks for a read index, which only a leader with a majority behind it can give and which writes nothing.
func (n *Node) probeMajority(ctx context.Context) {
	if n.watch.probing.Swap(true) {
		return
	}
	n.watch.probes.Go(func() {
		defer n.watch.probing.Store(false)
		ctx, cancel := context.WithTimeout(ctx, probeBound)
		defer cancel()
		if _, err := n.log.ReadIndex(ctx); err == nil {
			n.watch.reached()
		} else {
			n.logger.Debug("no leader with a majority reached", "error", err)
		}
	})
}

// oldest is when the oldest unapplied batch was cut.
func (p *pipeline) oldest() (age int64, any bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.window) == 0 {
		return 0, false
	}
	return p.window[0].cutAt, true
}

// openLate returns the present stream if OriginOpen went out on it before the age given and is not applied.
func (p *pipeline) openLate(before int64) Stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || p.open || !p.openSent || p.openedAt > before {
		return nil
	}
	return p.stream
}

// wasSent says whether OriginOpen of the present boot was handed to a stream.
func (p *pipeline) wasSent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended && p.everSent
}
