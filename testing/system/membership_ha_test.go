//go:build ha

package system

import (
	"errors"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestHAGrowAndShrink goes from one node to three, five, three and one under load. The clients of the node that stays notice nothing, whoever leads.
func TestHAGrowAndShrink(t *testing.T) {
	c := harness.Start(t, 1)
	load := growingLoad(t, c)
	for _, size := range []int{3, 5} {
		for len(c.Nodes) < size {
			must(c.AddNode())(t)
		}
		check(t, c.AwaitVoters(within(t, 2*time.Minute)))
		check(t, c.AwaitReady(within(t, time.Minute)))
	}
	for len(c.Nodes) > 1 {
		leaver := c.Nodes[len(c.Nodes)-1]
		check(t, c.RemoveNode(within(t, time.Minute), leaver))
		check(t, c.AwaitVoters(within(t, time.Minute)))
	}
	finish(t, c, load)
}

// TestHALeaderLeaves has the leader of three leave under load, again and again, each time replaced by a new node.
func TestHALeaderLeaves(t *testing.T) {
	c := harness.Start(t, 3)
	load := growingLoad(t, c)
	for range 3 {
		leader := must(c.AwaitLeader(within(t, time.Minute)))(t)
		if leader == c.Nodes[0] { // the load's own node stays
			check(t, c.Nodes[0].Post(within(t, time.Minute), "/api/cluster/transfer-leader", map[string]string{"to": c.Nodes[1].Name}))
			leader = must(c.AwaitLeader(within(t, time.Minute), c.Nodes[0]))(t)
		}
		check(t, c.RemoveNode(within(t, time.Minute), leader))
		must(c.AddNode())(t)
		check(t, c.AwaitVoters(within(t, 2*time.Minute)))
	}
	finish(t, c, load)
}

// TestHAReplaceLostDisk takes a node its disk, a follower's and then the leader's, and starts it again with the same flags: it joins as a new server, and the one
// that it was is removed.
func TestHAReplaceLostDisk(t *testing.T) {
	c := harness.Start(t, 3)
	load := growingLoad(t, c)
	for range 2 {
		for _, lost := range c.Nodes[1:] {
			check(t, lost.ForgetDisk())
			check(t, lost.Start())
			check(t, c.AwaitVoters(within(t, 2*time.Minute)))
			check(t, c.AwaitReady(within(t, time.Minute)))
		}
		check(t, c.Nodes[0].Post(within(t, time.Minute), "/api/cluster/transfer-leader", map[string]string{"to": c.Nodes[1].Name}))
	}
	finish(t, c, load)
}

// TestHARemovedNodeEnds removes a node that is down and starts it again: it is told, ends with its own exit code, and says what to do when it is started once more.
func TestHARemovedNodeEnds(t *testing.T) {
	c := harness.Start(t, 3)
	load := growingLoad(t, c)
	gone := c.Nodes[2]
	gone.Kill()
	check(t, harness.Poll(within(t, time.Minute), func() error {
		return c.Nodes[0].Post(t.Context(), "/api/cluster/remove", map[string]any{"node": gone.Name, "force": false})
	}))
	for range 2 {
		check(t, gone.Start())
		if code := must(gone.AwaitExit(within(t, time.Minute)))(t); code != 6 {
			t.Errorf("exit code %d; its log ends:\n%s", code, gone.LogTail(5))
		}
	}
	c.Nodes = c.Others(gone)
	finish(t, c, load)
}

// TestHADeadServersGo kills two of five: one is removed after its time, which leaves four voters, the other one then too; the three that are left stay, though
// one of them dies as well.
func TestHADeadServersGo(t *testing.T) {
	c := harness.Start(t, 5, "--dead-server-after", "1m")
	load := growingLoad(t, c)
	for range 2 {
		dead := c.Nodes[len(c.Nodes)-1]
		dead.Kill()
		c.Nodes = c.Others(dead)
	}
	check(t, c.AwaitVoters(within(t, 3*time.Minute)))
	dead := c.Nodes[2]
	dead.Kill()
	over := time.Now().Add(75 * time.Second) // its time, and some looks of the leader
	check(t, harness.Poll(within(t, 2*time.Minute), func() error {
		st, err := c.Nodes[0].Status(t.Context())
		if err == nil && len(st.Nodes) != 3 {
			t.Fatalf("%d members are left", len(st.Nodes))
		}
		if time.Now().Before(over) {
			return errors.New("its time is not over yet")
		}
		return err
	}))
	check(t, dead.Start())
	check(t, c.AwaitReady(within(t, time.Minute)))
	finish(t, c, load)
}
