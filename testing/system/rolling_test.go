package system

import (
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestRollingRestart restarts all nodes one after the other under load, as an upgrade does: clients of the others notice nothing.
func TestRollingRestart(t *testing.T) {
	c := harness.Start(t, 3)
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	progress(t, load, 200)
	for _, n := range c.Nodes {
		check(t, n.Terminate(within(t, 25*time.Second)))
		progress(t, load, 100)
		check(t, n.Start())
		check(t, c.AwaitReady(within(t, 30*time.Second), n))
	}
	progress(t, load, 200)
	load.StopPublishing()
	check(t, load.Drain(within(t, 60*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	seen := map[string]bool{}
	for _, d := range load.Ledger.Disconnects() {
		node, role, _ := strings.Cut(d, ": ")
		role, _, _ = strings.Cut(role, ":")
		if seen[node+" "+role] {
			t.Errorf("a connection ended though its node was not stopped: %s", d)
		}
		seen[node+" "+role] = true
	}
	judge(t, load)
}
