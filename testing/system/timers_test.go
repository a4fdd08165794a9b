package system

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

const (
	timedRounds   = 4
	timedMessages = 3000                    // of each kind and round
	timedLead     = 6 * time.Second         // from the first publish of a round until the first message is due
	timedSpread   = 1500 * time.Millisecond // between the first and the last that is due
)

// TestLeaderKillsDuringTimers kills the leader while thousands of messages expire and are dead-lettered, and thousands of delayed ones come due. Each must get
// to where it goes, once: expiry and dead-lettering are one step, and so is the routing of what is due.
func TestLeaderKillsDuringTimers(t *testing.T) {
	c := harness.Start(t, 3)
	declareTimed(t, c.Nodes[0])
	amid := 0
	for round := range timedRounds {
		leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
		survivor := c.Others(leader)[round%2]
		publishTimed(t, survivor, round)
		before := awaitMoved(t, survivor, round*timedMessages)
		leader.Kill()
		must(c.AwaitLeader(within(t, 30*time.Second), leader))(t)
		after := must(harness.QueueLength(survivor, "dead"))(t)
		if before < (round+1)*timedMessages {
			amid++
		}
		t.Logf("round %d: %d of %d had expired when the leader was killed, %d once there was another", round, before-round*timedMessages, timedMessages,
			after-round*timedMessages)
		check(t, leader.Start())
		check(t, c.AwaitReady(within(t, 60*time.Second)))
		for _, queue := range []string{"dead", "due"} {
			awaitLength(t, survivor, queue, (round+1)*timedMessages)
		}
	}
	if amid == 0 {
		t.Error("no kill fell into an expiry: the test shows nothing")
	}
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
	for _, queue := range []string{"dead", "due"} {
		onceEach(t, c.Nodes[1], queue, timedRounds*timedMessages)
	}
	if n := must(harness.QueueLength(c.Nodes[2], "brief"))(t); n != 0 {
		t.Errorf("%d messages did not expire", n)
	}
}

func declareTimed(t *testing.T, n *harness.Node) {
	t.Helper()
	ch := channel(t, n)
	for queue, args := range map[string]amqp.Table{
		"dead": nil, "due": nil, "brief": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"},
	} {
		must(ch.QueueDeclare(queue, true, false, false, false, args))(t)
	}
	check(t, ch.ExchangeDeclare("later", "x-delayed-message", true, false, false, false, amqp.Table{"x-delayed-type": "fanout"}))
	check(t, ch.QueueBind("due", "", "later", false, nil))
}

// publishTimed publishes what is due from timedLead on, in random order of time, and waits for the confirms.
func publishTimed(t *testing.T, n *harness.Node, round int) {
	t.Helper()
	ch := channel(t, n)
	check(t, ch.Confirm(false))
	began := time.Now()
	var last *amqp.DeferredConfirmation
	for k := range timedMessages {
		due := timedLead + timedSpread*time.Duration(k*7919%timedMessages)/timedMessages
		millis := max(due-time.Since(began), time.Millisecond).Milliseconds()
		id := fmt.Sprintf("%d-%d", round, k)
		must(ch.PublishWithDeferredConfirm("", "brief", false, false, amqp.Publishing{MessageId: id, Expiration: strconv.FormatInt(millis, 10)}))(t)
		last = must(ch.PublishWithDeferredConfirm("later", "", true, false, amqp.Publishing{MessageId: id, Headers: amqp.Table{"x-delay": millis}}))(t)
	}
	if !must(last.WaitContext(within(t, 60*time.Second)))(t) { // the confirms come in order
		t.Fatal("a publish was refused")
	}
	check(t, ch.Close())
}

// awaitMoved waits until a round's messages have begun to expire, and returns how many there are in the queue for the dead.
func awaitMoved(t *testing.T, n *harness.Node, from int) (dead int) {
	t.Helper()
	check(t, harness.Poll(within(t, 60*time.Second), func() (err error) {
		if dead, err = harness.QueueLength(n, "dead"); err == nil && dead <= from+timedMessages/20 {
			err = fmt.Errorf("only %d messages have expired", dead-from)
		}
		return err
	}))
	return dead
}

func awaitLength(t *testing.T, n *harness.Node, queue string, want int) {
	t.Helper()
	check(t, harness.Poll(within(t, 60*time.Second), func() error {
		length, err := harness.QueueLength(n, queue)
		if err == nil && length < want {
			err = fmt.Errorf("%s has %d messages of %d", queue, length, want)
		}
		return err
	}))
}

// onceEach empties a queue and finds each of so many messages once.
func onceEach(t *testing.T, n *harness.Node, queue string, want int) {
	t.Helper()
	ch := channel(t, n)
	deliveries := must(ch.Consume(queue, "", true, false, false, false, nil))(t)
	seen := map[string]int{}
	for range want {
		d := next(t, deliveries)
		if seen[d.MessageId]++; seen[d.MessageId] > 1 {
			t.Errorf("%s has message %s %d times", queue, d.MessageId, seen[d.MessageId])
		}
	}
	if left := must(harness.QueueLength(n, queue))(t); left != 0 || len(seen) != want {
		t.Errorf("%s had %d different messages, and %d more; want %d", queue, len(seen), left, want)
	}
}
