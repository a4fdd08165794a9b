package fsm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

// The longest an entry may take is what a node's clients can feel. These benchmarks end what very many objects hang on, and report the longest entry.
//
//	go test ./fsm -run xxx -bench End -benchtime 1x

// crowd is a state with many objects of one origin.
type crowd struct {
	*benchState
	sessions int
	longest  time.Duration
}

// run applies commands in entries of a few hundred.
func (c *crowd) run(commands []fsm.Command) {
	const perEntry = 500
	for len(commands) > 0 {
		n := min(perEntry, len(commands))
		var b []byte
		for _, command := range commands[:n] {
			b = command.Append(b)
		}
		c.batch(b)
		commands = commands[n:]
	}
}

func channelOf(session int) fsm.Ref {
	return fsm.Ref{Conn: uint32(session + 2), Channel: 1, Incarnation: 1}
}

func newCrowd(sessions int) *crowd {
	c := &crowd{benchState: newBenchState(), sessions: sessions}
	var commands []fsm.Command
	for i := range sessions {
		ref := channelOf(i)
		commands = append(commands, &fsm.OpenSession{Ref: fsm.Ref{Conn: ref.Conn}, VHost: "/", CancelNotify: true}, &fsm.OpenChannel{Ref: ref})
	}
	c.run(commands)
	return c
}

// queues declares queues, spread over the sessions, and binds each to a fanout exchange.
func (c *crowd) queues(count int, exclusive bool) {
	var commands []fsm.Command
	for i := range count {
		ref, name := channelOf(i%c.sessions), fmt.Sprint("q", i)
		commands = append(commands,
			&fsm.DeclareQueue{Ref: ref, Name: name, Exclusive: exclusive, Durable: !exclusive},
			&fsm.Bind{Ref: ref, Source: "amq.fanout", Destination: name, Key: name},
			&fsm.Consume{Ref: ref, Queue: name, Tag: name, GrantMessages: 10, GrantBytes: 10_000},
		)
	}
	c.run(commands)
}

// consumers puts that many consumers on one queue.
func (c *crowd) consumers(count int) {
	var commands []fsm.Command
	for i := range count {
		commands = append(commands, &fsm.Consume{Ref: channelOf(i % c.sessions), Queue: "q", Tag: fmt.Sprint("c", i), GrantMessages: 10, GrantBytes: 10_000})
	}
	c.run(commands)
}

// timed applies an item, and the Ticks that go on with what it left, and keeps the longest entry.
func (c *crowd) timed(item []byte) {
	for first := true; ; first = false {
		if !first {
			if due, ok := c.state.NextDeadline(); !ok || due > c.state.NowMillis() {
				return
			}
			item = fsm.AppendTick(nil)
		}
		begun := time.Now()
		c.apply(item)
		c.longest = max(c.longest, time.Since(begun))
	}
}

// timedCommand is timed of a batch of one command.
func (c *crowd) timedCommand(command fsm.Command) {
	c.seq++
	c.timed(fsm.AppendBatch(nil, benchOrigin, c.seq, command.Append(nil)))
}

func BenchmarkEnd(b *testing.B) {
	down := func(c *crowd) { c.timed(fsm.AppendOriginDown(nil, benchOrigin)) }
	closeFirst := func(c *crowd) { c.timedCommand(&fsm.CloseSession{Ref: fsm.Ref{Conn: channelOf(0).Conn}}) }
	for _, run := range []struct {
		name     string
		sessions int
		fill     func(c *crowd)
		end      func(c *crowd)
	}{
		{"origin/10000-sessions-with-exclusive-queue", 10_000, func(c *crowd) { c.queues(10_000, true) }, down},
		{"origin/10000-consumers-of-one-queue", 10_000, func(c *crowd) { c.consumers(10_000) }, down},
		{"session/50000-exclusive-queues", 1, func(c *crowd) { c.queues(50_000, true) }, closeFirst},
		{"session/50000-consumers-of-one-queue", 1, func(c *crowd) { c.consumers(50_000) }, closeFirst},
		{"queue/50000-consumers", 100, func(c *crowd) { c.consumers(50_000) },
			func(c *crowd) { c.timedCommand(&fsm.DeleteQueue{Ref: channelOf(0), Name: "q"}) }},
		{"vhost/50000-queues", 100, func(c *crowd) { c.queues(50_000, false) },
			func(c *crowd) { c.timedCommand(&fsm.DeleteVHost{Name: "/"}) }},
	} {
		b.Run(run.name, func(b *testing.B) {
			var longest time.Duration
			for b.Loop() {
				b.StopTimer()
				c := newCrowd(run.sessions)
				run.fill(c)
				b.StartTimer()
				run.end(c)
				longest = max(longest, c.longest)
			}
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms-longest-entry")
		})
	}
}
