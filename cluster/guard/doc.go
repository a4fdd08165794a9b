// Package guard holds hashicorp/raft to the promise that a confirmed entry is never lost and that replicas never differ. The library, as it ships, breaks it in
// several ways; each is described, with the interleaving that shows it, at the wrapper that closes it, and each has a test in this package that fails
// without that wrapper.
//
//   - Transport goes around the network transport: commit indexes are clamped to what a request verified, requests are bounded in bytes, damaged entries and
//     needless or impossible snapshot installs never reach raft; a follower that was away is replicated to with the first heartbeat that it answers.
//   - LogStore goes around raft-wal or raft-boltdb: a write that fails or hangs ends the process, every entry carries a checksum that every read checks, and a
//     durable index beside the log tells a torn tail from damage. It also keeps recent entries in memory.
//   - StableStore goes around the store of term and vote: the vote is one record, and values are checksummed.
//   - Configure, TransportLimits and the Validate functions keep the settings on which the rest relies.
//   - ConflictsAt, CheckInstall and TruncateConflict deal with snapshots that contradict the log.
//
// The package knows nothing of queues, elections or membership. Package cluster wires it, ends the process when a Fatal function is called, and restarts a raft
// instance when an install needs it. Start reading at LogStore and Transport.
//
// Goroutines: a Transport owns one that forwards requests to raft, a LogStore one that syncs the durable index; their Close methods join them. Locks are named
// for what they guard at their declaration.
//
// Nothing in here embeds what it wraps. Raft discovers abilities by type assertion, so embedding an interface hides the optional ones (pre-vote turns itself
// off without a word when the transport hides RequestPreVote, and raft-wal rejects the first append after a snapshot install when the log store hides
// IsMonotonic), while embedding a concrete type lets every method that a later version adds slip past the wrapper. Every method is therefore spelled out
// and every optional interface asserted at compile time.
package guard
