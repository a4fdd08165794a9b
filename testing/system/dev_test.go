package system

import (
	"bufio"
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

// TestDevLeavesNothingBehind kills triagemq dev with SIGKILL, which it cannot see coming: its nodes end all the same, one that start-node started too. Without a
// dev process a node that start-node started stays.
func TestDevLeavesNothingBehind(t *testing.T) {
	bin, dir, base := harness.Binary(t), t.TempDir(), basePorts(t)
	n := &harness.Node{Name: "n1", AMQP: loopback(base), HTTP: loopback(base + 1)}
	startNode := func() int {
		if out, err := exec.Command(bin, "dev", "start-node", "n1", "--data-dir", dir).CombinedOutput(); err != nil {
			t.Fatalf("start-node: %v\n%s", err, out)
		}
		return pidOf(t, dir, "n1")
	}
	dev := func() *exec.Cmd {
		cmd := exec.Command(bin, "dev", "--nodes", "1", "--data-dir", dir, "--amqp-port", fmt.Sprint(base), "--http-port", fmt.Sprint(base+1), "--peer-port", fmt.Sprint(base+2), "--gossip-port", fmt.Sprint(base+3))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out := must(cmd.StdoutPipe())(t)
		cmd.Stderr = os.Stderr
		check(t, cmd.Start())
		for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C"); {
			t.Log(lines.Text())
		}
		return cmd
	}

	cmd := dev()
	first := pidOf(t, dir, "n1")
	out, err := exec.Command(bin, "dev", "--nodes", "1", "--data-dir", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another triagemq dev runs in") {
		t.Errorf("a second dev in the same folder: %v: %s", err, out)
	}
	check(t, cmd.Process.Kill())
	cmd.Wait()
	awaitGone(t, first)

	cmd = dev() // the same ports and folder at once
	second := pidOf(t, dir, "n1")
	check(t, syscall.Kill(second, syscall.SIGKILL))
	awaitGone(t, second)
	third := startNode()
	check(t, cmd.Process.Kill())
	cmd.Wait()
	awaitGone(t, third)

	fourth := startNode()
	t.Cleanup(func() { syscall.Kill(fourth, syscall.SIGKILL) })
	check(t, harness.Poll(within(t, 30*time.Second), func() error {
		_, err := n.Status(t.Context())
		return err
	}))
	if errors.Is(syscall.Kill(fourth, 0), syscall.ESRCH) {
		t.Error("a node that start-node started did not outlive it")
	}
}

func pidOf(t *testing.T, dir, node string) (pid int) {
	t.Helper()
	b := must(os.ReadFile(filepath.Join(dir, node, "triagemq.pid")))(t)
	must(fmt.Sscan(string(b), &pid))(t)
	return pid
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	check(t, harness.Poll(within(t, 15*time.Second), func() error {
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(state), ") Z ") {
			return fmt.Errorf("process %d lives", pid)
		}
		return nil
	}))
}
