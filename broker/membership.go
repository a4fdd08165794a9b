package broker

import (
	"context"
	"errors"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

// Why the membership stays as it is; the errors of the methods below wrap one of them, with the particulars in their text.
var (
	ErrNoSuchServer    = errors.New("no such server")
	ErrAmbiguousName   = errors.New("several servers have this name: give the server id")
	ErrWouldLoseQuorum = errors.New("the remaining voters would have no live majority")
	ErrLastVoter       = errors.New("the last voter cannot go")
	ErrServerAlive     = errors.New("the server is alive: let it leave")
	ErrServerNotVoter  = errors.New("the server has no vote")
	ErrNotNow          = errors.New("not possible now")
)

// TransferLeadershipTo hands leadership to the voter with this name or server id, "" to any other than the present leader. Any node may be asked. Any goroutine.
func (n *Node) TransferLeadershipTo(ctx context.Context, name string) error {
	if !n.isAttached() {
		return errNotRunning
	}
	return n.log.TransferLeadershipTo(ctx, name)
}

// RemoveServer takes a server that is gone out of the cluster, by its name or server id. force removes one that lives too, and one without which the remaining
// voters have no live majority: the cluster then stands still until they have. Any node may be asked. Any goroutine.
func (n *Node) RemoveServer(ctx context.Context, name string, force bool) error {
	if !n.isAttached() {
		return errNotRunning
	}
	return n.log.RemoveServer(ctx, name, force)
}

// Leave takes this node out of the cluster for good: what its clients sent is applied, leadership goes to another node, clients are told (320), the origin is
// closed in the log, the configuration changes. Nothing of that begins where the rest of the cluster could not go on alone. The process should end then; after an
// error from the change itself too: the node serves nobody any more, and is a member again after a restart. Any goroutine.
func (n *Node) Leave(ctx context.Context) error {
	if !n.isAttached() {
		return errNotRunning
	}
	if err := n.log.MayLeave(ctx); err != nil {
		return err
	}
	// A node that has begun goes on, whoever asked for it and does not wait any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveBound)
	defer cancel()
	n.logger.Info("leaving the cluster")
	if err := n.Stop(ctx); err != nil {
		n.logger.Warn("the stop before leaving was not clean; the leader closes what is open", "error", err)
	}
	return n.log.Leave(ctx)
}

// leaveBound is for an orderly stop and the change of the configuration.
const leaveBound = 30 * time.Second

// departAgain is how long an OriginDown may take to be applied before it is proposed again.
const departAgain = 2 * time.Second

// Depart closes the origin of a server that is about to be removed, and returns when that is applied here. Only between Lead and Follow.
func (n *Node) Depart(ctx context.Context, server string) error {
	if !n.isAttached() {
		return errNotRunning
	}
	for {
		seen := n.applied.get()
		var o fsm.OriginInfo
		n.replica.view(func(s *fsm.State) { o, _ = s.Origin(server) })
		if !o.Open {
			return nil
		}
		n.logger.Info("closing the origin of a server that is being removed", "node", server, "boot", o.Boot)
		if err := n.log.Propose(ctx, fsm.AppendOriginDown(nil, o.Origin)); err != nil {
			return err
		}
		if err := n.awaitClosed(ctx, o.Origin, seen); err != nil {
			return err
		}
	}
}

// awaitClosed returns when an origin is closed, or it is time to propose that again.
func (n *Node) awaitClosed(ctx context.Context, origin fsm.Origin, seen uint64) error {
	again, cancel := context.WithTimeout(ctx, departAgain)
	defer cancel()
	for again.Err() == nil {
		_ = n.applied.wait(again, seen+1, nil)
		seen = n.applied.get()
		open := false
		n.replica.view(func(s *fsm.State) {
			o, _ := s.Origin(origin.Node)
			open = o.Open && o.Boot == origin.Boot
		})
		if !open {
			return nil
		}
	}
	return ctx.Err()
}

// Known tells whether a server ever opened an origin: its record stays for ever. Any goroutine.
func (n *Node) Known(server string) (known bool) {
	n.replica.view(func(s *fsm.State) { _, known = s.Origin(server) })
	return known
}
