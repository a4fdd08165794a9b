// Package broker is the node: it stands between the doors (AMQP, HTTP) and the replicated log.
//
// It collects the commands of all connections into numbered origin batches and hands them to the log, feeds what the log commits to the state machine it
// owns, and turns the outcomes into calls of the sessions' Handlers. It keeps the origin of this process alive (a boot number, OriginOpen, a new boot when
// the old one was closed), holds publishers back while an alarm stands, and does the leader's duties while this node leads: the virtual clock, Ticks, closing
// the origins of dead nodes, comparing replicas. It knows nothing of AMQP, of sockets or of raft: doors import it, and the composition root gives it a Log.
//
// # Life
//
// New builds a Node, which takes Apply and Restore at once. Run gives it the Log and blocks. Stop ends it in an orderly way. The origin's states are drawn
// in origin.go.
//
// # Goroutines
//
// Run starts and joins: the origin's loop (boots, the half-dead rule, telling handlers of alarms), the sender (one stream at a time) and the samplers
// (memory and disk; rates) and, in a new cluster, the maker of the first user. Lead starts the duties, Follow joins them. Everything else runs on the callers' goroutines; Apply, Freeze and Restore on the log's.
//
// # Locks, in the order in which they are taken
//
//	Node.applyMu   serialises every call of a Handler; guards the sessions' table and the changes of phase
//	replica.mu     guards the State: Apply, Freeze, Thaw and Restore write, views and probes read
//	pipeline.mu    guards lanes, window and stream position
//	the rest       (flow, beacons, clock, marks, waiters) are leaves: nothing is called while one is held
//
// Handlers are called with applyMu and, inside an entry, replica.mu held: that is why they must not block and must not call back.
//
// # Invariants
//
// A batch's content never changes once it has a number. A batch leaves the window only when this node's own state machine has applied it. A confirm comes
// from that apply and from nowhere else. Memory is bounded: every lane, the window and the lists of waiters have a bound, and Submit blocks at it.
//
// Start reading at node.go, then origin.go, pipeline.go, sender.go, dispatch.go; the leader's side begins at duties.go.
package broker
