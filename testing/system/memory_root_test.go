//go:build root

package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestRootMemory floods three nodes, each in a control group of its own, with nobody who consumes: none may be killed, publishers are blocked, and go on once
// consumers have drained the queue. TRIAGEMQ_MEMORY_SECONDS is how long each flood lasts (10).
func TestRootMemory(t *testing.T) {
	for _, limitMiB := range []int{256, 512} {
		for _, size := range []int{100, 1 << 10, 100 << 10, 4 << 20, 8 << 20, 16 << 20} {
			t.Run(fmt.Sprintf("%dMiB/%dB", limitMiB, size), func(t *testing.T) {
				m := startInCgroups(t, limitMiB)
				if size > limitMiB<<20/32 {
					m.tooLarge(size)
					return
				}
				m.flood(size, 12)
				m.drain()
				m.finish()
			})
		}
	}
}

// TestRootMemoryRestart: a node that is killed in alarm, with a full state, comes back within the same limit.
func TestRootMemoryRestart(t *testing.T) {
	m := startInCgroups(t, 256)
	m.flood(1<<10, 6)
	n := m.c.Nodes[2]
	n.Kill()
	check(t, n.Start())
	began := time.Now()
	check(t, m.c.AwaitReady(within(t, 2*time.Minute), n))
	m.survived()
	t.Logf("ready %.1f s after its start; %s", time.Since(began).Seconds(), m.peaks())
	for _, p := range m.publishers {
		p.CloseDeadline(time.Now().Add(time.Second))
	}
	m.publishers = nil
	m.publish(m.c.Nodes[0], 1<<10)
	m.drain()
	m.finish()
}

// TestRootMemorySnapshot: a snapshot of a full state is taken within the limit, by a running node that lagged, whose old state is as large, and by a fresh one.
func TestRootMemorySnapshot(t *testing.T) {
	m := startInCgroups(t, 256)
	m.flood(1<<10, 6)
	n := m.c.Nodes[2]
	leader := must(m.c.AwaitLeader(within(t, time.Minute)))(t)
	if leader == n {
		n = m.c.Nodes[1]
	}
	n.Pause()
	defer n.Resume()
	behind := time.Now()
	m.turnOver(leader, 3*m.limit/4, func() bool { return time.Since(behind) > 70*time.Second }) // the leader's log keeps a minute
	n.Resume()
	m.restored(n)
	t.Logf("a node that lagged; %s", m.peaks())

	check(t, n.ForgetDisk())
	check(t, n.Start())
	m.restored(n)
	t.Logf("a fresh node; %s", m.peaks())
	m.drain()
	m.finish()
}

// TestRootMemoryDeclares: a flood of queues is refused before it kills, what is there already may still be declared, and memory is free again once they are gone.
func TestRootMemoryDeclares(t *testing.T) {
	m := startInCgroups(t, 256)
	refusals := make(chan *amqp.Error, 6)
	var conns []*amqp.Connection
	for k := range 6 {
		conns = append(conns, dial(t, m.c.Nodes[k%3]))
	}
	for k := range 6 {
		ch := must(conns[k].Channel())(t)
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		m.joined.Go(func() {
			for i := 0; ; i++ {
				if _, err := ch.QueueDeclare(fmt.Sprintf("flood-%d-%d", k, i), true, false, false, true, nil); err != nil {
					refusals <- <-closed
					return
				}
			}
		})
	}
	for range 6 {
		timeout := time.NewTimer(3 * time.Minute)
		for waiting := true; waiting; {
			select {
			case err := <-refusals:
				if err == nil || err.Code != amqp.PreconditionFailed || !strings.Contains(err.Reason, "short of memory") {
					t.Errorf("a flood ended with %v", err)
				}
				waiting = false
			case <-time.After(100 * time.Millisecond):
				m.survived()
			case <-timeout.C:
				t.Fatalf("nobody is refused; %s", m.peaks())
			}
		}
		timeout.Stop()
	}
	for _, n := range m.c.Nodes {
		ch := channel(t, n)
		must(ch.QueueDeclare(m.queue, true, false, false, false, nil))(t)
		must(ch.Consume(m.queue, "", false, false, false, false, nil))(t)
	}
	m.survived()
	t.Log(m.peaks())
}

