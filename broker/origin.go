package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

// phase is the life of this process as an origin.
//
//	           NextBoot                OriginOpened
//	starting ------------> pending ------------------> live
//	                         |  ^                       |
//	      restore, or a boot |  | NextBoot              | OriginClosed, restore,
//	      that cannot open   v  |                       | half-dead
//	                        closed <--------------------+
//
//	live --Stop--> stopping --OriginClosed, restore, time is up--> stopped
//	any other --Stop--> stopped
//
// Clients are accepted while live, and sessions exist while live or stopping. From closed on, effects of the old boot are ignored. Phases change with applyMu
// held; anyone may read the present one.
type phase int32

const (
	phaseStarting phase = iota // no boot number yet
	phasePending               // OriginOpen is on its way
	phaseLive
	phaseClosed   // the boot is over, the next number is being drawn
	phaseStopping // draining the window, handing over, closing the own origin
	phaseStopped  // no boot follows
)

// What sessions are told when the node ends them.
const (
	textCutOff   = "broker forced connection closure: this node was cut off from the cluster"
	textRestored = "broker forced connection closure: this node fell behind and took a snapshot"
	textHalfDead = "broker forced connection closure: this node cannot reach a majority of the cluster"
	textShutdown = "broker forced connection closure with reason 'shutdown'"
)

func (n *Node) phase() phase { return phase(n.phaseNow.Load()) }

// setPhase is called with applyMu held.
func (n *Node) setPhase(p phase) {
	n.phaseNow.Store(int32(p))
	n.live.set(p == phaseLive)
	done, _ := n.hasUsers.state()
	n.accepting.set(p == phaseLive && done)
}

const (
	bootPauseStep = 100 * time.Millisecond // between boots that never went live
	bootPauseMax  = 5 * time.Second
)

// keepOrigin opens boot after boot, each when the one before has ended, and watches over the present one. A stopping node opens none.
func (n *Node) keepOrigin(ctx context.Context) error {
	ticks := time.NewTicker(watchEvery)
	defer ticks.Stop()
	defer n.watch.probes.Wait()
	defer n.pipe.closeStale()
	var pause time.Duration
	for {
		n.pipe.closeStale()
		switch n.phase() {
		case phaseStarting, phaseClosed:
			if !n.pauseBoot(ctx, pause) {
				return nil
			}
			pause = min(pause+bootPauseStep, bootPauseMax)
			if err := n.nextBoot(); err != nil {
				n.cfg.Fatal(err)
				return err
			}
		case phaseLive:
			pause = 0
		case phaseStopped:
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.ended:
		case <-n.flow.changed:
			n.tellBlocked()
		case <-ticks.C:
			n.watchOver(ctx)
		}
	}
}

func (n *Node) pauseBoot(ctx context.Context, pause time.Duration) bool {
	if pause == 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// nextBoot draws a boot number and asks for its origin.
func (n *Node) nextBoot() error {
	boot, err := n.log.NextBoot()
	if err != nil {
		return fmt.Errorf("broker: boot number: %w", err)
	}
	o := fsm.Origin{Node: n.self, Boot: boot}
	n.applyMu.Lock()
	defer n.applyMu.Unlock()
	if p := n.phase(); p != phaseStarting && p != phaseClosed {
		return nil // Stop came in between
	}
	n.lastConn = 0
	n.replica.setLocal(o)
	n.watch.reached()
	n.setPhase(phasePending)
	n.pipe.begin(o)
	n.logger.Info("opening a boot", "boot", boot)
	return nil
}

// originOpened is the apply of this boot's OriginOpen.
func (n *Node) originOpened() {
	if n.phase() != phasePending {
		return
	}
	n.watch.reached()
	n.pipe.opened()
	n.setPhase(phaseLive)
	n.logger.Info("boot opened", "boot", n.pipe.boot().Boot)
}

// closeBoot ends the present boot: its sessions end, its batches are forgotten, and the phase changes to closed or stopped. A stopping node stops.
func (n *Node) closeBoot(to phase, text string) {
	n.applyMu.Lock()
	defer n.applyMu.Unlock()
	n.closeBootLocked(to, text)
}

func (n *Node) closeBootLocked(to phase, text string) {
	switch n.phase() {
	case phaseStopped:
		return
	case phaseStopping:
		to, text = phaseStopped, textShutdown
	}
	if len(n.sessions) > 0 || n.phase() == phaseLive {
		n.logger.Warn("boot closed", "reason", text, "sessions", len(n.sessions))
	}
	n.setPhase(to)
	n.pipe.end()
	n.endSessions(text)
	n.operators.lost()
	n.goneOnceIfStopped(to)
	notify(n.ended)
}

func (n *Node) goneOnceIfStopped(to phase) {
	if to == phaseStopped {
		n.goneOnce.Do(func() { close(n.gone) })
	}
}
