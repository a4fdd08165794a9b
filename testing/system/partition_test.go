//go:build root

package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestPartition cuts one node off from everybody, first a follower, then the leader, for longer than the cluster waits for an origin, and heals. The others
// go on; the node that was cut off closes its clients and comes back with the same state.
func TestPartition(t *testing.T) {
	w := harness.NewNetwork(t, 3)
	secret := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(secret, []byte("a secret of this test\n"), 0o600))
	c := must(harness.Open(harness.Config{Binary: harness.Binary(t), Dir: t.TempDir(), Nodes: 3, Hosts: w.Hosts, Login: "app:app",
		Args: []string{"--cluster-secret-file", secret, "--default-user", "app", "--default-pass", "app"}}))(t)
	t.Cleanup(func() {
		c.Close()
		for _, n := range c.Nodes {
			if t.Failed() {
				t.Logf("the end of %s's log:\n%s", n.Name, n.LogTail(40))
			}
		}
	})
	check(t, c.AwaitReady(within(t, 30*time.Second)))
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	progress(t, load, 500)
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	cut := map[string]bool{}
	for _, n := range []*harness.Node{c.Others(leader)[0], leader} {
		k := int(n.Name[1] - '1')
		w.Cut(t, k)
		cut[n.Name] = true
		until := time.Now().Add(20 * time.Second)
		check(t, harness.Poll(within(t, 20*time.Second), func() error {
			st, err := c.Others(n)[0].Status(t.Context())
			if err != nil || st.Leader == "" || st.Leader == n.Name {
				return fmt.Errorf("no new leader: %+v %v", st, err)
			}
			return nil
		}))
		progress(t, load, 500)
		check(t, harness.Poll(t.Context(), func() error {
			if time.Now().Before(until) {
				return fmt.Errorf("the partition is not over")
			}
			return nil
		}))
		w.Plug(t, k)
		check(t, c.AwaitReady(within(t, 60*time.Second)))
		progress(t, load, 500)
	}
	load.StopPublishing()
	check(t, load.Drain(within(t, 90*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	for _, d := range load.Ledger.Disconnects() {
		if node, _, _ := strings.Cut(d, ":"); !cut[node] {
			t.Errorf("a connection to a node that was not cut off ended: %s", d)
		}
	}
	judge(t, load)
}
