//go:build ha

package system

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// publishNumbered publishes numbers to a queue of three nodes and waits for every confirm.
func publishNumbered(t *testing.T, n *harness.Node, queue string, from, to int) {
	t.Helper()
	ch := channel(t, n)
	must(ch.QueueDeclare(queue, true, false, false, false, nil))(t)
	check(t, ch.Confirm(false))
	var waits []*amqp.DeferredConfirmation
	for i := from; i < to; i++ {
		p := amqp.Publishing{Body: fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 1000)), DeliveryMode: 2}
		waits = append(waits, must(ch.PublishWithDeferredConfirm("", queue, false, false, p))(t))
	}
	for _, w := range waits {
		if !must(w.WaitContext(within(t, time.Minute)))(t) {
			t.Fatal("a publish was refused")
		}
	}
}

// drainNumbered gets everything out of a queue and expects the numbers up to least, each once and redelivered.
func drainNumbered(t *testing.T, n *harness.Node, queue string, least int) {
	t.Helper()
	ch := channel(t, n)
	seen := map[string]bool{}
	for {
		d, found, err := ch.Get(queue, true)
		check(t, err)
		if !found {
			break
		}
		number, _, _ := strings.Cut(string(d.Body), " ")
		if seen[number] || !d.Redelivered {
			t.Fatalf("message %s: twice %v, redelivered %v", number, seen[number], d.Redelivered)
		}
		seen[number] = true
	}
	for i := range least {
		if !seen[fmt.Sprint(i)] {
			t.Fatalf("message %d is lost; %d are there", i, len(seen))
		}
	}
}

// TestHARestoreUnderLoad takes a slow backup from a follower while clients publish, kills the cluster, restores, and grows the new cluster to three.
func TestHARestoreUnderLoad(t *testing.T) {
	const before, after = 20_000, 2_000
	c := harness.Start(t, 3)
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	follower := c.Others(leader)[0]
	publishNumbered(t, leader, "q", 0, before)
	file := filepath.Join(t.TempDir(), "b")
	done := make(chan string)
	go func() { // 20 MB at 1 MB/s: longer than any time-out of a request
		out, code := command(t, "backup", "--to", file, "--limit-rate", "1000000", "--url", "http://"+follower.HTTP)
		done <- fmt.Sprint(code, " ", out)
	}()
	publishNumbered(t, leader, "later", 0, after)
	if out := <-done; !strings.HasPrefix(out, "0 ") {
		t.Fatal(out)
	}
	check(t, c.AwaitEqualDigests(within(t, time.Minute)))

	dir := t.TempDir()
	triagemq(t, 0, "is node n1 of the new cluster", "restore", "--from", file, "--data-dir", filepath.Join(dir, "n1"), "--node-id", "n1")
	restored := must(harness.Open(harness.Config{Binary: harness.Binary(t), Dir: dir, Nodes: 1}))(t) // beside the old one, which lives
	t.Cleanup(restored.Close)
	check(t, restored.AwaitReady(within(t, time.Minute)))
	for range 2 {
		must(restored.AddNode())(t)
	}
	check(t, restored.AwaitVoters(within(t, 2*time.Minute)))
	check(t, restored.AwaitReady(within(t, time.Minute)))
	check(t, restored.AwaitEqualDigests(within(t, time.Minute)))
	drainNumbered(t, restored.Nodes[2], "q", before)
	check(t, restored.AwaitEqualDigests(within(t, time.Minute)))
}

// TestHARecoverLostQuorum destroys two folders of three, recovers the third, refuses a node of the old cluster that comes back, and takes in fresh ones.
func TestHARecoverLostQuorum(t *testing.T) {
	const messages = 5_000
	c := harness.Start(t, 3)
	publishNumbered(t, c.Nodes[1], "q", 0, messages)
	check(t, c.AwaitEqualDigests(within(t, time.Minute)))
	for _, n := range c.Nodes {
		n.Kill()
	}
	survivor, returning, lost := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	check(t, lost.ForgetDisk())

	triagemq(t, 2, "WARNING", "recover", "--data-dir", survivor.Dir)
	triagemq(t, 0, "of the new cluster", "recover", "--data-dir", survivor.Dir, "--yes-i-may-lose-data")
	triagemq(t, 3, "only voter", "recover", "--data-dir", survivor.Dir, "--yes-i-may-lose-data")
	check(t, survivor.Start())
	check(t, c.AwaitReady(within(t, time.Minute), survivor))

	check(t, returning.Start()) // with its folder of the old cluster
	check(t, harness.Poll(within(t, time.Minute), func() error {
		log := must(os.ReadFile(returning.LogFile()))(t)
		if !strings.Contains(string(log), "another cluster") {
			return errors.New("the node that came back does not say that it is refused")
		}
		return nil
	}))
	if st := must(survivor.Status(within(t, 5*time.Second)))(t); len(st.Nodes) != 1 {
		t.Fatalf("a node of the old cluster is a member of the new one: %+v", st)
	}
	check(t, returning.ForgetDisk())
	for _, n := range []*harness.Node{returning, lost} {
		check(t, n.Start())
	}
	check(t, c.AwaitVoters(within(t, 2*time.Minute)))
	check(t, c.AwaitReady(within(t, time.Minute)))
	check(t, c.AwaitEqualDigests(within(t, time.Minute)))
	drainNumbered(t, c.Nodes[2], "q", messages)
}
