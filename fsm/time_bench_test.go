package fsm_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// What waits for a time must cost little while it waits, and what it costs must not grow with how much waits.

// at applies an entry of a time.
func (s *benchState) at(millis int64, items ...[]byte) {
	s.index++
	s.entry = fsm.AppendEntry(s.entry[:0], millis, items)
	s.state.Apply(s.index, s.entry)
}

// tickUntilIdle ticks as the leader does at a time, and returns how often.
func (s *benchState) tickUntilIdle(millis int64) (ticks int) {
	for {
		due, ok := s.state.NextDeadline()
		if !ok || due > millis {
			return ticks
		}
		s.at(millis, fsm.AppendTick(nil))
		ticks++
	}
}

// BenchmarkTimedBacklog publishes a million messages that wait for a time, each for another, and lets all come due: they expire, are dead-lettered, or are routed.
func BenchmarkTimedBacklog(b *testing.B) {
	const messages, perEntry, hourMillis = 1_000_000, 200, 3_600_000
	for _, c := range []struct {
		name     string
		exchange string
		timed    func(i int) content.Properties
		left     int // messages in the end
	}{
		{"expire", "", func(i int) content.Properties {
			return content.Properties{Has: content.HasExpiration, Expiration: fmt.Sprint(hourMillis + i*7919%messages)}
		}, 0},
		{"delayed", "later", func(i int) content.Properties {
			return content.Properties{Has: content.HasHeaders, Headers: content.Table{{Name: "x-delay", Value: int32(hourMillis + i*7919%messages)}}}
		}, messages},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s := newBenchState()
				ref := s.publish.Ref
				s.batch((&fsm.DeclareExchange{Ref: ref, Name: "later", Type: "x-delayed-message", Durable: true,
					Arguments: content.Table{{Name: "x-delayed-type", Value: "fanout"}}.Append(nil)}).Append(nil))
				s.batch((&fsm.Bind{Ref: ref, Source: "later", Destination: "q"}).Append(nil))
				s.publish.Exchange = []byte(c.exchange)
				s.publish.Body = s.publish.Body[:16]
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				var commands []byte
				for i := 0; i < messages; {
					commands = commands[:0]
					for range perEntry {
						p := c.timed(i)
						s.publish.Properties = p.Append(s.publish.Properties[:0])
						commands = s.publishes(commands, 1)
						i++
					}
					s.batch(commands)
				}
				published := b.Elapsed()
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				st := s.state.Stats()
				if st.Entries != messages {
					b.Fatalf("the store holds %d messages", st.Entries)
				}
				if due, ok := s.state.NextDeadline(); !ok || due < hourMillis {
					b.Fatalf("due at %d, %t", due, ok)
				}
				b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/messages, "B/message")
				b.ReportMetric(float64(st.TimerBytes)/messages, "timer-B/message")
				b.StartTimer()
				s.tickUntilIdle(hourMillis + 2*messages + int64(s.index))
				b.ReportMetric(float64((b.Elapsed()-published).Nanoseconds())/messages, "ns/due")
				if n := s.state.Stats().Entries; n != c.left {
					b.Fatalf("%d messages are left", n)
				}
				s.state.Discard()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
		})
	}
}

// BenchmarkExpiringQueues declares 50,000 queues with x-expires, uses each, and lets all expire.
func BenchmarkExpiringQueues(b *testing.B) {
	const queues, perEntry, expiresMillis = 50_000, 100, 600_000
	arguments := content.Table{{Name: "x-expires", Value: int32(expiresMillis)}}.Append(nil)
	for b.Loop() {
		b.StopTimer()
		s := newBenchState()
		ref := s.publish.Ref
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		each := func(command func(dst []byte, name string) []byte) {
			var commands []byte
			for i := range queues {
				if commands = command(commands, fmt.Sprint("reply-", i)); i%perEntry == perEntry-1 {
					s.batch(commands)
					commands = commands[:0]
				}
			}
		}
		each(func(dst []byte, name string) []byte {
			return (&fsm.DeclareQueue{Ref: ref, Name: name, Arguments: arguments}).Append(dst)
		})
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/queues, "B/queue")
		b.StartTimer()
		each(func(dst []byte, name string) []byte { return (&fsm.Get{Ref: ref, Queue: name}).Append(dst) })
		ticks := s.tickUntilIdle(2 * expiresMillis)
		b.ReportMetric(float64(ticks), "ticks")
		if n := s.state.Counts().Queues; n != 1 {
			b.Fatalf("%d queues are left", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/queues, "ns/queue")
}
