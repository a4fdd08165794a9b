//go:build root

package system

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestRootDiskFull fills the disk of one of three nodes, first by publishing, then by a foreign file that takes the last byte again and again. Publishers are
// held, consumers go on; when space returns, so do the publishers, by themselves. If the node ends it says why, and comes back. Nothing confirmed is lost.
func TestRootDiskFull(t *testing.T) {
	disk := smallDisk(t, 640<<20)
	c := must(harness.Open(harness.Config{
		Binary: harness.Binary(t), Dir: t.TempDir(), Nodes: 3, Args: []string{"--disk-free-low", "128MiB"},
		Hosts: []harness.Host{{IP: "127.0.0.1"}, {IP: "127.0.0.1", DataDir: filepath.Join(disk, "data")}},
	}))(t)
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			for _, n := range c.Nodes {
				t.Logf("the end of %s's log:\n%s", n.Name, n.LogTail(30))
			}
		}
	})
	check(t, c.AwaitReady(within(t, 30*time.Second)))
	small := c.Nodes[1]
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{
		Queue: "work", BodyBytes: 64 << 10, Window: 16, Publishers: []*harness.Node{c.Nodes[0]}, Consumers: nil,
	}))(t)

	t.Log("filling by publishing")
	check(t, awaitHeld(t, load))
	t.Logf("held after %d messages, %d MiB free on the small disk", load.Ledger.Confirmed(), freeMiB(t, disk))
	if !small.Running() {
		t.Fatal("the node has ended")
	}

	t.Log("a foreign file takes the rest")
	hog := filepath.Join(disk, "hog")
	check(t, harness.Poll(within(t, 20*time.Second), func() error {
		fill(t, hog)
		if reserve := filepath.Join(small.DataDir, "reserve"); exists(reserve) {
			return errors.New("the reserve is still there")
		}
		return nil
	}))
	fill(t, hog)
	load.Consume(c.Nodes[0], c.Nodes[2])
	check(t, harness.Poll(within(t, time.Minute), func() error {
		if _, acked := load.Ledger.ByNode(); acked["n1"]+acked["n3"] < 500 {
			return fmt.Errorf("only %v acknowledged", acked)
		}
		return nil
	}))
	t.Logf("500 messages consumed on a full disk; the small node runs: %v; %d MiB free", small.Running(), freeMiB(t, disk))
	if !small.Running() && !strings.Contains(small.LogTail(50), "is full") {
		t.Errorf("the node ended and does not say why:\n%s", small.LogTail(30))
	}

	t.Log("space returns")
	check(t, os.Remove(hog))
	if !small.Running() {
		check(t, small.Start())
	}
	check(t, c.AwaitReady(within(t, time.Minute)))
	progress(t, load, 200)
	load.StopPublishing()
	check(t, load.Drain(within(t, 2*time.Minute)))
	check(t, c.AwaitEqualDigests(within(t, time.Minute)))
	judge(t, load)
}

// TestRootNoSpaceAtStart: a first start on a full disk, and a later one, say how much is needed, and succeed once there is space.
func TestRootNoSpaceAtStart(t *testing.T) {
	disk := smallDisk(t, 300<<20)
	hog := filepath.Join(disk, "hog")
	fill(t, hog)
	c := must(harness.Open(harness.Config{
		Binary: harness.Binary(t), Dir: t.TempDir(), Nodes: 1, Args: []string{"--disk-free-low", "32MiB"},
		Hosts: []harness.Host{{IP: "127.0.0.1", DataDir: filepath.Join(disk, "data")}},
	}))(t)
	t.Cleanup(c.Close)
	n := c.Nodes[0]
	refuses := func() {
		t.Helper()
		if code := must(n.AwaitExit(within(t, 30*time.Second)))(t); code == 0 {
			t.Error("exit code 0")
		}
		if tail := n.LogTail(5); !strings.Contains(tail, "is full") || !strings.Contains(tail, "MiB are needed") {
			t.Errorf("the log ends:\n%s", tail)
		}
	}
	refuses()
	check(t, os.Remove(hog))
	check(t, n.Start())
	check(t, c.AwaitReady(within(t, 30*time.Second)))
	n.Kill()
	os.Remove(filepath.Join(n.DataDir, "reserve"))
	fill(t, hog)
	check(t, n.Start())
	refuses()
	check(t, os.Remove(hog))
	check(t, n.Start())
	check(t, c.AwaitReady(within(t, 30*time.Second)))
}

// smallDisk mounts an ext4 file system of its own; the test unmounts it.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mount")
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	f := must(os.Create(image))(t)
	check(t, errors.Join(f.Truncate(size), f.Close()))
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s", name, err, out)
		}
	}
	run("mkfs.ext4", "-q", "-m", "0", image)
	run("mount", "-o", "loop", image, dir)
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	return dir
}

// fill makes a file that takes all there is, or makes it larger.
func fill(t *testing.T, path string) {
	t.Helper()
	f := must(os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))(t)
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 16
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func freeMiB(t *testing.T, dir string) uint64 {
	t.Helper()
	var st syscall.Statfs_t
	check(t, syscall.Statfs(dir, &st))
	return st.Bavail * uint64(st.Bsize) >> 20
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// awaitHeld waits until nothing was confirmed for three seconds.
func awaitHeld(t *testing.T, load *harness.Load) error {
	last, at := -1, time.Now()
	return harness.Poll(within(t, 2*time.Minute), func() error {
		if n := load.Ledger.Confirmed(); n != last {
			last, at = n, time.Now()
		}
		if time.Since(at) < 3*time.Second {
			return fmt.Errorf("%d messages and still going", last)
		}
		return nil
	})
}
