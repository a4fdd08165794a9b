package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm"
)

// BenchmarkDelayLadder publishes through the ladder that Celery and NServiceBus build: 28 topic exchanges, one for each bit of a delay in seconds. A level hands
// a message to its queue where its bit is set and to the next level where it is not. A delay of 0 passes all of them. keys=1 is what the cache of routes finds;
// with more keys than that holds, every publish matches 28 times.
//
//	go test ./fsm -run xxx -bench Ladder -benchmem
func BenchmarkDelayLadder(b *testing.B) {
	for _, keys := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s := newBenchState()
			s.buildLadder()
			s.publish.Exchange, s.publish.Body = []byte(level(0)), nil
			const perEntry = 100
			routed := make([][]byte, keys)
			for k := range routed {
				routed[k] = []byte(strings.Repeat("0.", ladderLevels) + fmt.Sprint("q", k))
			}
			b.ReportAllocs()
			messages := 0
			for b.Loop() {
				b.StopTimer()
				var commands []byte
				for range perEntry {
					s.publish.RoutingKey = routed[messages%keys]
					commands = s.publish.Append(commands)
					messages++
				}
				b.StartTimer()
				s.batch(commands)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(messages), "ns/message")
			if held := s.state.Counts().Ready; held != messages {
				b.Fatalf("%d of %d messages came through", held, messages)
			}
		})
	}
}

const ladderLevels = 28

func level(k int) string { return fmt.Sprint("delay_", k) }

// buildLadder makes the exchanges, a queue for each, and the bindings: *.*.1.# to the queue, *.*.0.# to the next exchange.
func (s *benchState) buildLadder() {
	ref := s.publish.Ref
	var commands []byte
	for k := range ladderLevels + 1 {
		commands = (&fsm.DeclareExchange{Ref: ref, Name: level(k), Type: "topic", Durable: true}).Append(commands)
	}
	for k := range ladderLevels {
		above := strings.Repeat("*.", k)
		commands = (&fsm.DeclareQueue{Ref: ref, Name: level(k), Durable: true}).Append(commands)
		commands = (&fsm.Bind{Ref: ref, Source: level(k), Destination: level(k), Key: above + "1.#"}).Append(commands)
		commands = (&fsm.Bind{Ref: ref, Source: level(k), Destination: level(k + 1), ToExchange: true, Key: above + "0.#"}).Append(commands)
	}
	commands = (&fsm.Bind{Ref: ref, Source: level(ladderLevels), Destination: "q", Key: "#"}).Append(commands)
	s.batch(commands)
}
