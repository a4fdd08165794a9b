//go:build ha

package system

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

const (
	haEnds = 10 // of the leader, in each way
	haHeld = 20 // messages in a consumer's hands
)

// TestHALeaderEnds ends the leader under load, with SIGTERM and with SIGKILL in turn. Clients of the other nodes notice nothing, and nothing is missing.
func TestHALeaderEnds(t *testing.T) {
	c := harness.Start(t, 3)
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	ends := map[string]int{}
	for k := range 2 * haEnds {
		leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		progress(t, load, 300)
		load.Ledger.TakeLongestGap()
		if k%2 == 0 {
			check(t, leader.Terminate(within(t, 25*time.Second)))
		} else {
			leader.Kill()
		}
		ends[leader.Name]++
		progress(t, load, 300)
		t.Logf("end %d: %s, longest gap between confirms %v", k+1, leader.Name, load.Ledger.TakeLongestGap())
		check(t, leader.Start())
		check(t, c.AwaitReady(within(t, time.Minute)))
	}
	load.StopPublishing()
	check(t, load.Drain(within(t, time.Minute)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	perRole := map[string]int{}
	for _, d := range load.Ledger.Disconnects() {
		node, role, _ := strings.Cut(d, ": ")
		role, _, _ = strings.Cut(role, ":")
		if perRole[node+role]++; perRole[node+role] > ends[node] {
			t.Errorf("a connection ended without an end of its node: %s", d)
		}
	}
	judge(t, load)
}

// TestHALeaderIsBackAtOnce kills the leader and starts it again in the same moment: whether it is taken for gone, or found to lead no more, the cluster goes on.
func TestHALeaderIsBackAtOnce(t *testing.T) {
	c := harness.Start(t, 3)
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	for range haEnds {
		leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		progress(t, load, 200)
		leader.Kill()
		check(t, leader.Start())
		progress(t, load, 200)
		check(t, c.AwaitReady(within(t, time.Minute)))
	}
	load.StopPublishing()
	check(t, load.Drain(within(t, time.Minute)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	judge(t, load)
}

// TestHAUnackedOfNodesThatEnd has a consumer hold messages on a node that ends. A consumer elsewhere gets them long before silence would prove anything.
func TestHAUnackedOfNodesThatEnd(t *testing.T) {
	c := harness.Start(t, 3)
	for round, way := range []struct {
		name string
		end  func(*harness.Node)
		role func(leader *harness.Node) *harness.Node
	}{
		{"a follower is killed", (*harness.Node).Kill, func(l *harness.Node) *harness.Node { return c.Others(l)[0] }},
		{"the leader is killed", (*harness.Node).Kill, func(l *harness.Node) *harness.Node { return l }},
		{"the leader is stopped", func(n *harness.Node) { check(t, n.Terminate(within(t, 25*time.Second))) }, func(l *harness.Node) *harness.Node { return l }},
	} {
		leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		victim := way.role(leader)
		queue := fmt.Sprint("held-", round)
		other := channel(t, c.Others(victim)[0])
		check(t, other.Confirm(false))
		must(other.QueueDeclare(queue, true, false, false, false, nil))(t)
		holder := channel(t, victim)
		held := must(holder.Consume(queue, "", false, false, false, false, nil))(t)
		for k := range haHeld {
			confirmed(t, other, queue, amqp.Publishing{MessageId: fmt.Sprint(k)})
			next(t, held)
		}
		taken := must(other.Consume(queue, "", false, false, false, false, nil))(t)
		begin := time.Now()
		way.end(victim)
		for k := range haHeld {
			if d := next(t, taken); d.MessageId != fmt.Sprint(k) || !d.Redelivered {
				t.Errorf("%s: message %s comes in place %d, redelivered %v", way.name, d.MessageId, k, d.Redelivered)
			}
		}
		if took := time.Since(begin); took > 10*time.Second { // silence takes 15
			t.Errorf("%s: its messages came after %v", way.name, took)
		} else {
			t.Logf("%s: its messages came after %v", way.name, took)
		}
		check(t, victim.Start())
		check(t, c.AwaitReady(within(t, time.Minute)))
	}
}

// TestHATermWhileFollowerHangs stops the leader while a follower hangs, whichever of the two: it is neither chosen nor waited for.
func TestHATermWhileFollowerHangs(t *testing.T) {
	c := harness.Start(t, 3)
	for k := range 2 {
		leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		hung, other := c.Others(leader)[k], c.Others(leader)[1-k]
		load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: []*harness.Node{other}, Consumers: []*harness.Node{other}}))(t)
		progress(t, load, 100)
		hung.Pause()
		progress(t, load, 100)
		load.Ledger.TakeLongestGap()
		begin := time.Now()
		check(t, leader.Terminate(within(t, 25*time.Second)))
		took := time.Since(begin)
		if took > 8*time.Second {
			t.Errorf("%s ended after %v while %s hung", leader.Name, took, hung.Name)
		}
		hung.Resume() // two of three have ended or hang: nothing is confirmed before
		progress(t, load, 100)
		t.Logf("%s ended after %v while %s hung", leader.Name, took, hung.Name)
		check(t, leader.Start())
		check(t, c.AwaitReady(within(t, time.Minute)))
		load.StopPublishing()
		check(t, load.Drain(within(t, time.Minute)))
		if d := load.Ledger.Disconnects(); len(d) > 0 {
			t.Errorf("connections to %s ended: %v", other.Name, d)
		}
		judge(t, load)
	}
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
}

// TestHAHalfDead leaves one node without a majority, the leader or a follower, idle as it is. It closes its clients, refuses others, and is there again afterwards.
func TestHAHalfDead(t *testing.T) {
	c := harness.Start(t, 3)
	for _, leads := range []bool{true, false} {
		alone := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		if !leads {
			alone = c.Others(alone)[0]
		}
		closed := dial(t, alone).NotifyClose(make(chan *amqp.Error, 1))
		for _, n := range c.Others(alone) {
			n.Pause()
		}
		select {
		case e := <-closed:
			if e == nil || e.Code != amqp.ConnectionForced {
				t.Errorf("closed with %v, want 320", e)
			}
		case <-time.After(30 * time.Second):
			t.Error("the client of a node without a majority is not closed")
		}
		for _, n := range c.Others(alone) {
			n.Resume()
		}
		check(t, c.AwaitReady(within(t, time.Minute)))
		check(t, visit(alone, amqp.Config{}))
	}
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
}
