//go:build root

package system

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestRandomPartitions is TestRandomFaults on hosts of their own, which are cut off from the others too, in one direction or both, from all or from one.
// TRIAGEMQ_RANDOM_SECONDS is 300 by default.
func TestRandomPartitions(t *testing.T) {
	w := harness.NewNetwork(t, 3)
	c := startOn(t, w)
	check(t, c.AwaitReady(within(t, 30*time.Second)))
	runRandom(t, c, w, 5*time.Minute)
}

// startOn starts a cluster with one node a host, and shows the ends of its logs when the test failed.
func startOn(t *testing.T, w *harness.Network) *harness.Cluster {
	secret := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(secret, []byte("a secret of this test\n"), 0o600))
	c := must(harness.Open(harness.Config{Binary: harness.Binary(t), Dir: t.TempDir(), Nodes: len(w.Hosts), Hosts: w.Hosts, Login: "app:app",
		Args: []string{"--cluster-secret-file", secret, "--default-user", "app", "--default-pass", "app"}}))(t)
	t.Cleanup(func() {
		c.Close()
		for _, n := range c.Nodes {
			if t.Failed() {
				t.Logf("the end of %s's log:\n%s", n.Name, n.LogTail(60))
			}
		}
	})
	return c
}
