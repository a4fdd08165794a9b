package cluster

import (
	"context"
	"io"
)

// Machine is the replicated state machine that a Group drives. The composition root adapts the broker's node to it.
type Machine interface {
	// CheckItem reports why an item that came over a stream must not get into the log. Any goroutine.
	CheckItem(item []byte) error
	// Seal appends to dst the log entry that carries the items, stamped with the leader's time. Only between Lead and Follow, from the proposer goroutine.
	Seal(dst []byte, items [][]byte) []byte
	// Apply applies a committed entry. Apply, Freeze and Restore are never called concurrently with one another. An error says that this program cannot apply
	// it, and leaves the state as it was: nothing is applied after it, and the node ends. See levelError for the one that a newer program cures.
	Apply(index, term uint64, entry []byte) error
	// Freeze captures the state for a snapshot.
	Freeze() (Frozen, error)
	// Restore replaces the state by a snapshot. At a start (live is false) the old state stands on error, and an older snapshot is tried; a live one may give
	// the old state up first, and its error ends the process, which finds the snapshot on disk at its next start.
	Restore(r io.Reader, live bool) error
	// LiveBytes estimates the size of a snapshot.
	LiveBytes() int64
	// FeatureLevel is the level of what is in the log and in snapshots by now; it never goes down. A server whose program knows less cannot be a member. Any
	// goroutine.
	FeatureLevel() uint32
	// Lead is called once this node leads term and has applied everything before it, and returns before any item is admitted; Follow when that is over.
	Lead(term uint64)
	Follow()
	// Beacon is a small payload (at most 4 KiB) that keep-alives carry between an origin and the leader, both ways; Heard takes the other side's.
	Beacon() []byte
	Heard(node string, beacon []byte)
	// Lost tells a leader that the stream of another node broke, which may mean that its process has ended: see Group.Gone. It must not block.
	Lost(node string)
	// Answer serves a Call from another node.
	Answer(ctx context.Context, from string, request []byte) ([]byte, error)
	// Posted takes a datagram that another node posted. It must be quick: the node's next ones wait behind it. datagram is valid during the call only.
	Posted(from string, datagram []byte)
	// Depart closes the origin of a server that is about to be removed, in the log, and returns when that is applied here. Only between Lead and Follow.
	Depart(ctx context.Context, server string) error
	// Known tells whether the state has seen a server: it was a member, if it is none now. Any goroutine.
	Known(server string) bool
	// PostsLost says that datagrams to a node did not reach it. Any goroutine.
	PostsLost(to string)
}

// Frozen is a captured state. WriteTo runs outside the apply goroutine; Release is called once, after it.
type Frozen interface {
	io.WriterTo
	Release()
}
