package broker

import (
	"errors"
	"fmt"

	"github.com/triagemq/triagemq/fsm"
)

// dispatcher is the Node as fsm.Sink: it hands effects to sessions. Emit runs inside Apply, with applyMu and replica.mu held.
type dispatcher Node

// errOutvoted ends the node: a majority of replicas holds another state.
var errOutvoted = errors.New("broker: this replica's state differs from the majority's; if that happens again after a restart, " +
	"set the data folder aside and let the node join anew, and keep the folder for a report")

// Emit implements fsm.Sink.
func (d *dispatcher) Emit(e *fsm.Effect) {
	n := (*Node)(d)
	switch e.Kind {
	case fsm.Outvoted:
		n.cfg.Fatal(fmt.Errorf("outvoted at index %d: %w", e.MarkIndex, errOutvoted))
		return
	case fsm.Undecided:
		n.logger.Error("replicas disagree and none has a majority: publishers are held", "mark_index", e.MarkIndex)
		n.flow.undecidedAt(e.MarkIndex)
		return
	}
	switch n.phase() {
	case phasePending, phaseLive, phaseStopping:
	default:
		return // of a boot that is over here, though not yet in the log
	}
	switch e.Kind {
	case fsm.OriginOpened:
		n.originOpened()
	case fsm.OriginClosed:
		n.closeBootLocked(phaseClosed, textCutOff)
	case fsm.BatchApplied:
		n.watch.reached()
		n.pipe.batchApplied(e.Seq)
	case fsm.BatchGap:
		n.counters.Gaps.Add(1)
		n.pipe.gap(e.Seq)
	default:
		n.dispatch(e)
	}
}

// dispatch hands an effect to its session.
func (n *Node) dispatch(e *fsm.Effect) {
	if e.Ref.Conn == 0 {
		n.operators.settle(e)
		return
	}
	n.counters.count(e)
	s := n.recent
	if s == nil || s.conn != e.Ref.Conn {
		if s = n.sessions[e.Ref.Conn]; s == nil {
			return
		}
		n.recent = s
	}
	if !s.isOpen {
		n.openReply(s, e)
		return
	}
	if !s.mute.Load() {
		s.handler.Effect(e)
		if !s.touched {
			s.touched = true
			n.touched = append(n.touched, s)
		}
	}
	if e.Kind == fsm.SessionFailed || e.Kind == fsm.Replied && e.Command == fsm.KindCloseSession {
		n.forget(s)
	}
}

// openReply is the first effect of a session: whether the state machine has it.
func (n *Node) openReply(s *Session, e *fsm.Effect) {
	if e.Kind == fsm.Replied && e.Command == fsm.KindOpenSession && e.Code == fsm.OK {
		s.isOpen = true
		n.tell(s, n.flow.reason())
		s.opened <- nil
		return
	}
	n.forget(s)
	s.opened <- &Refusal{Code: e.Code, Text: e.Text}
}

// forget takes a session that has ended out of the table.
func (n *Node) forget(s *Session) {
	if s.over {
		return
	}
	s.over = true
	delete(n.sessions, s.conn)
	if n.recent == s {
		n.recent = nil
	}
	n.pipe.overLane(&s.lane)
	close(s.done)
}

// endSessions ends all sessions from here.
func (n *Node) endSessions(text string) {
	for _, s := range n.sessions {
		if !s.isOpen {
			s.opened <- ErrNotAccepting
		} else if !s.mute.Load() {
			s.handler.End(fsm.Forced, text)
		}
		s.touched = false
		n.forget(s)
	}
	clear(n.touched)
	n.touched = n.touched[:0]
}

// flushTouched wakes the writers of the sessions that had effects in the entry.
func (n *Node) flushTouched() {
	for i, s := range n.touched {
		if s.touched {
			s.touched = false
			s.handler.Flush()
		}
		n.touched[i] = nil
	}
	n.touched = n.touched[:0]
}

// tellBlocked tells all handlers whether publishers are held.
func (n *Node) tellBlocked() {
	n.applyMu.Lock()
	defer n.applyMu.Unlock()
	reason := n.flow.reason()
	for _, s := range n.sessions {
		if s.isOpen {
			n.tell(s, reason)
		}
	}
}

func (n *Node) tell(s *Session, reason string) {
	if s.told != reason && !s.mute.Load() {
		s.told = reason
		s.handler.Blocked(reason)
	}
}
