package system

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

const leaderKills = 20

// TestLeaderKills kills the leader again and again under load. No confirmed message may be missing, and a connection to a node that was not killed must
// never end: its consumers stay, its unconfirmed publishes are confirmed later.
func TestLeaderKills(t *testing.T) {
	c := harness.Start(t, 3)
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	kills := map[string]int{}
	var gaps []time.Duration
	for range leaderKills {
		leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		progress(t, load, 300)
		load.Ledger.TakeLongestGap()
		leader.Kill()
		kills[leader.Name]++
		must(c.AwaitLeader(within(t, 30*time.Second), leader))(t)
		progress(t, load, 300)
		gaps = append(gaps, load.Ledger.TakeLongestGap().Round(time.Millisecond))
		check(t, leader.Start())
		check(t, c.AwaitReady(within(t, 30*time.Second), leader))
	}
	load.StopPublishing()
	check(t, load.Drain(within(t, 60*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	slices.Sort(gaps)
	t.Logf("kills %v; longest gap between confirms per kill: median %v, worst %v", kills, gaps[len(gaps)/2], gaps[len(gaps)-1])
	disconnects := map[string]int{}
	for _, d := range load.Ledger.Disconnects() {
		node, role, _ := strings.Cut(d, ": ")
		role, _, _ = strings.Cut(role, ":")
		disconnects[node+" "+role]++
		if disconnects[node+" "+role] > kills[node] {
			t.Errorf("a connection ended without a kill of its node: %s", d)
		}
	}
	judge(t, load)
}

// progress waits until so many more publishes are confirmed.
func progress(t *testing.T, load *harness.Load, more int) {
	t.Helper()
	from := load.Ledger.Confirmed()
	check(t, harness.Poll(within(t, 60*time.Second), func() error {
		if n := load.Ledger.Confirmed() - from; n < more {
			return fmt.Errorf("only %d publishes confirmed", n)
		}
		return nil
	}))
}

// TestAllKilled kills all processes at once under load. What was confirmed is there afterwards, with its priority and its delivery count.
func TestAllKilled(t *testing.T) {
	c := harness.Start(t, 3)
	prepareCounts(t, c.Nodes[0])
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes[:1]}))(t)
	progress(t, load, 2000)
	for _, n := range c.Nodes {
		go n.Kill()
	}
	for _, n := range c.Nodes {
		n.Kill()
	}
	for _, n := range c.Nodes {
		check(t, n.Start())
	}
	check(t, c.AwaitReady(within(t, 60*time.Second)))
	progress(t, load, 500)
	load.StopPublishing()
	check(t, load.Drain(within(t, 60*time.Second)))
	judge(t, load)
	verifyCounts(t, c.Nodes[2])
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
}

const countedMessages = 30

// prepareCounts fills a queue with messages of three priorities, some of which were handed back once, and leaves some in a consumer's hands.
func prepareCounts(t *testing.T, n *harness.Node) {
	ch := channel(t, n)
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("counted", true, false, false, false, amqp.Table{"x-queue-type": "quorum"}))(t)
	for k := range countedMessages {
		confirmed(t, ch, "counted", amqp.Publishing{MessageId: fmt.Sprint(k), Priority: uint8(k % 3), Body: []byte("b")})
	}
	// The ten messages of priority 2 and five of priority 1 are taken; the first five are handed back, the others stay with the consumer.
	check(t, ch.Qos(15, 0, false))
	deliveries := must(ch.Consume("counted", "holder", false, false, false, false, nil))(t)
	var held []amqp.Delivery
	for range 15 {
		held = append(held, next(t, deliveries))
	}
	check(t, ch.Cancel("holder", false))
	for _, d := range held[:5] {
		check(t, d.Nack(false, true))
	}
	must(ch.QueueDeclarePassive("counted", true, false, false, false, nil))(t) // the nacks have applied
}

// verifyCounts drains that queue: strictly by priority, first come first served within, counts as they were.
func verifyCounts(t *testing.T, n *harness.Node) {
	ch := channel(t, n)
	deliveries := must(ch.Consume("counted", "", false, false, false, false, nil))(t)
	var want []string
	for p := 2; p >= 0; p-- {
		for k := p; k < countedMessages; k += 3 {
			want = append(want, fmt.Sprint(k))
		}
	}
	for i, id := range want {
		d := next(t, deliveries)
		if d.MessageId != id || int(d.Priority) != 2-i/10 {
			t.Errorf("delivery %d is message %s with priority %d, want %s with %d", i, d.MessageId, d.Priority, id, 2-i/10)
		}
		count, _ := d.Headers["x-delivery-count"].(int64)
		if i < 5 && count < 1 {
			t.Errorf("message %s was handed back once, its x-delivery-count is %v", id, d.Headers["x-delivery-count"])
		}
		if d.Redelivered != (i < 15) {
			t.Errorf("message %s: redelivered %v", id, d.Redelivered)
		}
		check(t, d.Ack(false))
	}
}

// TestPausedNodes stops a follower and then the leader for 20 s under load. The others go on; the paused node's clients are closed when it wakes up, because
// the cluster has closed its origin; nothing is missing.
func TestPausedNodes(t *testing.T) {
	c := harness.Start(t, 3)
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	progress(t, load, 500)
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	follower := c.Others(leader)[0]
	pauses := map[string]bool{}
	for _, n := range []*harness.Node{follower, leader} {
		n.Pause()
		until := time.Now().Add(20 * time.Second)
		must(c.AwaitLeader(within(t, 20*time.Second), n))(t)
		progress(t, load, 300)
		check(t, harness.Poll(t.Context(), func() error {
			if time.Now().Before(until) {
				return fmt.Errorf("the pause is not over")
			}
			return nil
		}))
		n.Resume()
		pauses[n.Name] = true
		check(t, c.AwaitReady(within(t, 30*time.Second)))
		progress(t, load, 300)
	}
	load.StopPublishing()
	check(t, load.Drain(within(t, 60*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	for _, d := range load.Ledger.Disconnects() {
		if node, _, _ := strings.Cut(d, ":"); !pauses[node] {
			t.Errorf("a connection to a node that was not paused ended: %s", d)
		}
	}
	judge(t, load)
}

// TestTermination stops the leader with SIGTERM under load: clients of the others notice nothing.
func TestTermination(t *testing.T) {
	c := harness.Start(t, 3)
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	progress(t, load, 500)
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	load.Ledger.TakeLongestGap()
	check(t, leader.Terminate(within(t, 25*time.Second)))
	progress(t, load, 500)
	t.Logf("longest gap between confirms: %v", load.Ledger.TakeLongestGap())
	check(t, leader.Start())
	check(t, c.AwaitReady(within(t, 30*time.Second)))
	load.StopPublishing()
	check(t, load.Drain(within(t, 60*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	for _, d := range load.Ledger.Disconnects() {
		if !strings.HasPrefix(d, leader.Name+":") {
			t.Errorf("a connection to another node ended: %s", d)
		}
	}
	judge(t, load)
}
