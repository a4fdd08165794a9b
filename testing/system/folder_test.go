package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestFolderOfOneProcess starts a second process on a node's folder. It ends and names the folder and the first process, which notices nothing. A folder that cannot
// be written to is said to be that.
func TestFolderOfOneProcess(t *testing.T) {
	c := harness.Start(t, 1)
	n := c.Nodes[0]
	second := func(dir string) string {
		cmd := exec.CommandContext(within(t, 30*time.Second), harness.Binary(t), "server", "--node-id", "n1", "--data-dir", dir,
			"--amqp-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--peer-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0")
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); err == nil || code != 1 {
			t.Errorf("exit code %d: %v", code, err)
		}
		return string(out)
	}
	if out := second(n.Dir); !strings.Contains(out, n.Dir) || !strings.Contains(out, fmt.Sprintf("process %d", n.PID())) {
		t.Errorf("neither folder nor process %d is named in:\n%s", n.PID(), out)
	}
	ch := channel(t, n)
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("q", true, false, false, false, nil))(t)
	confirmed(t, ch, "q", amqp.Publishing{Body: []byte("x")})

	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if out := second(filepath.Join(file, "data")); !strings.Contains(out, "making the data folder") {
		t.Errorf("a folder below a file:\n%s", out)
	}
	if out := second("/proc"); !strings.Contains(out, "cannot write to the data folder") {
		t.Errorf("a read-only folder:\n%s", out)
	}
}
