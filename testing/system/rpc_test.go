package system

import (
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

const directReplyTo = "amq.rabbitmq.reply-to"

// TestDirectReplyToAcrossNodes calls from each node to a responder on another while the leader is killed, and looks at what becomes of replies to
// requesters that are gone.
func TestDirectReplyToAcrossNodes(t *testing.T) {
	c := harness.Start(t, 3)
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	others := c.Others(leader)
	asker, answerer := others[0], others[1]
	requests := respond(t, answerer)

	doomed := newRequester(t, leader)
	for k := range 20 {
		doomed.call(t, fmt.Sprint("before ", k))
	}
	r := newRequester(t, asker)
	for k := range 300 {
		if k == 100 {
			leader.Kill()
		}
		r.call(t, fmt.Sprint("call ", k))
	}
	ch := channel(t, answerer)
	check(t, ch.Confirm(false))
	returns := ch.NotifyReturn(make(chan amqp.Return, 1))
	for name, address := range map[string]string{"of a killed node": doomed.address(requests), "of a closed channel": r.leave(t, requests)} {
		begin := time.Now()
		confirm := must(ch.PublishWithDeferredConfirmWithContext(t.Context(), "", address, true, false, amqp.Publishing{Body: []byte("late")}))(t)
		if !must(confirm.WaitContext(within(t, 20*time.Second)))(t) {
			t.Errorf("a reply to an address %s is nacked", name)
		}
		select {
		case x := <-returns:
			if x.ReplyCode != 312 || string(x.Body) != "late" {
				t.Errorf("a reply to an address %s: %+v", name, x)
			}
		default:
			t.Errorf("a reply to an address %s is not returned before its confirm", name)
		}
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("a reply to an address %s came back after %v", name, took)
		}
		if _, err := channel(t, answerer).QueueDeclarePassive(address, false, false, false, false, nil); err == nil {
			t.Errorf("an address %s is still declared", name)
		}
	}
}

// respond answers what comes to the queue "rpc", and remembers whose requests came with which address.
func respond(t *testing.T, n *harness.Node) *addresses {
	ch := channel(t, n)
	must(ch.QueueDeclare("rpc", true, false, false, false, nil))(t)
	deliveries := must(ch.Consume("rpc", "", false, false, false, false, nil))(t)
	seen := &addresses{latest: make(chan map[string]string, 1)}
	seen.latest <- map[string]string{}
	go func() {
		for d := range deliveries {
			latest := <-seen.latest
			latest[d.AppId] = d.ReplyTo
			seen.latest <- latest
			reply := amqp.Publishing{CorrelationId: d.CorrelationId, Body: append([]byte("re: "), d.Body...)}
			if ch.PublishWithContext(context.Background(), "", d.ReplyTo, false, false, reply) != nil || d.Ack(false) != nil {
				return
			}
		}
	}()
	return seen
}

// addresses are the reply addresses by requester; the channel is the lock.
type addresses struct{ latest chan map[string]string }

type requester struct {
	ch      *amqp.Channel
	name    string
	replies <-chan amqp.Delivery
}

func newRequester(t *testing.T, n *harness.Node) *requester {
	ch := channel(t, n)
	return &requester{ch, n.Name, must(ch.Consume(directReplyTo, "", true, false, false, false, nil))(t)}
}

// call makes one call and insists on its reply and no other.
func (r *requester) call(t *testing.T, text string) {
	t.Helper()
	request := amqp.Publishing{AppId: r.name, CorrelationId: text, ReplyTo: directReplyTo, Body: []byte(text)}
	check(t, r.ch.PublishWithContext(t.Context(), "", "rpc", false, false, request))
	if d := next(t, r.replies); d.CorrelationId != text || string(d.Body) != "re: "+text {
		t.Fatalf("the reply to %q is %q to %q", text, d.Body, d.CorrelationId)
	}
}

func (r *requester) address(seen *addresses) string {
	latest := <-seen.latest
	defer func() { seen.latest <- latest }()
	return latest[r.name]
}

func (r *requester) leave(t *testing.T, seen *addresses) string {
	check(t, r.ch.Close())
	return r.address(seen)
}
