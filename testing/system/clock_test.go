//go:build linux && amd64

package system

import (
	"path/filepath"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
	"github.com/triagemq/triagemq/testing/skew"
)

// TestLeaderClock has the leader's wall clock jump to 2099 and back. The virtual clock of the cluster does not follow: nothing expires early, what is due
// comes due at its time, before the jump is noticed, under a leader that lives in 2099, and after the correction. A leader so far off hands over; it may lead
// again, as the last choice.
func TestLeaderClock(t *testing.T) {
	c, clocks := startSkewed(t)
	leader := must(c.AwaitLeader(within(t, 10*time.Second)))(t)
	held := []*holder{hold(t, leader)}

	clocks[leader.Name].JumpTo(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC))
	timesOut(t, leader, "the leader jumps")
	must(c.AwaitLeader(within(t, 10*time.Second), leader))(t)
	held = append(held, hold(t, leader))
	timesOut(t, leader, "another leads")

	handBack(t, c, leader)
	held = append(held, hold(t, leader))
	timesOut(t, leader, "the leader lives in 2099")

	clocks[leader.Name].SetAhead(0)
	timesOut(t, leader, "the clock is corrected")
	if now := must(c.AwaitLeader(within(t, 10*time.Second)))(t); now != leader {
		t.Errorf("%s leads after the correction, want %s still", now.Name, leader.Name)
	}
	for _, h := range held {
		h.settle(t)
	}
	check(t, c.AwaitEqualDigests(within(t, 20*time.Second)))
}

// startSkewed starts three nodes, each under a clock of its own that is right for now.
func startSkewed(t *testing.T) (*harness.Cluster, map[string]*skew.Clock) {
	t.Helper()
	dir := t.TempDir()
	skewed := must(skew.Build(dir))(t)
	if err := skew.Check(skewed, dir); err != nil {
		t.Skipf("this kernel gives no process a clock of its own: %v", err)
	}
	clocks, hosts := map[string]*skew.Clock{}, []harness.Host{}
	for _, name := range []string{"n1", "n2", "n3"} {
		path := filepath.Join(dir, name+".clock")
		clock := must(skew.OpenClock(path))(t)
		t.Cleanup(func() { clock.Close() })
		clocks[name] = clock
		hosts = append(hosts, harness.Host{IP: "127.0.0.1", Run: []string{skewed, path}})
	}
	c := must(harness.Open(harness.Config{Binary: harness.Binary(t), Dir: dir, Nodes: 3, Hosts: hosts}))(t)
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			for _, n := range c.Nodes {
				t.Logf("the end of %s's log:\n%s", n.Name, n.LogTail(40))
			}
		}
	})
	check(t, c.AwaitReady(within(t, 30*time.Second)))
	return c, clocks
}

// handBack makes to the leader: the present one stops in an orderly way while the third node hangs behind the log, so that it can hand over to nobody else. On
// a machine that stalls, the third wakes too late and there is an election: then again.
func handBack(t *testing.T, c *harness.Cluster, to *harness.Node) {
	t.Helper()
	ch := channel(t, to)
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("ahead", true, false, false, false, nil))(t)
	for range 5 {
		from := must(c.AwaitLeader(within(t, 10*time.Second)))(t)
		if from == to {
			return
		}
		var third *harness.Node
		for _, n := range c.Others(from) {
			if n != to {
				third = n
			}
		}
		closed := dial(t, from).NotifyClose(make(chan *amqp.Error, 1))
		third.Pause()
		confirmed(t, ch, "ahead", amqp.Publishing{}) // the third node lacks this
		stopped := make(chan error, 1)
		go func() { stopped <- from.Terminate(within(t, 30*time.Second)) }()
		<-closed // sessions end through the next leader, while there is a majority without the third node
		third.Resume()
		check(t, <-stopped)
		check(t, from.Start())
		check(t, c.AwaitReady(within(t, 30*time.Second)))
	}
	t.Fatalf("%s does not come to lead", to.Name)
}

// timesOut has a consumer keep a message past its time-out of 2 s: that must happen in 2 to 4 s by everybody else's clock.
func timesOut(t *testing.T, n *harness.Node, when string) {
	t.Helper()
	ch := channel(t, n)
	check(t, ch.Confirm(false))
	queue := must(ch.QueueDeclare("", false, false, false, false, amqp.Table{"x-consumer-timeout": int32(2000)}))(t).Name
	cancelled := ch.NotifyCancel(make(chan string, 1))
	deliveries := must(ch.Consume(queue, "late", false, false, false, false, nil))(t)
	confirmed(t, ch, queue, amqp.Publishing{MessageId: "brief"})
	next(t, deliveries)
	began := time.Now()
	select {
	case <-cancelled:
	case <-time.After(10 * time.Second):
	}
	// A virtual second is within 1 % of a real one, and the delivery took its moment to come here.
	if took := time.Since(began); took < 1900*time.Millisecond || took > 4*time.Second {
		t.Errorf("%s: a time-out of 2 s came after %v", when, took)
	} else {
		t.Logf("%s: a time-out of 2 s came after %v", when, took.Round(time.Millisecond))
	}
}

// holder is a consumer that keeps a message for less than its time-out of 60 s.
type holder struct {
	channel   *amqp.Channel
	queue     string
	delivery  amqp.Delivery
	cancelled chan string
}

func hold(t *testing.T, n *harness.Node) *holder {
	t.Helper()
	h := &holder{channel: channel(t, n)}
	check(t, h.channel.Confirm(false))
	h.queue = must(h.channel.QueueDeclare("", true, false, false, false, amqp.Table{"x-consumer-timeout": int32(60000)}))(t).Name
	h.cancelled = h.channel.NotifyCancel(make(chan string, 1))
	deliveries := must(h.channel.Consume(h.queue, "holder", false, false, false, false, nil))(t)
	confirmed(t, h.channel, h.queue, amqp.Publishing{MessageId: "held"})
	h.delivery = next(t, deliveries)
	return h
}

// settle finds the message in the consumer's hands, and the consumer in place, and acknowledges it.
func (h *holder) settle(t *testing.T) {
	t.Helper()
	select {
	case tag, ok := <-h.cancelled:
		t.Errorf("%s: cancelled %q (channel open: %v)", h.queue, tag, ok)
		return
	default:
	}
	if q := must(h.channel.QueueDeclarePassive(h.queue, true, false, false, false, nil))(t); q.Messages != 0 || q.Consumers != 1 {
		t.Errorf("%s: %d messages wait, %d consumers; want the message held, and its consumer there", h.queue, q.Messages, q.Consumers)
	}
	check(t, h.delivery.Ack(false))
	check(t, h.channel.Cancel("holder", false))
	if _, found, err := h.channel.Get(h.queue, true); err != nil || found {
		t.Errorf("%s: after the ack there is a message: %v (%v)", h.queue, found, err)
	}
}
