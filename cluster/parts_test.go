package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLostParts takes parts out of the folder of a node that has confirmed entries. It must not start as if it were new.
func TestLostParts(t *testing.T) {
	for _, part := range []string{"log", "stable.bolt", "snapshots", "log/durable-index"} {
		t.Run(part, func(t *testing.T) {
			c := newCluster(t, 1, nil).start()
			x := c.leader()
			x.applied(x.send(x.stream(), 1, 5)...)
			x.stop()
			if err := os.RemoveAll(filepath.Join(x.cfg.DataDir, part)); err != nil {
				t.Fatal(err)
			}
			_, err := Open(x.cfg, newTestMachine())
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), part) {
				t.Errorf("opened without %s: %v", part, err)
			}
		})
	}
}
