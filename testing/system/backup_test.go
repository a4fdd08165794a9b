package system

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestBackupAndRestore takes a backup of a node with a delivery in flight, restores it beside the living one, and finds every message, marked as redelivered.
func TestBackupAndRestore(t *testing.T) {
	old := harness.Start(t, 1)
	n := old.Nodes[0]
	ch := channel(t, n)
	must(ch.QueueDeclare("kept", true, false, false, false, nil))(t)
	must(ch.QueueDeclare("gone", false, false, true, false, nil))(t) // exclusive
	check(t, ch.Confirm(false))
	for i := range 20 {
		confirmed(t, ch, "kept", amqp.Publishing{Body: fmt.Appendf(nil, "message %d", i), DeliveryMode: 2})
	}
	held := must(ch.Consume("kept", "", false, false, false, false, nil))(t)
	next(t, held)

	dir := t.TempDir()
	file, url := filepath.Join(dir, "b"), "http://"+n.HTTP
	triagemq(t, 0, `"state_bytes"`, "backup", "--to", file, "--json", "--url", url)
	triagemq(t, 2, "exists", "backup", "--to", file, "--url", url)
	triagemq(t, 3, "Login failed", "backup", "--to", filepath.Join(dir, "c"), "--user", "guest", "--password", "wrong", "--url", url)
	triagemq(t, 0, "FILE", "backup", "verify", file)
	triagemq(t, 0, "kept", "inspect", "backup", file)
	triagemq(t, 0, "basic.publish on 1.1 RoutingKey=kept", "inspect", "log", n.Dir)
	triagemq(t, 0, "last entry", "inspect", "folder", "--verify", n.Dir)
	damage(t, file, filepath.Join(dir, "damaged"))
	triagemq(t, 4, "damaged", "backup", "verify", filepath.Join(dir, "damaged"))

	folder := filepath.Join(dir, "cluster", "n1")
	triagemq(t, 1, "damaged", "restore", "--from", filepath.Join(dir, "damaged"), "--data-dir", folder, "--node-id", "n1")
	triagemq(t, 0, "20 messages", "restore", "--from", file, "--data-dir", folder, "--node-id", "n1")
	triagemq(t, 3, "not empty", "restore", "--from", file, "--data-dir", folder, "--node-id", "n1")
	restored := must(harness.Open(harness.Config{Binary: harness.Binary(t), Dir: filepath.Join(dir, "cluster"), Nodes: 1, Args: []string{"--join", n.Gossip}}))(t)
	t.Cleanup(restored.Close) // it is told of the living one, and must not meet it
	check(t, restored.AwaitReady(within(t, 30*time.Second)))
	expectRestored(t, restored.Nodes[0])
	if st := must(n.Status(within(t, 5*time.Second)))(t); len(st.Nodes) != 1 {
		t.Errorf("the old cluster and the new one met: %+v", st)
	}
}

func expectRestored(t *testing.T, n *harness.Node) {
	t.Helper()
	ch := channel(t, n)
	if _, err := channel(t, n).QueueDeclarePassive("gone", false, false, false, false, nil); err == nil {
		t.Error("an exclusive queue was restored")
	}
	for i := range 20 {
		d, found, err := ch.Get("kept", true)
		if err != nil || !found || string(d.Body) != fmt.Sprintf("message %d", i) || !d.Redelivered {
			t.Fatalf("message %d: %q, found %v, redelivered %v, %v", i, d.Body, found, d.Redelivered, err)
		}
	}
}

// damage copies a file with one bit flipped.
func damage(t *testing.T, from, to string) {
	t.Helper()
	b := must(os.ReadFile(from))(t)
	b[len(b)/2] ^= 1
	check(t, os.WriteFile(to, b, 0o600))
}
