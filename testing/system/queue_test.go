package system

import (
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestPriorities publishes two messages on each of 256 levels and expects them strictly by level, first come first served within, also after all of
// them were handed back.
func TestPriorities(t *testing.T) {
	c := harness.Start(t, 3)
	in := channel(t, c.Nodes[0])
	check(t, in.Confirm(false))
	must(in.QueueDeclare("levels", true, false, false, false, nil))(t)
	var last *amqp.DeferredConfirmation
	for k := range 512 {
		p := amqp.Publishing{MessageId: fmt.Sprint(k), Priority: uint8(k * 7 % 256)}
		last = must(in.PublishWithDeferredConfirm("", "levels", false, false, p))(t)
	}
	if !must(last.WaitContext(within(t, 30*time.Second)))(t) {
		t.Fatal("refused")
	}
	out := channel(t, c.Nodes[2])
	check(t, out.Qos(512, 0, false))
	deliveries := must(out.Consume("levels", "first", false, false, false, false, nil))(t)
	round := func(redelivered bool) (tag uint64) {
		before := map[uint8]int{}
		for k := range 512 {
			d := next(t, deliveries)
			if want := uint8(255 - k/2); d.Priority != want {
				t.Fatalf("delivery %d has priority %d, want %d", k, d.Priority, want)
			}
			var n int
			fmt.Sscan(d.MessageId, &n)
			if b, ok := before[d.Priority]; ok && n < b {
				t.Errorf("level %d: message %d after %d", d.Priority, n, b)
			}
			if before[d.Priority] = n; d.Redelivered != redelivered {
				t.Errorf("message %d: redelivered %v", n, d.Redelivered)
			}
			tag = d.DeliveryTag
		}
		return tag
	}
	tag := round(false)
	check(t, out.Cancel("first", false))
	check(t, out.Nack(tag, true, true))
	deliveries = must(out.Consume("levels", "second", false, false, false, false, nil))(t)
	tag = round(true)
	check(t, out.Ack(tag, true))
}

// TestFailedPublishThenAck sends a publish to a missing exchange and an ack on the same channel in one go: the channel fails, and the ack must not count.
func TestFailedPublishThenAck(t *testing.T) {
	c := harness.Start(t, 3)
	ch := channel(t, c.Nodes[1])
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("kept", true, false, false, false, nil))(t)
	confirmed(t, ch, "kept", amqp.Publishing{MessageId: "1"})
	d := next(t, must(ch.Consume("kept", "", false, false, false, false, nil))(t))
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	must(ch.PublishWithDeferredConfirm("no-such-exchange", "k", false, false, amqp.Publishing{}))(t)
	check(t, d.Ack(false))
	if e := <-closed; e == nil || e.Code != 404 {
		t.Errorf("closed with %v, want 404", e)
	}
	again := next(t, must(channel(t, c.Nodes[0]).Consume("kept", "", false, false, false, false, nil))(t))
	if again.MessageId != "1" || !again.Redelivered {
		t.Errorf("got %q, redelivered %v", again.MessageId, again.Redelivered)
	}
}

// TestStaleAck acknowledges deliveries of a queue that was deleted and made again, and of a consumer that was timed out: neither ack may touch what another
// consumer holds, or fail the channel.
func TestStaleAck(t *testing.T) {
	c := harness.Start(t, 3)
	ch := channel(t, c.Nodes[1])
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("again", true, false, false, false, nil))(t)
	confirmed(t, ch, "again", amqp.Publishing{MessageId: "old"})
	old := next(t, must(ch.Consume("again", "c1", false, false, false, false, nil))(t))
	admin := channel(t, c.Nodes[0])
	must(admin.QueueDelete("again", false, false, false))(t)
	must(admin.QueueDeclare("again", true, false, false, false, nil))(t)
	confirmed(t, ch, "again", amqp.Publishing{MessageId: "new"})
	fresh := next(t, must(admin.Consume("again", "c2", false, false, false, false, nil))(t))
	check(t, old.Ack(false))
	must(ch.QueueDeclarePassive("again", true, false, false, false, nil))(t) // fails if the ack closed the channel
	check(t, admin.Cancel("c2", false))
	check(t, fresh.Nack(false, true))
	if d := next(t, must(channel(t, c.Nodes[2]).Consume("again", "", false, false, false, false, nil))(t)); d.MessageId != "new" {
		t.Errorf("got %q", d.MessageId)
	}
}

// TestConsumerTimeout lets a consumer keep a message too long: it goes to another consumer, and the late ack does nothing.
func TestConsumerTimeout(t *testing.T) {
	c := harness.Start(t, 3)
	slow := channel(t, c.Nodes[1])
	check(t, slow.Confirm(false))
	must(slow.QueueDeclare("slow", true, false, false, false, amqp.Table{"x-consumer-timeout": int32(1000)}))(t)
	confirmed(t, slow, "slow", amqp.Publishing{MessageId: "1"})
	cancelled := slow.NotifyCancel(make(chan string, 1))
	late := next(t, must(slow.Consume("slow", "sleeper", false, false, false, false, nil))(t))
	second := channel(t, c.Nodes[2])
	again := next(t, must(second.Consume("slow", "quick", false, false, false, false, nil))(t))
	if again.MessageId != "1" || !again.Redelivered {
		t.Errorf("got %q, redelivered %v", again.MessageId, again.Redelivered)
	}
	if tag := <-cancelled; tag != "sleeper" {
		t.Errorf("cancelled %q", tag)
	}
	check(t, late.Ack(false))
	must(slow.QueueDeclarePassive("slow", true, false, false, false, nil))(t)
	check(t, second.Cancel("quick", false))
	check(t, again.Nack(false, true))
	if d := next(t, must(second.Consume("slow", "", false, false, false, false, nil))(t)); d.MessageId != "1" {
		t.Errorf("the late ack removed the message: got %q", d.MessageId)
	}
}
