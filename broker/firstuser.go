package broker

import (
	"context"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	firstUserBound = 5 * time.Second        // for one attempt
	firstUserPause = 250 * time.Millisecond // before the next
)

// makeFirstUser has the leader propose the first user of a new cluster, the one of its own configuration, once its origin is open. It applies once in the life
// of the cluster, so that an attempt too many does no harm; until it has applied nobody is let in. It returns when there are users.
func (n *Node) makeFirstUser(ctx context.Context) {
	for {
		if done, _ := n.hasUsers.state(); done {
			return
		}
		leadership, changed := n.log.Leadership()
		live, opened := n.live.state()
		if live {
			opened = nil // closed already
		}
		if live && leadership.Self {
			if err := n.initUsers(ctx); err != nil && ctx.Err() == nil {
				n.logger.Warn("the first user is not made yet", "error", err)
			}
		}
		if !n.awaitChange(ctx, changed, opened) {
			return
		}
	}
}

// awaitChange returns when leadership or the phase may have changed, there are users, or it is time to look again; false when ctx is over.
func (n *Node) awaitChange(ctx context.Context, changed, opened <-chan struct{}) bool {
	pause := time.NewTimer(firstUserPause)
	defer pause.Stop()
	_, done := n.hasUsers.state()
	select {
	case <-changed:
	case <-opened:
	case <-done:
	case <-pause.C:
	case <-ctx.Done():
		return false
	}
	return true
}

func (n *Node) initUsers(ctx context.Context) error {
	h, err := hashPassword(n.cfg.DefaultPass, n.cfg.hashIterations)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, firstUserBound)
	defer cancel()
	_, err = n.Operate(ctx, func(ref fsm.Ref) fsm.Command {
		return &fsm.InitUsers{Ref: ref, Name: n.cfg.DefaultUser, Hash: h.Hash, Algorithm: h.Algorithm}
	})
	if err == nil {
		n.logger.Info("the first user is there", "user", n.cfg.DefaultUser)
	}
	return err
}

// lookForUsers follows the state: from the first user on clients are accepted. It is called with applyMu held, after each entry until then.
func (n *Node) lookForUsers() {
	if done, _ := n.hasUsers.state(); done {
		return
	}
	n.replica.view(func(s *fsm.State) {
		if s.UsersInitialised() {
			n.hasUsers.set(true)
		}
	})
	n.setPhase(n.phase())
}
