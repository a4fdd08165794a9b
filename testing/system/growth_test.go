package system

import (
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestGrowth grows one node to three under load: nothing is lost, and the clients of the first node notice nothing.
func TestGrowth(t *testing.T) {
	c := harness.Start(t, 1)
	load := growingLoad(t, c)
	for range 2 {
		must(c.AddNode())(t)
	}
	check(t, c.AwaitVoters(within(t, time.Minute)))
	check(t, c.AwaitReady(within(t, 30*time.Second)))
	finish(t, c, load)
}

// growingLoad has clients at the first node alone.
func growingLoad(t *testing.T, c *harness.Cluster) *harness.Load {
	t.Helper()
	check(t, c.AwaitReady(within(t, time.Minute)))
	return must(harness.StartLoad(t.Context(), harness.LoadConfig{
		Queue: "growth", Pause: 2 * time.Millisecond, Publishers: c.Nodes[:1], Consumers: c.Nodes[:1],
	}))(t)
}

// finish drains the load, judges it and compares the nodes.
func finish(t *testing.T, c *harness.Cluster, load *harness.Load) {
	t.Helper()
	load.StopPublishing()
	check(t, load.Drain(within(t, 2*time.Minute)))
	judge(t, load)
	for _, d := range load.Ledger.Disconnects() {
		t.Error("a client of a node that stayed was disconnected:", d)
	}
	if load.Ledger.Confirmed() == 0 {
		t.Error("nothing was confirmed")
	}
	check(t, c.AwaitEqualDigests(within(t, time.Minute)))
}
