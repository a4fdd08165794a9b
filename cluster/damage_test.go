package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// harms are what a disk, or a person, does to a file.
var harms = map[string]func(path string, content []byte) error{
	"flip at the start":   func(path string, b []byte) error { return flip(path, b, 0.01) },
	"flip in the middle":  func(path string, b []byte) error { return flip(path, b, 0.5) },
	"garbage":             func(path string, b []byte) error { return os.WriteFile(path, garbage(b), 0o600) },
	"cut in the middle":   func(path string, b []byte) error { return os.Truncate(path, int64(len(b)/2)) },
	"emptied":             func(path string, b []byte) error { return os.Truncate(path, 0) },
	"deleted":             func(path string, b []byte) error { return os.Remove(path) },
	"deleted with folder": func(path string, b []byte) error { return os.RemoveAll(filepath.Dir(path)) },
}

func flip(path string, b []byte, at float64) error {
	b = slices.Clone(b)
	b[int(float64(len(b)-1)*at)] ^= 0x10
	return os.WriteFile(path, b, 0o600)
}

func garbage(b []byte) []byte {
	b = slices.Clone(b)
	for i := range b[:min(len(b), 64<<10)] {
		b[i] ^= 0xff
	}
	return b
}

// usedFolder is the folder of a lone node with two snapshots and a log of several segments, its payloads, and what it is opened with.
func usedFolder(t *testing.T, trailingBytes int64) (cfg Config, payloads []string) {
	t.Helper()
	c := newCluster(t, 1, func(cfg *Config) {
		cfg.LogSegmentBytes, cfg.TrailingBytes, cfg.OnDamage = 256<<10, trailingBytes, DamageRefuse
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	}).start()
	x := c.leader()
	for range 2 {
		payloads = append(payloads, x.fill(4)...)
		if err := x.group.takeSnapshot(); err != nil {
			t.Fatal(err)
		}
	}
	payloads = append(payloads, x.fill(4)...)
	if _, err := x.group.NextBoot(); err != nil {
		t.Fatal(err)
	}
	x.stop()
	return x.cfg, payloads
}

// TestDamageIsNeverSilent does every harm to every file of a folder. The node then either has everything that was confirmed, or does not start and says what to
// do; it says so at every start, and it never panics.
func TestDamageIsNeverSilent(t *testing.T) {
	cfg, payloads := usedFolder(t, 1<<30)
	for _, file := range []string{"identity.json", "boot", "stable.bolt", "log/durable-index", "log/wal-meta.db", "log/*.wal", "snapshots/*/*"} {
		harmAll(t, cfg, file, payloads)
	}
	cfg, payloads = usedFolder(t, 0) // the log does not reach back to the older snapshot
	harmAll(t, cfg, "snapshots/*/*", payloads)
}

// harmAll does every harm to each file that matches; of the log's segments to the first and the last.
func harmAll(t *testing.T, cfg Config, pattern string, payloads []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.DataDir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatal("nothing to harm: ", pattern, err)
	}
	if pattern == "log/*.wal" {
		files = []string{files[0], files[len(files)-1]}
	}
	for _, path := range files {
		file, _ := filepath.Rel(cfg.DataDir, path)
		for harm := range harms {
			if harm == "deleted with folder" && !strings.Contains(file, "/") {
				continue // no trace is left of what this node was
			}
			t.Run(file+" "+harm, func(t *testing.T) {
				t.Parallel()
				openHarmed(t, cfg, file, harm, payloads)
			})
		}
	}
}

func openHarmed(t *testing.T, cfg Config, file, harm string, payloads []string) {
	cfg = onCopy(t, cfg)
	path := filepath.Join(cfg.DataDir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := harms[harm](path, content); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		x := &testNode{t: t, name: "n1", cfg: cfg, machine: newTestMachine()}
		x.group, err = Open(cfg, x.machine)
		if err == nil {
			x.applied(payloads...)
			x.stop()
			return
		}
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "set the folder aside") {
			t.Errorf("no advice in: %v", err)
		}
		cfg = onCopy(t, cfg) // what an attempt that failed has open stays open to the end of its process
	}
}

