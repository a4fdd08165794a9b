//go:build unix

package arena

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/triagemq/triagemq/fsm/store"
)

// TestBlocksAreApart lends and frees at random; every block keeps its own bytes.
func TestBlocksAreApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := New()
		defer a.Close()
		sizes := rapid.OneOf(rapid.Just(store.ChunkBytes), rapid.IntRange(1, 300<<10), rapid.IntRange(1, 20<<20))
		var lent [][]byte
		check := func(b []byte, at int) {
			if want := byte(at); b[0] != want || b[len(b)-1] != want {
				t.Fatalf("block %d was overwritten", at)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"alloc": func(t *rapid.T) {
				size := sizes.Draw(t, "size")
				b := a.Alloc(size)
				if len(b) != size || cap(b) != size {
					t.Fatalf("asked for %d bytes, got %d of %d", size, len(b), cap(b))
				}
				b[0], b[size-1] = byte(len(lent)), byte(len(lent))
				lent = append(lent, b)
			},
			"free": func(t *rapid.T) {
				if len(lent) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(lent)-1).Draw(t, "block")
				last := len(lent) - 1
				check(lent[i], i)
				a.Free(lent[i])
				lent[i] = lent[last]
				lent = lent[:last]
				if i < last {
					lent[i][0], lent[i][len(lent[i])-1] = byte(i), byte(i)
				}
			},
			"": func(t *rapid.T) {
				for i, b := range lent {
					check(b, i)
				}
			},
		})
		for _, b := range lent {
			a.Free(b)
		}
		if s := a.Stats(); s.LentBytes != 0 || s.WarmBytes > warmChunksMax*store.ChunkBytes {
			t.Fatalf("all is freed, and the figures are %+v", s)
		}
	})
}

func TestRegionsGoBack(t *testing.T) {
	a := New()
	defer a.Close()
	var lent [][]byte
	for range 1024 {
		lent = append(lent, a.Alloc(store.ChunkBytes))
	}
	if got := a.Stats().LentBytes; got != 1024*store.ChunkBytes {
		t.Fatalf("%d bytes are lent", got)
	}
	for _, b := range lent {
		a.Free(b)
	}
	s := a.Stats()
	if s.LentBytes != 0 || s.MappedBytes > 64<<20+warmChunksMax*store.ChunkBytes {
		t.Fatalf("all is freed, and the figures are %+v", s)
	}
}

func TestFreedMemoryIsNotResident(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	a := New()
	defer a.Close()
	keep := a.Alloc(store.ChunkBytes) // the regions stay
	before := residentBytes(t)
	const n = 1024
	var lent [][]byte
	for range n {
		b := a.Alloc(store.ChunkBytes)
		copy(b, bytes.Repeat([]byte{1}, len(b)))
		lent = append(lent, b)
	}
	full := residentBytes(t)
	if full-before < n*store.ChunkBytes*9/10 {
		t.Fatalf("%d chunks were written and %d bytes became resident", n, full-before)
	}
	for _, b := range lent {
		a.Free(b)
	}
	if left := residentBytes(t) - before; left > warmChunksMax*store.ChunkBytes+64<<20 { // the race detector has a shadow of it
		t.Fatalf("%d bytes are still resident", left)
	}
	a.Free(keep)
}

func TestMisuse(t *testing.T) {
	for name, f := range map[string]func(a *Arena){
		"a block that was freed":  func(a *Arena) { b := a.Alloc(100); a.Free(b); a.Free(b) },
		"memory of someone else":  func(a *Arena) { a.Free(make([]byte, 10)) },
		"a block of no bytes":     func(a *Arena) { a.Alloc(0) },
		"the inside of a block":   func(a *Arena) { a.Free(a.Alloc(100)[1:]) },
		"more than there can be":  func(a *Arena) { a.Alloc(1 << 60) },
		"a large one, twice":      func(a *Arena) { b := a.Alloc(30 << 20); a.Free(b); a.Free(b) },
		"a chunk, twice":          func(a *Arena) { b := a.Alloc(store.ChunkBytes); a.Free(b); a.Free(b) },
		"a block of minus a byte": func(a *Arena) { a.Alloc(-1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			a := New()
			defer a.Close()
			f(a)
		})
	}
}

// residentBytes reads the resident set of this process.
func residentBytes(t testing.TB) int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func BenchmarkChunkReused(b *testing.B) {
	a := New()
	defer a.Close()
	for b.Loop() {
		a.Free(a.Alloc(store.ChunkBytes))
	}
}

// BenchmarkChunkFresh writes chunks that were never touched: what the kernel charges for the pages.
func BenchmarkChunkFresh(b *testing.B) {
	a := New()
	defer a.Close()
	src := bytes.Repeat([]byte{1}, store.ChunkBytes)
	b.SetBytes(store.ChunkBytes)
	var lent [][]byte
	for b.Loop() {
		c := a.Alloc(store.ChunkBytes)
		copy(c, src)
		lent = append(lent, c)
		if len(lent) == 4096 {
			b.StopTimer()
			for _, c := range lent {
				a.Free(c)
			}
			lent = lent[:0]
			b.StartTimer()
		}
	}
}

// BenchmarkMillionMessages fills a Store with messages of 1 KiB and reports what each costs beyond its body.
func BenchmarkMillionMessages(b *testing.B) {
	const messages = 1_000_000
	content := store.Content{RoutingKey: []byte("jobs"), Properties: []byte{0x10, 0, 2}, Body: bytes.Repeat([]byte{1}, 1024)}
	for b.Loop() {
		b.StopTimer()
		a := New()
		debug.FreeOSMemory()
		before := residentBytes(b)
		b.StartTimer()
		s := store.New(a)
		q := s.Queue(1)
		for i := range uint64(messages) {
			m := s.Put(content)
			q.Push(m, store.ID{Index: i + 1}, store.Placement{})
			s.Release(m)
		}
		b.StopTimer()
		b.ReportMetric(float64(residentBytes(b)-before)/messages-1024, "resident-B/message")
		s.Discard()
		a.Close()
		b.StartTimer()
	}
}
