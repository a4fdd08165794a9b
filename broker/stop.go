package broker

import (
	"context"
	"errors"
	"time"
)

// Bounds of an orderly stop; their sum is below ten seconds.
const (
	drainBound    = 2 * time.Second
	transferBound = 3 * time.Second
	downBound     = 3 * time.Second
	joinBound     = time.Second
)

// errUnclean says that the log did not end this node's sessions in time: the next leader or the next boot will.
var errUnclean = errors.New("broker: stopped without having ended the sessions in the log")

// Stop ends the node in an orderly way and in bounded time: clients are read no more, what they sent is applied (2 s), leadership goes to another node, the
// sessions end in the log through it, clients are told (320), and Run returns. Nothing confirmed depends on any of this.
func (n *Node) Stop(ctx context.Context) error {
	n.runMu.Lock()
	cancel, running := n.cancel, n.running
	n.runMu.Unlock()
	if running == nil {
		n.closeBoot(phaseStopped, textShutdown)
		return nil
	}
	var err error
	if n.beginStop() {
		err = n.closeOwnOrigin(ctx)
	}
	n.closeBoot(phaseStopped, textShutdown)
	cancel()
	return errors.Join(err, await(ctx, running, joinBound))
}

// beginStop refuses new clients and commands; it reports whether an origin is open that should be closed.
func (n *Node) beginStop() bool {
	n.applyMu.Lock()
	defer n.applyMu.Unlock()
	if n.phase() != phaseLive {
		n.closeBootLocked(phaseStopped, textShutdown)
		return false
	}
	n.logger.Info("stopping", "sessions", len(n.sessions))
	n.setPhase(phaseStopping)
	n.pipe.stop()
	return true
}

// closeOwnOrigin drains the window, hands leadership over and has the log close this boot. Every step is bounded and the next one is taken whatever comes of it.
func (n *Node) closeOwnOrigin(ctx context.Context) error {
	if await(ctx, n.pipe.whenIdle(), drainBound) != nil {
		n.logger.Warn("not all that clients sent was applied in time")
	}
	if leadership, _ := n.log.Leadership(); leadership.Self {
		transfer, cancel := context.WithTimeout(ctx, transferBound)
		if err := n.log.TransferLeadership(transfer); err != nil {
			n.logger.Info("leadership not handed over", "error", err) // nobody there to take it: this node then closes its own origin
		}
		cancel()
	}
	n.pipe.closeOrigin()
	if await(ctx, n.gone, downBound) != nil {
		return errUnclean
	}
	return nil
}

// await waits for c to be closed.
func await(ctx context.Context, c <-chan struct{}, bound time.Duration) error {
	t := time.NewTimer(bound)
	defer t.Stop()
	select {
	case <-c:
		return nil
	case <-t.C:
		return context.DeadlineExceeded
	case <-ctx.Done():
		return ctx.Err()
	}
}