// onCopy is the configuration for a copy of the folder.
func onCopy(t *testing.T, cfg Config) Config {
	original := cfg.DataDir
	cfg.DataDir = filepath.Join(t.TempDir(), "n1")
	cfg.PeerAddr, cfg.GossipAddr = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Fatal = func(err error) { t.Errorf("fatal: %v", err) }
	if err := os.CopyFS(cfg.DataDir, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestRefusalIsNoDamage: what the operating system refuses says nothing about the folder.
func TestRefusalIsNoDamage(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EACCES, syscall.EROFS, syscall.EIO, syscall.EMFILE} {
		if err := judgeDamage(fmt.Errorf("opening: %w", &fs.PathError{Op: "open", Path: "x", Err: errno})); errors.Is(err, ErrDamaged) {
			t.Errorf("%v was taken for damage", err)
		}
	}
}

// TestUnfinishedSnapshotIsNoDamage: a leader may send a snapshot as soon as raft runs, which is before damaged ones are cleared away.
func TestUnfinishedSnapshotIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	s, err := openSnapshots(dir, testConfig(t, "n1").Logger)
	if err != nil {
		t.Fatal(err)
	}
	unfinished, damaged := filepath.Join(s.path, "2-20-1.tmp"), filepath.Join(s.path, "1-10-1")
	for _, path := range []string{unfinished, damaged} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.removeUndescribed()
	if !exists(unfinished) || exists(damaged) {
		t.Errorf("the unfinished one is there: %v; the damaged one: %v", exists(unfinished), exists(damaged))
	}
}

// TestSettingAsideIsResumed stops the plan after each of its steps. The next start carries it out to its end, the new identity is the planned one, and what was
// set aside is whole.
func TestSettingAsideIsResumed(t *testing.T) {
	used, _ := usedFolder(t, 0)
	steps := append([]string{""}, folderParts...)
	for i := range steps {
		t.Run(fmt.Sprint(steps[:i+1]), func(t *testing.T) {
			cfg := onCopy(t, used)
			d := &dataDir{path: cfg.DataDir}
			cluster := d.clusterOnDisk()
			cfg.Join, cfg.BootstrapExpect = []string{freeAddr(t)}, 0
			plan := settingAside{Folder: setAsidePrefix + "1", Next: newIdentity("n1")}
			plan.Next.Rejoins, plan.Next.Cluster = true, cluster
			writeJSON(t, d.file(setAsidePlan), plan)
			for _, part := range steps[1 : i+1] {
				if err := errors.Join(os.MkdirAll(d.file(plan.Folder), 0o700), os.Rename(d.file(part), filepath.Join(d.file(plan.Folder), part))); err != nil {
					t.Fatal(err)
				}
			}
			if i == len(steps)-1 {
				writeJSON(t, d.file("identity.json"), plan.Next)
			}
			for range 2 {
				g, err := Open(cfg, newTestMachine())
				if err != nil {
					t.Fatal(err)
				}
				id, _ := g.dir.identity()
				if g.Self() != plan.Next.Server || !id.Rejoins || id.Cluster != cluster || g.hasState() {
					t.Errorf("came back as %+v, with state: %v", id, g.hasState())
				}
				if err := g.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}
			for _, part := range folderParts {
				if _, err := os.Stat(filepath.Join(d.file(plan.Folder), part)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestDamagedNodeComesBackAsAnother: with others at hand a node sets its folder aside by itself, keeps only a few of such folders, and founds no cluster.
func TestDamagedNodeComesBackAsAnother(t *testing.T) {
	cfg, _ := usedFolder(t, 0)
	other := newCluster(t, 1, nil).start() // any node whose gossip answers
	cfg.OnDamage, cfg.Join, cfg.BootstrapExpect = DamageRejoin, []string{other.nodes[0].cfg.GossipAddr}, 1
	seen := map[string]bool{}
	for range setAsideKept + 2 {
		if err := os.Remove(filepath.Join(cfg.DataDir, "stable.bolt")); err != nil {
			t.Fatal(err)
		}
		g, err := Open(cfg, newTestMachine())
		if err != nil {
			t.Fatal(err)
		}
		if id, _ := g.dir.identity(); seen[id.Server] || id.Drawn || g.hasState() {
			t.Errorf("came back as %+v, with state: %v", id, g.hasState())
		}
		seen[g.Self()] = true
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if kept, _ := filepath.Glob(filepath.Join(cfg.DataDir, setAsidePrefix+"*")); len(kept) != setAsideKept {
		t.Errorf("%d folders set aside are kept: %v", len(kept), kept)
	}
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
