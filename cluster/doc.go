// Package cluster is the replicated log: hashicorp/raft behind package guard, its stores and snapshots, membership by gossip, and the way of an
// item from any node into the log. It knows nothing of what the items mean; it drives a Machine, and the composition root calls it.
//
// Where to start: Group (group.go) is one raft instance with its data folder, and Open (open.go) builds it in order. An item travels
//
//	Stream.Send (stream.go) → peer port → acceptStreams (forward.go) → reign.admit (propose.go) → raft.Apply → machineFSM.Apply (fsm.go) on every node
//
// and a reign (reign.go) is this node's time as the leader of one term: it is ready once a barrier of its own has applied, it owns the queue of
// admitted items and the streams that fill it, and when it is over all of that is gone: nothing admitted in one reign is proposed in another.
//
//	follower ──leads term t──▶ barrier ──applied──▶ ready: Machine.Lead(t), streams, proposals
//	    ▲                         │                    │ error of raft.Apply, lost leadership, transfer, close
//	    └─────────────────────────┴────────────────────┘ streams closed, queue dropped, Machine.Follow()
//
// A leader whose process has ended is replaced at once: failover.go. Leadership is handed over by transfer.go.
//
// Who is a member is the leader's business too: the pilot of a reign (autopilot.go) takes one step at a time, which situation.go decides; people's orders
// (administer.go, removal.go) come from any node to the leader; a node that no leader speaks to asks what it is (standing.go).
//
// Goroutines: one each for leadership (reign.go), suspicions against the leader (failover.go), proposals and the pilot of the reign, doubts about the own
// membership, accepting streams and calls, gossip events and joining, snapshots, commit notices, the read index; two for every stream at either end. Close
// joins them all. Locks: Group.mu guards what Leadership tells and the open stream;
// reign.mu the queue; they are leaves, nothing blocks while one is held.
package cluster
