package guard

import (
	"testing"

	"github.com/hashicorp/raft"
)

// trio is a cluster of three nodes in memory.
type trio []*node

// newTrio makes the nodes with connected transports; replace what a test is about, then start.
func newTrio(t *testing.T) trio {
	var nodes trio
	for _, id := range []raft.ServerID{"x", "y", "z"} {
		n := newNode(id)
		_, n.trans = raft.NewInmemTransport(raft.ServerAddress(id))
		nodes = append(nodes, n)
	}
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				a.trans.(*raft.InmemTransport).Connect(raft.ServerAddress(b.id), b.trans)
			}
		}
	}
	t.Cleanup(nodes.stop)
	return nodes
}

func (c trio) start(t *testing.T) {
	t.Helper()
	for _, n := range c {
		noError(t, raft.BootstrapCluster(n.config, n.logs, n.stable, n.snaps, n.trans, threeServers()))
	}
	for _, n := range c {
		n.start(t)
	}
}

func (c trio) stop() {
	for _, n := range c {
		n.stop()
	}
}

// isolate cuts the others' connections to n.
func (c trio) isolate(n *node) {
	for _, other := range c {
		if other != n {
			other.trans.(*raft.InmemTransport).Disconnect(raft.ServerAddress(n.id))
		}
	}
}

// leading returns a leader other than one, nil if there is none.
func (c trio) leading(except *node) *node {
	for _, n := range c {
		if n != except && n.raft.State() == raft.Leader {
			return n
		}
	}
	return nil
}

// leader waits for a leader other than one that has committed an entry of its own term.
func (c trio) leader(t *testing.T, except *node) *node {
	t.Helper()
	var found *node
	await(t, "a leader", func() bool {
		found = c.leading(except)
		return found != nil && found.raft.VerifyLeader().Error() == nil && found.raft.Barrier(awaitMax).Error() == nil
	})
	return found
}
