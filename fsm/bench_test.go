package fsm_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// Apply is paid three times for each message, once on each node. These benchmarks measure it with messages of 1 KiB in entries of the sizes that the leader
// makes; the effects go to a sink that only counts.
//
//	go test ./fsm -run xxx -bench . -benchmem

const benchBodyBytes = 1024

// recycledChunks keeps what is freed for the next Alloc, as the chunks of production do, so that the garbage collector is not part of the measurement.
type recycledChunks struct{ free map[int][][]byte }

func (c *recycledChunks) Alloc(sizeBytes int) []byte {
	if list := c.free[sizeBytes]; len(list) > 0 {
		chunk := list[len(list)-1]
		c.free[sizeBytes] = list[:len(list)-1]
		return chunk
	}
	return make([]byte, sizeBytes)
}

func (c *recycledChunks) Free(chunk []byte) {
	c.free[len(chunk)] = append(c.free[len(chunk)], chunk)
}

var benchOrigin = fsm.Origin{Node: "n1", Boot: 1}

// countingSink takes effects as a connection's output would: it touches what it would encode.
type countingSink struct {
	delivered, confirmed int
	bytes                int64
}

func (c *countingSink) Emit(e *fsm.Effect) {
	switch e.Kind {
	case fsm.Delivered:
		c.delivered++
		c.bytes += int64(len(e.Body))
	case fsm.Published:
		c.confirmed++
	}
}

// benchState is a state with one session, one channel and a queue.
type benchState struct {
	state   *fsm.State
	sink    *countingSink
	index   uint64
	seq     uint64
	entry   []byte
	item    []byte
	publish fsm.Publish
}

func newBenchState() *benchState {
	s := &benchState{sink: &countingSink{}}
	s.state = fsm.New(fsm.Options{Sink: s.sink, Chunks: &recycledChunks{free: make(map[int][][]byte)}})
	s.state.SetLocal(benchOrigin)
	s.apply(fsm.AppendOriginOpen(nil, benchOrigin))
	ref := fsm.Ref{Conn: 1, Channel: 1, Incarnation: 1}
	properties := content.Properties{Has: content.HasDeliveryMode | content.HasContentType, DeliveryMode: 2, ContentType: "application/octet-stream"}
	s.publish = fsm.Publish{Ref: ref, RoutingKey: []byte("q"), Properties: properties.Append(nil), Body: make([]byte, benchBodyBytes)}
	commands := (&fsm.OpenSession{Ref: fsm.Ref{Conn: 1}, VHost: "/"}).Append(nil)
	commands = (&fsm.OpenChannel{Ref: ref}).Append(commands)
	commands = (&fsm.DeclareQueue{Ref: ref, Name: "q", Durable: true}).Append(commands)
	s.batch(commands)
	return s
}

func (s *benchState) apply(items ...[]byte) {
	s.index++
	s.entry = fsm.AppendEntry(s.entry[:0], int64(s.index), items)
	s.state.Apply(s.index, s.entry)
}

func (s *benchState) batch(commands []byte) {
	s.seq++
	s.item = fsm.AppendBatch(s.item[:0], benchOrigin, s.seq, commands)
	s.apply(s.item)
}

// publishes appends n publishes that want a confirm.
func (s *benchState) publishes(dst []byte, n int) []byte {
	for range n {
		s.publish.Confirm++
		dst = s.publish.Append(dst)
	}
	return dst
}

// BenchmarkPublishDeliverAck is a queue whose consumer keeps up: each entry publishes as much as it holds and acknowledges what the entry before delivered.
func BenchmarkPublishDeliverAck(b *testing.B) {
	for _, entryBytes := range []int{64 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("entry=%dKiB", entryBytes>>10), func(b *testing.B) {
			s := newBenchState()
			ref := s.publish.Ref
			s.batch((&fsm.Consume{Ref: ref, Queue: "q", Tag: "c", GrantMessages: 1 << 31, GrantBytes: 1 << 31}).Append(nil))
			perEntry := entryBytes / fsm.PublishSizeBytes(&s.publish, benchBodyBytes)
			var commands []byte
			acked := uint64(0)
			messages := 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				commands = s.publishes(commands[:0], perEntry)
				for acked < uint64(messages) {
					acked++
					commands = (&fsm.Ack{Ref: ref, Tag: acked}).Append(commands)
				}
				commands = (&fsm.Grant{Ref: ref, Tag: "c", Messages: uint32(perEntry), Bytes: uint32(perEntry * benchBodyBytes)}).Append(commands)
				messages += perEntry
				b.StartTimer()
				s.batch(commands)
			}
			if s.sink.delivered != messages || s.sink.confirmed != messages {
				b.Fatalf("%d of %d messages delivered, %d confirmed", s.sink.delivered, messages, s.sink.confirmed)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(messages), "ns/message")
		})
	}
}

// BenchmarkBacklog fills a queue with a million messages and reports what one costs in memory beyond its body, then drains it.
func BenchmarkBacklog(b *testing.B) {
	const messages, perEntry = 1_000_000, 200
	for b.Loop() {
		var before, after runtime.MemStats
		s := newBenchState()
		runtime.GC()
		runtime.ReadMemStats(&before)
		var commands []byte
		for range messages / perEntry {
			commands = s.publishes(commands[:0], perEntry)
			s.batch(commands)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		st := s.state.Stats()
		if st.Messages != messages {
			b.Fatalf("the store holds %d messages", st.Messages)
		}
		grown := int64(after.HeapAlloc) - int64(before.HeapAlloc) // chunks included: here they are on the Go heap
		b.ReportMetric(float64(grown)/messages-benchBodyBytes, "B-beyond-body/message")
		b.ReportMetric(float64(grown-st.ChunkBytes)/messages, "heap-B/message")
		s.batch((&fsm.Consume{Ref: s.publish.Ref, Queue: "q", Tag: "c", NoAck: true, GrantMessages: messages, GrantBytes: 1 << 31}).Append(nil))
		if s.sink.delivered != messages {
			b.Fatalf("%d messages delivered", s.sink.delivered)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
}
