package broker

import "github.com/triagemq/triagemq/fsm"

// The views read this node's own replica, which may be a moment behind the leader's. Any goroutine.

// Queues lists the queues of a virtual host by name ("" = all).
func (n *Node) Queues(vhost string) (queues []fsm.QueueView) {
	n.replica.view(func(s *fsm.State) { queues = s.Queues(vhost) })
	return queues
}

// Queue returns one queue.
func (n *Node) Queue(vhost, name string) (queue fsm.QueueView, ok bool) {
	n.replica.view(func(s *fsm.State) { queue, ok = s.Queue(vhost, name) })
	return queue, ok
}

// Sessions lists the sessions of all nodes.
func (n *Node) Sessions() (sessions []fsm.SessionView) {
	n.replica.view(func(s *fsm.State) { sessions = s.Sessions() })
	return sessions
}

// Counts returns the totals of the state.
func (n *Node) Counts() (counts fsm.Counts) {
	n.replica.view(func(s *fsm.State) { counts = s.Counts() })
	return counts
}
