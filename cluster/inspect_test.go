package cluster

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fingerprint covers every name, size, mode, time of change and byte below a folder.
func fingerprint(t *testing.T, dir string) [32]byte {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(sum, path, info.Size(), info.Mode(), info.ModTime())
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(sum, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(sum.Sum(nil))
}

func inspected(t *testing.T, dir string) FolderInfo {
	t.Helper()
	info, err := InspectFolder(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestInspectStoppedFolder(t *testing.T) {
	for _, kind := range []LogKind{LogWAL, LogBolt} {
		c := newCluster(t, 1, func(c *Config) { c.LogStore, c.LogSegmentBytes = kind, 64<<10 }).start()
		x := c.leader()
		sent := x.fill(8)
		if err := x.group.takeSnapshot(); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, x.send(x.stream(), 9, 12)...)
		x.applied(sent...)
		g := x.group
		cluster, server := g.Cluster(), g.Self()
		x.stop()
		index := g.AppliedIndex() // only now: the machine tells of an entry a moment before it is counted
		before := fingerprint(t, x.cfg.DataDir)
		info := inspected(t, x.cfg.DataDir)
		var found []string
		extent, err := InspectLog(x.cfg.DataDir, 3, index, func(e *LogEntry) error {
			if e.Fault != nil || e.Index < 3 {
				t.Errorf("entry %d: %v", e.Index, e.Fault)
			}
			if e.Type == "command" {
				found = append(found, string(e.Data))
			}
			return nil
		})
		if err != nil || extent.Last != index || fingerprint(t, x.cfg.DataDir) != before {
			t.Fatalf("%s: the log reaches to %d (%v), or looking at it changed it", kind, extent.Last, err)
		}
		if len(found) < 4 || !strings.HasSuffix(found[len(found)-1], sent[len(sent)-1]) {
			t.Errorf("%s: %d commands, not up to the last", kind, len(found))
		}
		want := EntryID{index, info.Log.LastTerm}
		if info.Cluster != cluster || info.Server != server || info.Name != "n1" || info.LogStore != kind || info.Last.Index < want.Index || info.Term < want.Term ||
			info.VotedFor == "" || info.Durable != info.Log.Last || len(info.Faults) > 0 || info.Interrupted != "" {
			t.Errorf("%s: %+v", kind, info)
		}
		if len(info.Servers) != 1 || info.Servers[0].Server != server || len(info.Snapshots) != 1 || !info.Snapshots[0].Verified {
			t.Errorf("%s: servers %v, snapshots %v", kind, info.Servers, info.Snapshots)
		}
		state, snapshot, err := OpenSnapshotState(x.cfg.DataDir)
		if err != nil || snapshot.ID != info.Snapshots[0].ID {
			t.Fatal(snapshot, err)
		}
		m := newTestMachine()
		if err := m.Restore(state, false); err != nil || !slices.Equal(m.view().Items, sent[:8]) {
			t.Errorf("%s: the snapshot does not hold what was sent before it: %v", kind, err)
		}
		state.Close()
	}
}

// A node that is looked at while it fills segments and compacts them goes on; what is shown of it is whole.
func TestInspectLiveFolder(t *testing.T) {
	c := newCluster(t, 1, func(c *Config) {
		c.LogSegmentBytes, c.SnapshotBytes, c.TrailingBytes = 64<<10, 512<<10, 128<<10
	}).start()
	x := c.leader()
	done := make(chan []string)
	go func() { done <- x.fill(60) }()
	looks := 0
	for more := true; more; looks++ {
		info := inspected(t, x.cfg.DataDir)
		if len(info.Faults) > 0 && !info.Log.Overtaken {
			t.Errorf("look %d: %+v", looks, info)
		}
		select {
		case sent := <-done:
			more = false
			x.applied(sent...)
		default:
		}
	}
	if info := inspected(t, x.cfg.DataDir); info.Log.First == 1 || info.Last.Index < x.group.AppliedIndex() || len(info.Faults) > 0 {
		t.Errorf("after %d looks: %+v", looks, info)
	}
	x.stop()
	x.start()
	c.leader()
}

func TestInspectSeesDamage(t *testing.T) {
	c := newCluster(t, 1, func(c *Config) { c.LogSegmentBytes = 64 << 10 }).start()
	x := c.leader()
	x.fill(5)
	if err := x.group.takeSnapshot(); err != nil {
		t.Fatal(err)
	}
	x.stop()
	segments, err := filepath.Glob(filepath.Join(x.cfg.DataDir, "log", "*.wal"))
	if err != nil || len(segments) < 2 {
		t.Fatal(segments, err)
	}
	states, err := filepath.Glob(filepath.Join(x.cfg.DataDir, "snapshots", "*", "state.bin"))
	if err != nil || len(states) != 1 {
		t.Fatal(states, err)
	}
	for _, path := range []string{segments[0], states[0]} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		altered := slices.Clone(whole)
		altered[200] ^= 4
		if err := os.WriteFile(path, altered, 0o600); err != nil {
			t.Fatal(err)
		}
		if info := inspected(t, x.cfg.DataDir); len(info.Faults) == 0 {
			t.Errorf("a flipped bit of %s was not seen", path)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if info := inspected(t, x.cfg.DataDir); len(info.Faults) > 0 {
		t.Errorf("%v in a whole folder", info.Faults)
	}
	if _, err := InspectFolder(t.TempDir(), false); err == nil {
		t.Error("an empty folder was taken for a node's")
	}
}
