//go:build ha

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

// TestHADamagedNodeComesBack damages a part of a node's folder while the node is down, part after part, of followers and the leader in turn. The node sets its
// folder aside by itself, is a voter again under a new id, and nothing is lost.
func TestHADamagedNodeComesBack(t *testing.T) {
	c := harness.Start(t, 3)
	load := growingLoad(t, c)
	victims := c.Nodes[1:]
	for i, part := range []string{"log/*.wal", "stable.bolt", "boot", "identity.json", "log/durable-index", "log/wal-meta.db"} {
		victim := victims[i%len(victims)]
		if i == 2 {
			check(t, c.Nodes[0].Post(within(t, time.Minute), "/api/cluster/transfer-leader", map[string]string{"to": victim.Name}))
		}
		progress(t, load, 300)
		victim.Kill()
		spoil(t, filepath.Join(victim.Dir, part))
		check(t, victim.Start())
		check(t, c.AwaitVoters(within(t, 2*time.Minute)))
		check(t, c.AwaitReady(within(t, time.Minute)))
		if tail := victim.LogTail(400); strings.Count(tail, "it was set aside, and this node joins the cluster anew") == 0 {
			t.Errorf("%s says nothing of %s:\n%s", victim.Name, part, victim.LogTail(30))
		}
	}
	finish(t, c, load)
}

// TestHADamageWithoutOthersIsRefused: a node that is alone, and one whose operator wants it so, does not start and stays as it is.
func TestHADamageWithoutOthersIsRefused(t *testing.T) {
	for name, args := range map[string][]string{"alone": nil, "refuse": {"--on-damage", "refuse"}} {
		t.Run(name, func(t *testing.T) {
			nodes := map[bool]int{true: 1, false: 3}[args == nil]
			c := harness.Start(t, nodes, args...)
			n := c.Nodes[nodes-1]
			n.Kill()
			spoil(t, filepath.Join(n.Dir, "stable.bolt"))
			for range 2 {
				check(t, n.Start())
				if code := must(n.AwaitExit(within(t, time.Minute)))(t); code != 1 {
					t.Errorf("exit code %d", code)
				}
			}
			if tail := n.LogTail(5); !strings.Contains(tail, "set the folder aside") {
				t.Errorf("no advice in:\n%s", tail)
			}
			if aside, _ := filepath.Glob(filepath.Join(n.Dir, "damaged-*")); len(aside) > 0 {
				t.Errorf("it was set aside: %v", aside)
			}
		})
	}
}

// spoil overwrites the beginning of each file that matches.
func spoil(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal("nothing to spoil: ", pattern, err)
	}
	for _, path := range files {
		f := must(os.OpenFile(path, os.O_RDWR, 0))(t)
		info := must(f.Stat())(t)
		junk := []byte(strings.Repeat("spoilt! ", int(min(info.Size(), 64<<10))/8+1))
		must(f.WriteAt(junk[:min(info.Size(), int64(len(junk)))], 0))(t)
		check(t, f.Close())
	}
}

// TestHAKilledAtAnyMoment kills a lone node again and again, a moment after each start: while it founds, draws a boot, takes snapshots, compacts. It always
// comes back with everything that was confirmed.
func TestHAKilledAtAnyMoment(t *testing.T) {
	c := harness.Start(t, 1)
	n := c.Nodes[0]
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, BodyBytes: 4 << 10}))(t)
	for i := range 60 {
		moment := time.After(time.Duration(i) * 13 * time.Millisecond)
		if i%10 == 9 {
			progress(t, load, 200)
		}
		<-moment
		n.Kill()
		check(t, n.Start())
	}
	check(t, c.AwaitReady(within(t, time.Minute)))
	load.StopPublishing()
	check(t, load.Drain(within(t, time.Minute)))
	judge(t, load)
	if aside, _ := filepath.Glob(filepath.Join(n.Dir, "damaged-*")); len(aside) > 0 {
		t.Error(fmt.Errorf("a kill was taken for damage: %v", aside))
	}
}