// turnOver consumes and publishes so many bytes of messages of 1 KiB through a node, and goes on until done says so; the queue then is full again.
func (m *memoryRun) turnOver(n *harness.Node, wantBytes int64, done func() bool) {
	m.Helper()
	conn := must(amqp.Dial(n.URL()))(m.T)
	defer conn.Close()
	ch := must(conn.Channel())(m.T)
	check(m.T, ch.Qos(1000, 0, false))
	deliveries := must(ch.Consume(m.queue, "", false, false, false, false, nil))(m.T)
	timeout := time.NewTimer(4 * time.Minute)
	defer timeout.Stop()
	for taken := int64(0); taken < wantBytes || !done(); {
		select {
		case d, ok := <-deliveries:
			if !ok {
				m.Fatal("the consumer was closed")
			}
			check(m.T, d.Ack(false))
			taken += int64(len(d.Body))
		case <-timeout.C:
			m.Fatalf("turned over %d bytes of %d", taken, wantBytes)
		}
		m.taken++
	}
}

// restored waits until the node has taken a snapshot: one that was stopped is ready until it hears how far behind it is.
func (m *memoryRun) restored(n *harness.Node) {
	m.Helper()
	check(m.T, harness.Poll(within(m.T, time.Minute), func() error {
		m.survived()
		if !strings.Contains(n.LogTail(100_000), "state restored from a snapshot") {
			return fmt.Errorf("%s took no snapshot", n.Name)
		}
		return nil
	}))
	check(m.T, m.c.AwaitReady(within(m.T, 2*time.Minute), n))
}

// tooLarge expects that a message is refused for its size, and that nobody dies of it.
func (m *memoryRun) tooLarge(size int) {
	m.Helper()
	for _, n := range m.c.Nodes {
		ch := channel(m.T, n)
		closed := ch.NotifyClose(make(chan *amqp.Error, 1))
		_ = ch.Publish("", m.queue, false, false, amqp.Publishing{Body: make([]byte, size)}) // refused while it is being written
		select {
		case err := <-closed:
			if err == nil || err.Code != amqp.PreconditionFailed || !strings.Contains(err.Reason, "larger than configured max size") {
				m.Errorf("%s closed the channel with %v", n.Name, err)
			}
		case <-time.After(30 * time.Second):
			m.Fatalf("%s takes %d bytes", n.Name, size)
		}
	}
	m.survived()
	m.Log(m.peaks())
}

// memoryRun is a cluster whose nodes have limits.
type memoryRun struct {
	*testing.T
	c      *harness.Cluster
	groups []*harness.Cgroup
	limit  int64
	peak   []atomic.Int64
	queue  string

	confirmed, refused atomic.Int64
	taken              int64 // by turnOver
	publishers         []*amqp.Connection
	joined             sync.WaitGroup
}

func startInCgroups(t *testing.T, limitMiB int) *memoryRun {
	m := &memoryRun{T: t, limit: int64(limitMiB) << 20, peak: make([]atomic.Int64, 3), queue: "memory"}
	var hosts []harness.Host
	for k := range 3 {
		g := harness.NewCgroup(t, fmt.Sprintf("n%d", k+1), m.limit)
		m.groups = append(m.groups, g)
		hosts = append(hosts, g.Host())
	}
	m.c = must(harness.Open(harness.Config{Binary: harness.Binary(t), Dir: t.TempDir(), Nodes: 3, Hosts: hosts,
		Args: []string{"--heartbeat-timeout", "3s", "--election-timeout", "3s", "--lease-timeout", "2s"}}))(t) // memory is what is tested, also on a busy machine
	ctx, stop := context.WithCancel(context.Background())
	m.joined.Go(func() { m.pollPeaks(ctx) })
	t.Cleanup(func() {
		for _, p := range m.publishers {
			p.CloseDeadline(time.Now().Add(time.Second))
		}
		stop()
		m.c.Close()
		m.joined.Wait()
		for _, n := range m.c.Nodes {
			if t.Failed() {
				t.Logf("the end of %s's log:\n%s", n.Name, n.LogTail(30))
			}
		}
	})
	check(t, m.c.AwaitReady(within(t, 60*time.Second)))
	must(channel(t, m.c.Nodes[0]).QueueDeclare(m.queue, true, false, false, false, nil))(t)
	return m
}

