package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestMemoryWatermark: above it publishers are told and held, on every node and on connections that come later, while consumers go on, and acknowledgements.
func TestMemoryWatermark(t *testing.T) {
	c := harness.Start(t, 1, "--memory-watermark", "160MiB")
	n := c.Nodes[0]
	publisher := dial(t, n)
	blocked := publisher.NotifyBlocked(make(chan amqp.Blocking, 10))
	ch := must(publisher.Channel())(t)
	must(ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-queue-type": "quorum"}))(t)
	published := make(chan int, 1)
	go func() {
		count := 0
		for ; ch.Publish("", "q", false, false, amqp.Publishing{Body: make([]byte, 1<<20)}) == nil; count++ {
		}
		published <- count
	}()
	if b := nextBlocking(t, blocked); !b.Active || b.Reason != "low on memory" {
		t.Fatalf("told %+v", b)
	}
	if !alarmOf(t, n) {
		t.Error("the API shows no alarm")
	}

	late := dial(t, n)
	lateBlocked := late.NotifyBlocked(make(chan amqp.Blocking, 10))
	lateCh := must(late.Channel())(t)
	check(t, lateCh.Publish("", "q", false, false, amqp.Publishing{Body: []byte("late")}))
	if b := nextBlocking(t, lateBlocked); !b.Active {
		t.Fatalf("a connection that came later was told %+v", b)
	}

	overHTTP := make(chan int, 1)
	go func() { overHTTP <- postPublish(n) }()

	consumer := dial(t, n)
	consumerBlocked := consumer.NotifyBlocked(make(chan amqp.Blocking, 10))
	consumerCh := must(consumer.Channel())(t)
	check(t, consumerCh.Qos(10, 0, false))
	deliveries := must(consumerCh.Consume("q", "", false, false, false, false, nil))(t)
	for b := (amqp.Blocking{Active: true}); b.Active; { // acks flow, or more than ten deliveries would never come
		select {
		case b = <-blocked:
		case d := <-deliveries:
			check(t, d.Ack(false))
		case <-time.After(30 * time.Second):
			t.Fatal("the alarm stands though everything is consumed")
		}
	}
	if status := <-overHTTP; status != http.StatusOK && status != http.StatusServiceUnavailable { // where the alarm stood for more than ten seconds
		t.Errorf("a publish over HTTP was answered with %d", status)
	}
	_ = publisher.CloseDeadline(time.Now().Add(5 * time.Second)) // its other goroutine publishes on, so that the close may find a connection that was reset
	if count := <-published; count < 10 {
		t.Errorf("only %d messages were published", count)
	}
	if len(consumerBlocked) > 0 {
		t.Errorf("a connection that only consumes was told %+v", <-consumerBlocked)
	}
}

// postPublish publishes over HTTP and returns the status, 0 where there was no answer.
func postPublish(n *harness.Node) int {
	body := strings.NewReader(`{"properties":{},"routing_key":"q","payload":"over HTTP","payload_encoding":"string"}`)
	req, err := http.NewRequest(http.MethodPost, "http://"+n.HTTP+"/api/exchanges/%2F/amq.default/publish", body)
	if err != nil {
		return 0
	}
	req.SetBasicAuth("guest", "guest")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

func nextBlocking(t *testing.T, blocked <-chan amqp.Blocking) amqp.Blocking {
	t.Helper()
	select {
	case b := <-blocked:
		return b
	case <-time.After(30 * time.Second):
		t.Fatal("no connection.blocked within 30 s")
	}
	panic("unreachable")
}

// alarmOf waits until a node's health check and its details agree, and tells whether there is an alarm.
func alarmOf(t *testing.T, n *harness.Node) (alarm bool) {
	t.Helper()
	check(t, harness.Poll(within(t, 10*time.Second), func() error {
		var nodes []struct {
			MemAlarm bool  `json:"mem_alarm"`
			MemLimit int64 `json:"mem_limit"`
		}
		getJSON(t, n, "/api/nodes", &nodes)
		if len(nodes) != 1 || nodes[0].MemLimit != 160<<20 {
			return fmt.Errorf("nodes %+v", nodes)
		}
		if alarm = nodes[0].MemAlarm; !alarm {
			return errors.New("no alarm")
		}
		return nil
	}))
	return alarm
}

func getJSON(t *testing.T, n *harness.Node, path string, v any) {
	t.Helper()
	req := must(http.NewRequestWithContext(within(t, 10*time.Second), http.MethodGet, "http://"+n.HTTP+path, nil))(t)
	req.SetBasicAuth("guest", "guest")
	res := must(http.DefaultClient.Do(req))(t)
	defer res.Body.Close()
	body := must(io.ReadAll(res.Body))(t)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s of %s: %d %s", path, n.Name, res.StatusCode, body)
	}
	check(t, json.Unmarshal(body, v))
}
