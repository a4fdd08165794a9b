package store_test

import (
	"bytes"
	"io"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/triagemq/triagemq/fsm/store"
)

const million = 1_000_000

func kibContent() store.Content {
	return store.Content{Exchange: []byte(""), RoutingKey: []byte("jobs"), Properties: []byte{0x10, 0, 2}, Body: bytes.Repeat([]byte("0123456789abcdef"), 64)}
}

// feeder publishes and consumes as the state machine does.
type feeder struct {
	s               *store.Store
	q               *store.Queue
	content         store.Content
	index, delivery uint64
	view            *store.Frozen
}

func newFeeder(c store.Chunks) *feeder {
	s := store.New(c)
	return &feeder{s: s, q: s.Queue(1), content: kibContent()}
}

func (f *feeder) enqueue() {
	f.index++
	m := f.s.Put(f.content)
	f.q.Push(m, store.ID{Index: f.index / 64, Ordinal: uint32(f.index % 64)}, store.Placement{})
	f.s.Release(m)
}

func (f *feeder) take() store.Entry {
	f.delivery++
	e, _ := f.q.Take(store.Hold{Channel: 1, Consumer: 1, Tag: f.delivery, Delivery: f.delivery})
	return e
}

// recycler keeps freed chunks for the next Alloc, so that benchmarks do not measure the garbage collector.
type recycler struct{ free [][]byte }

func (r *recycler) Alloc(sizeBytes int) []byte {
	if n := len(r.free); sizeBytes == store.ChunkBytes && n > 0 {
		chunk := r.free[n-1]
		r.free = r.free[:n-1]
		return chunk
	}
	return make([]byte, sizeBytes)
}

func (r *recycler) Free(chunk []byte) { r.free = append(r.free, chunk) }

// BenchmarkMessage is the life of a message of 1 KiB: put, push, take, remove, one at a time in an empty queue.
func BenchmarkMessage(b *testing.B) {
	f := newFeeder(&recycler{})
	b.ReportAllocs()
	for b.Loop() {
		f.enqueue()
		f.q.Remove(f.take())
	}
}

// BenchmarkMessageWindow has a backlog of 1,000 ready and 1,000 held.
func BenchmarkMessageWindow(b *testing.B) {
	f := newFeeder(&recycler{})
	var held [1024]store.Entry
	for i := range held {
		f.enqueue()
		f.enqueue()
		held[i] = f.take()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.enqueue()
		f.q.Remove(held[i%len(held)])
		held[i%len(held)] = f.take()
	}
}

// BenchmarkMessageReturned sends every message round once more.
func BenchmarkMessageReturned(b *testing.B) {
	f := newFeeder(&recycler{})
	b.ReportAllocs()
	for b.Loop() {
		f.enqueue()
		f.q.Return(f.take(), store.ReturnFailed)
		f.q.Remove(f.take())
	}
}

// BenchmarkMessageDeep has a million ready; frozen, a view is taken anew every 100,000 messages, and the pages must be copied.
func BenchmarkMessageDeep(b *testing.B) {
	for _, name := range []string{"plain", "frozen"} {
		b.Run(name, func(b *testing.B) {
			f := newFeeder(&recycler{})
			for range million {
				f.enqueue()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if name == "frozen" && i%100_000 == 0 {
					if i > 0 {
						f.s.Thaw(f.view)
					}
					f.view = f.s.Freeze()
				}
				f.enqueue()
				f.q.Remove(f.take())
			}
		})
	}
}

// BenchmarkMillion enqueues a million messages of 1 KiB and reports what each costs beyond its body.
func BenchmarkMillion(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		debug.FreeOSMemory()
		before := heapBytes()
		f := newFeeder(&recycler{})
		b.StartTimer()
		for range million {
			f.enqueue()
		}
		b.StopTimer()
		st := f.s.Stats()
		b.ReportMetric(float64(st.ChunkBytes+st.SlabBytes)/million-1024, "accounted-B/message")
		b.ReportMetric(float64(heapBytes()-before)/million, "goheap-B/message")
		runtime.KeepAlive(f)
		f.s.Discard()
		b.StartTimer()
	}
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkTimedMillion fills a queue with a million that expire, or are delayed, and lets all of them come due, in batches as ticks do.
func BenchmarkTimedMillion(b *testing.B) {
	for name, place := range map[string]func(f *feeder, i int64) store.Placement{
		"expiring": func(_ *feeder, i int64) store.Placement { return store.Placement{ExpiresMillis: 60_000 + i/100} },
		"shuffled": func(_ *feeder, i int64) store.Placement {
			return store.Placement{ExpiresMillis: 60_000 + i*7919%million}
		},
		"delayed": func(f *feeder, i int64) store.Placement {
			f.delivery++
			return store.Placement{Delay: store.Delay{DueMillis: 60_000 + i*7919%million, Delivery: f.delivery}}
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f := newFeeder(&recycler{})
				for i := range int64(million) {
					f.index++
					m := f.s.Put(f.content)
					f.q.Push(m, store.ID{Index: f.index}, place(f, i))
					f.s.Release(m)
				}
				st := f.s.Stats()
				for e, _, ok := f.s.Due(2 * million); ok; e, _, ok = f.s.Due(2 * million) {
					f.q.Remove(e)
				}
				b.ReportMetric(float64(st.ChunkBytes+st.SlabBytes+st.TimerBytes)/million-1024, "accounted-B/message")
				b.ReportMetric(float64(st.TimerBytes)/million, "timer-B/message")
				f.s.Discard()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/message")
		})
	}
}

// BenchmarkFreezeMillion is the pause of a snapshot.
func BenchmarkFreezeMillion(b *testing.B) {
	f := newFeeder(&recycler{})
	for range million {
		f.enqueue()
	}
	for b.Loop() {
		f.s.Thaw(f.s.Freeze())
	}
}

func BenchmarkWriteToMillion(b *testing.B) {
	f := newFeeder(&recycler{})
	for range million {
		f.enqueue()
	}
	view := f.s.Freeze()
	b.ReportAllocs()
	for b.Loop() {
		n, err := view.WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}

func BenchmarkRestoreMillion(b *testing.B) {
	f := newFeeder(&recycler{})
	for range million {
		f.enqueue()
	}
	var snapshot bytes.Buffer
	if _, err := f.s.Freeze().WriteTo(&snapshot); err != nil {
		b.Fatal(err)
	}
	f = nil
	chunks := &recycler{}
	b.SetBytes(int64(snapshot.Len()))
	for b.Loop() {
		s, err := store.Restore(chunks, bytes.NewReader(snapshot.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		s.Discard()
	}
}

// BenchmarkPriorities spreads messages over 256 levels with a backlog.
func BenchmarkPriorities(b *testing.B) {
	f := newFeeder(&recycler{})
	f.content.Body = f.content.Body[:16]
	push := func(i int) {
		f.index++
		m := f.s.Put(f.content)
		f.q.Push(m, store.ID{Index: f.index}, store.Placement{Priority: uint8(i * 167)})
		f.s.Release(m)
	}
	for i := range 10_000 {
		push(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		push(i)
		f.q.Remove(f.take())
	}
}

func BenchmarkSum(b *testing.B) {
	name := []byte("vhost/queue/a-name-of-some-length")
	for b.Loop() {
		store.Sum(name)
	}
}
