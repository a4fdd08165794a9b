// Package fsm is the replicated state machine: virtual hosts, exchanges, bindings, queues and their messages, sessions, channels, consumers and origins, and
// what every command does to them.
//
// Each node applies the same log entries in the same order to its own State and gets the same state. So the package is pure: no clock (time is in the
// entries), no I/O, no randomness, no goroutines, no locks, no iteration in map order that could show. testing/lint keeps it so.
//
// What goes in are log entries (AppendEntry), made of items: mostly origin batches (AppendBatch), which hold the commands (Command) of one node's
// connections. What comes out are effects (Effect): what the node's own connections must be told. Each node tells its own clients from its own apply; effects
// never influence the state. The broker package calls New, SetLocal, Apply, the views, Freeze and Restore; it serialises them.
//
// Invariants, all verified by State.Check:
//   - a message entry is in exactly one place: ready or delayed in a part of a queue, delayed in that of an exchange, or held under one tag of a channel, by a
//     remainder or by a draining part;
//   - a consumer that can take a message waits in its queue's ring, and then the queue has none ready;
//   - a channel that failed or ended has no consumers, holds nothing and is never applied to again;
//   - derived fields (counts, indexes, timers, rings' links) are functions of what snapshots hold;
//   - what is due is gone after the entry, or the entry's budget is spent: no message that expired is delivered;
//   - one entry moves at most about limits.bulkMoves messages in bulk: what is left is a remainder, whose logical effect is complete already;
//   - lists of objects are in order of creation, and crowds end from the youngest: one entry ends all that hangs on a session or an origin, in linear time
//     (docs/decisions/0008).
//
// Start reading at State.Apply (state.go), then apply.go, which leads to one file per noun. dispatch.go is the heart: who gets the next message. encode.go is
// the exact definition of what is replicated.
package fsm