func (m *memoryRun) pollPeaks(ctx context.Context) {
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		for k, g := range m.groups {
			if used, err := g.UsedBytes(); err == nil && used > m.peak[k].Load() {
				m.peak[k].Store(used)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// flood publishes at full speed from many connections until all of them have been blocked for a while, and at least for the time asked for.
func (m *memoryRun) flood(size, connections int) {
	m.Helper()
	seconds, _ := strconv.Atoi(os.Getenv("TRIAGEMQ_MEMORY_SECONDS"))
	for k := range connections {
		m.publish(m.c.Nodes[k%3], size)
	}
	began, last, still := time.Now(), int64(-1), time.Now()
	check(m.T, harness.Poll(within(m.T, 3*time.Minute), func() error {
		m.survived()
		now := m.confirmed.Load()
		if now != last {
			last, still = now, time.Now()
		}
		if time.Since(began) < time.Duration(max(seconds, 10))*time.Second || time.Since(still) < 2*time.Second {
			return fmt.Errorf("publishers still go on: %d confirmed", now)
		}
		return nil
	}))
	m.Logf("%d messages of %d bytes confirmed in %.1f s; %s; alarms of nodes %v", last, size, still.Sub(began).Seconds(), m.peaks(), m.alarms())
}

// publish keeps a connection busy until the test ends.
func (m *memoryRun) publish(n *harness.Node, size int) {
	conn := must(amqp.Dial(n.URL()))(m.T)
	m.publishers = append(m.publishers, conn)
	ch := must(conn.Channel())(m.T)
	check(m.T, ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 1<<16))
	m.joined.Go(func() {
		for c := range confirms {
			if c.Ack {
				m.confirmed.Add(1)
			} else {
				m.refused.Add(1)
			}
		}
	})
	body := make([]byte, size)
	m.joined.Go(func() {
		for ch.Publish("", m.queue, false, false, amqp.Publishing{Body: body}) == nil {
		}
	})
}

func (m *memoryRun) survived() {
	m.Helper()
	for k, n := range m.c.Nodes {
		if kills, err := m.groups[k].Kills(); err != nil || kills > 0 || !n.Running() {
			m.Fatalf("%s: %d kills (%v), running %v; %s; %d confirmed", n.Name, kills, err, n.Running(), m.peaks(), m.confirmed.Load())
		}
	}
}

func (m *memoryRun) peaks() string {
	var s string
	for k := range m.peak {
		s += fmt.Sprintf("n%d %d %%, ", k+1, m.peak[k].Load()*100/m.limit)
	}
	return "peaks of the limit: " + s[:len(s)-2]
}

func (m *memoryRun) alarms() (alarms []bool) {
	var nodes []struct {
		MemAlarm bool `json:"mem_alarm"`
	}
	getJSON(m.T, m.c.Nodes[0], "/api/nodes", &nodes)
	for _, n := range nodes {
		alarms = append(alarms, n.MemAlarm)
	}
	return alarms
}

// drain consumes until what was confirmed before is gone, and until publishers go on.
func (m *memoryRun) drain() {
	m.Helper()
	before := m.confirmed.Load() - m.taken
	began := time.Now()
	var drained atomic.Int64
	for _, n := range m.c.Nodes {
		ch := channel(m.T, n)
		check(m.T, ch.Qos(200, 0, false))
		deliveries := must(ch.Consume(m.queue, "", false, false, false, false, nil))(m.T)
		m.joined.Go(func() {
			for d := range deliveries {
				drained.Add(1)
				d.Ack(false)
			}
		})
	}
	check(m.T, harness.Poll(within(m.T, 3*time.Minute), func() error {
		m.survived()
		if got, now := drained.Load(), m.confirmed.Load(); got < before || now <= before+m.taken+20 {
			return fmt.Errorf("drained %d of %d, publishers went on to %d", got, before, now)
		}
		return nil
	}))
	m.Logf("drained %d in %.1f s, publishers went on to %d; %s", drained.Load(), time.Since(began).Seconds(), m.confirmed.Load(), m.peaks())
}

// finish lets publishers go, and the queue run dry: no alarm may stay.
func (m *memoryRun) finish() {
	m.Helper()
	for _, p := range m.publishers {
		p.CloseDeadline(time.Now().Add(time.Second))
	}
	check(m.T, harness.Poll(within(m.T, 3*time.Minute), func() error {
		m.survived()
		var q struct {
			Messages int `json:"messages"`
		}
		getJSON(m.T, m.c.Nodes[0], "/api/queues/%2F/"+m.queue, &q)
		if q.Messages > 0 {
			return fmt.Errorf("%d messages left", q.Messages)
		}
		for _, alarm := range m.alarms() {
			if alarm {
				return errors.New("an alarm stands, and nothing is left")
			}
		}
		return nil
	}))
	if m.refused.Load() > 0 {
		m.Errorf("%d publishes were refused", m.refused.Load())
	}
	m.Log(m.peaks())
}
