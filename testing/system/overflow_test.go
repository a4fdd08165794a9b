package system

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestOverflowAcrossLeaders publishes to a fanout of a queue with a limit and one without, on a node that lives, while the leader is killed. A confirmed
// message is in both, a refused one in neither. A policy then shortens the other queue.
func TestOverflowAcrossLeaders(t *testing.T) {
	const limit, publishes, shortened = 300, 1000, 10
	c := harness.Start(t, 3)
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	node := c.Others(leader)[0]
	ch := channel(t, node)
	must(ch.QueueDeclare("small", true, false, false, false, amqp.Table{"x-max-length": limit, "x-overflow": "reject-publish"}))(t)
	must(ch.QueueDeclare("large", true, false, false, false, nil))(t)
	check(t, ch.QueueBind("small", "", "amq.fanout", false, nil))
	check(t, ch.QueueBind("large", "", "amq.fanout", false, nil))

	check(t, ch.Confirm(false))
	outcomes := ch.NotifyPublish(make(chan amqp.Confirmation, publishes))
	for i := range publishes {
		if i == limit/2 {
			leader.Kill()
		}
		check(t, ch.PublishWithContext(t.Context(), "amq.fanout", "", false, false, amqp.Publishing{Body: fmt.Append(nil, i)}))
	}
	acked, deadline := 0, within(t, 60*time.Second).Done()
	for range publishes {
		select {
		case outcome, open := <-outcomes:
			if !open {
				t.Fatal("the channel ended")
			}
			if outcome.Ack {
				acked++
			}
		case <-deadline:
			t.Fatal("not all publishes are settled")
		}
	}
	for _, queue := range []string{"small", "large"} {
		if n := must(harness.QueueLength(node, queue))(t); n != limit || acked != limit {
			t.Errorf("%d were confirmed, %s has %d messages, wanted %d", acked, queue, n, limit)
		}
	}

	putPolicy(t, node, "short", fmt.Sprintf(`{"pattern":"^large$","definition":{"max-length":%d},"apply-to":"queues"}`, shortened))
	if n := must(harness.QueueLength(node, "large"))(t); n != shortened {
		t.Errorf("the policy leaves %d messages", n)
	}
	check(t, leader.Start())
	check(t, c.AwaitReady(within(t, 30*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 30*time.Second)))
}

func putPolicy(t *testing.T, n *harness.Node, name, policy string) {
	t.Helper()
	request := must(http.NewRequestWithContext(within(t, 30*time.Second), http.MethodPut, "http://"+n.HTTP+"/api/policies/%2f/"+name, strings.NewReader(policy)))(t)
	request.SetBasicAuth("guest", "guest")
	response := must(http.DefaultClient.Do(request))(t)
	check(t, response.Body.Close())
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("PUT of a policy: %s", response.Status)
	}
}
