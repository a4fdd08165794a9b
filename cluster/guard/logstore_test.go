package guard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// naiveLog is what a log store should do, as simply as it can be said.
type naiveLog struct{ entries []*raft.Log }

func (n *naiveLog) bounds() (first, last uint64) {
	if len(n.entries) == 0 {
		return 0, 0
	}
	return n.entries[0].Index, n.entries[len(n.entries)-1].Index
}

func (n *naiveLog) store(logs []*raft.Log) {
	if _, last := n.bounds(); last+1 != logs[0].Index {
		n.entries = nil
	}
	n.entries = append(n.entries, logs...)
}

func (n *naiveLog) deleteRange(from, to uint64) {
	var kept []*raft.Log
	for _, l := range n.entries {
		if l.Index < from || l.Index > to {
			kept = append(kept, l)
		}
	}
	n.entries = kept
}

func (n *naiveLog) get(index uint64) *raft.Log {
	first, last := n.bounds()
	if first == 0 || index < first || index > last {
		return nil
	}
	return n.entries[index-first]
}

// logRun drives a LogStore and its naive twin.
type logRun struct {
	t     *testing.T
	store *LogStore
	twin  naiveLog
	term  uint64
}

func (r *logRun) storeSome(t *rapid.T) {
	_, last := r.twin.bounds()
	from := last + 1 + rapid.SampledFrom([]uint64{0, 0, 0, 0, 0, 3}).Draw(t, "gap")
	var logs, copies []*raft.Log
	for i := range rapid.Uint64Range(1, 5).Draw(t, "entries") {
		data := make([]byte, rapid.SampledFrom([]int{0, 10, 100, 1000}).Draw(t, "bytes"))
		copy(data, fmt.Sprint(from+i, r.term))
		logs = append(logs, &raft.Log{Index: from + i, Term: r.term, Data: data})
		copies = append(copies, &raft.Log{Index: from + i, Term: r.term, Data: append([]byte(nil), data...)})
	}
	noError(r.t, r.store.StoreLogs(logs))
	r.twin.store(copies)
}

func (r *logRun) truncate(t *rapid.T) {
	first, last := r.twin.bounds()
	r.term++
	r.delete(rapid.Uint64Range(first, last).Draw(t, "from"), last)
}

func (r *logRun) compact(t *rapid.T) {
	first, last := r.twin.bounds()
	r.delete(first, rapid.Uint64Range(first, last).Draw(t, "to"))
}

func (r *logRun) delete(from, to uint64) {
	noError(r.t, r.store.DeleteRange(from, to))
	r.twin.deleteRange(from, to)
}

func (r *logRun) check() {
	r.t.Helper()
	first, last := r.twin.bounds()
	if f, _ := r.store.FirstIndex(); f != first {
		r.t.Fatalf("first index %d instead of %d", f, first)
	}
	if l, _ := r.store.LastIndex(); l != last {
		r.t.Fatalf("last index %d instead of %d", l, last)
	}
	for i := uint64(0); i <= last+5; i++ {
		var got raft.Log
		err := r.store.GetLog(i, &got)
		switch want := r.twin.get(i); {
		case want == nil && err != raft.ErrLogNotFound:
			r.t.Fatalf("entry %d, which is not there: %v", i, err)
		case want != nil && (err != nil || !sameEntry(&got, want)):
			r.t.Fatalf("entry %d of term %d: %v, term %d", i, want.Term, err, got.Term)
		}
	}
	c := r.store.cache
	var bytes int64
	for i := range c.count {
		bytes += entrySize(c.at(i))
	}
	if bytes != c.bytes || bytes > c.bound && c.count > entriesKept || c.bound == 0 && c.count > 0 {
		r.t.Fatalf("the cache holds %d bytes, says %d, may hold %d", bytes, c.bytes, c.bound)
	}
}

// TestLogStoreAgainstNaive stores, truncates, compacts and reopens at random. Around every write of the inner store it also opens what a crash in that
// moment would leave, which must never look damaged.
func TestLogStoreAgainstNaive(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		noError(t, err)
		disk := raft.NewInmemStore()
		inner := &hookedStore{LogStore: disk}
		crash := func(string) error { return crashAndOpen(t, dir, disk) }
		inner.before, inner.after = crash, crash
		cfg := storeConfig(t, inner, dir)
		cfg.CacheBytes = rapid.SampledFrom([]int64{0, 500, 3000, 1 << 20}).Draw(rt, "cache")
		open := func() *LogStore {
			store, err := OpenLogStore(cfg)
			noError(t, err)
			return store
		}
		r := &logRun{t: t, store: open(), term: 1}
		defer func() { r.store.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"store": r.storeSome,
			"truncate": func(rt *rapid.T) {
				if len(r.twin.entries) > 0 {
					r.truncate(rt)
				}
			},
			"compact": func(rt *rapid.T) {
				if len(r.twin.entries) > 0 {
					r.compact(rt)
				}
			},
			"reopen": func(*rapid.T) {
				noError(t, r.store.Close())
				r.store = open()
			},
			"": func(*rapid.T) { r.check() },
		})
	})
}

// crashAndOpen opens copies of the disk as it is now.
func crashAndOpen(t *testing.T, dir string, disk *raft.InmemStore) error {
	to, err := os.MkdirTemp(dir, "crash")
	if err != nil {
		return err
	}
	defer os.RemoveAll(to)
	b, err := os.ReadFile(filepath.Join(dir, durableFile))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(to, durableFile), b, 0o600); err != nil {
		return err
	}
	clone := raft.NewInmemStore()
	first, last, err := bounds(disk)
	for i := first; i != 0 && i <= last && err == nil; i++ {
		var l raft.Log
		err = errors.Join(disk.GetLog(i, &l), clone.StoreLog(&l))
	}
	if err != nil {
		return err
	}
	store, err := OpenLogStore(storeConfig(t, clone, to))
	if err != nil {
		return err
	}
	return store.Close()
}

// TestCacheSurvivesCompaction: raft.LogCache empties itself at every DeleteRange; this one is read on.
// TestDeletedEntriesAreGone: raft-wal keeps a deleted prefix readable for as long as its segment lives.
func TestDeletedEntriesAreGone(t *testing.T) {
	for name, open := range innerStores {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			inner, err := open(dir)
			noError(t, err)
			defer inner.Close()
			logs := openStore(t, inner, dir)
			defer logs.Close()
			noError(t, logs.StoreLogs(entries("e", 1, 1, 20)))
			noError(t, logs.DeleteRange(1, 10))
			var l raft.Log
			for _, index := range []uint64{0, 1, 10, 21} {
				if err := logs.GetLog(index, &l); err != raft.ErrLogNotFound {
					t.Errorf("entry %d: %v", index, err)
				}
			}
			noError(t, logs.GetLog(11, &l))
		})
	}
}

func TestCacheSurvivesCompaction(t *testing.T) {
	inner := &hookedStore{LogStore: raft.NewInmemStore()}
	logs := openStore(t, inner, t.TempDir())
	defer logs.Close()
	noError(t, logs.StoreLogs(entries("e", 1, 1, 100)))
	noError(t, logs.DeleteRange(1, 50))
	inner.reads.Store(0)
	for i := uint64(51); i <= 100; i++ {
		var l raft.Log
		noError(t, logs.GetLog(i, &l))
	}
	if inner.reads.Load() != 0 {
		t.Errorf("%d of 50 entries were read from disk", inner.reads.Load())
	}

	lib, err := raft.NewLogCache(512, inner)
	noError(t, err)
	noError(t, lib.StoreLogs(entries("e", 1, 101, 102)))
	noError(t, lib.DeleteRange(51, 60))
	noError(t, lib.GetLog(101, &raft.Log{}))
	if inner.reads.Load() == 0 {
		t.Error("raft.LogCache survives a compaction too")
	}
}

// TestCacheKeepsTheNewest: entries above the bound are here for as long as raft reads them to send them, and no longer.
func TestCacheKeepsTheNewest(t *testing.T) {
	c := newEntryCache(1000)
	large := entries(string(make([]byte, 2000)), 1, 1, 3)
	c.add(large)
	for i, want := range []bool{false, true, true} {
		if got := c.get(uint64(i+1), &raft.Log{}); got != want {
			t.Errorf("large entry %d is kept: %v", i+1, got)
		}
	}
	c.add(entries("y", 1, 4, 4))
	if c.get(2, &raft.Log{}) || !c.get(3, &raft.Log{}) || !c.get(4, &raft.Log{}) {
		t.Error("behind a small entry the newest two are not kept")
	}
	c.add(entries("y", 1, 5, 5))
	if c.get(3, &raft.Log{}) || c.bytes > c.bound {
		t.Errorf("a large entry stays behind two others: %d bytes", c.bytes)
	}
}

// TestReadersBesideWriters is for the race detector, and for entries that vanish between two looks.
func TestReadersBesideWriters(t *testing.T) {
	dir := t.TempDir()
	inner, err := innerStores["raft-wal"](dir)
	noError(t, err)
	cfg := storeConfig(t, inner, dir)
	cfg.CacheBytes = 2000
	logs, err := OpenLogStore(cfg)
	noError(t, err)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				first, _ := logs.FirstIndex()
				last, _ := logs.LastIndex()
				for i := first; i <= last; i++ {
					if err := logs.GetLog(i, &raft.Log{}); err != nil && err != raft.ErrLogNotFound {
						t.Errorf("entry %d: %v", i, err)
						return
					}
				}
			}
		})
	}
	next := uint64(1)
	for round := range uint64(30) {
		noError(t, logs.StoreLogs(entries("e", round+1, next, next+19)))
		noError(t, logs.DeleteRange(next+10, next+19))
		next += 10
		if round%3 == 2 {
			noError(t, logs.DeleteRange(1, next-15))
		}
	}
	close(done)
	readers.Wait()
	noError(t, logs.Close())
	noError(t, inner.Close())
}

func TestLogStoreRefuses(t *testing.T) {
	for name, write := range map[string]func(*LogStore) error{
		"corrupt":  func(s *LogStore) error { l := entries("e", 1, 11, 12); l[1].Data[0] ^= 1; return s.StoreLogs(l) },
		"overlap":  func(s *LogStore) error { return s.StoreLogs(entries("e", 1, 10, 11)) },
		"gapped":   func(s *LogStore) error { l := entries("e", 1, 11, 13); return s.StoreLogs([]*raft.Log{l[0], l[2]}) },
		"middle":   func(s *LogStore) error { return s.DeleteRange(3, 5) },
		"no index": func(s *LogStore) error { return s.StoreLog(&raft.Log{}) },
	} {
		t.Run(name, func(t *testing.T) {
			var fatal error
			inner := raft.NewInmemStore()
			cfg := storeConfig(t, inner, t.TempDir())
			cfg.Fatal = func(err error) { fatal = err }
			logs, err := OpenLogStore(cfg)
			noError(t, err)
			defer logs.Close()
			noError(t, logs.StoreLogs(entries("e", 1, 1, 10)))
			if err := write(logs); err == nil || fatal == nil {
				t.Errorf("returned %v, fatal %v", err, fatal)
			}
			if first, last, err := bounds(inner); first != 1 || last != 10 || err != nil {
				t.Errorf("the log now reaches from %d to %d", first, last)
			}
		})
	}
}

func TestLogStoreClosed(t *testing.T) {
	logs := openStore(t, raft.NewInmemStore(), t.TempDir())
	noError(t, logs.Close())
	noError(t, logs.Close())
	if err := logs.StoreLogs(entries("e", 1, 1, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("store: %v", err)
	}
	if err := logs.DeleteRange(1, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("delete: %v", err)
	}
}

func TestLogStoreConfig(t *testing.T) {
	if _, err := OpenLogStore(LogStoreConfig{CacheBytes: -1}); err == nil {
		t.Error("opened without a configuration")
	} else if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 5 {
		t.Errorf("not every fault is reported: %v", err)
	}
}

func TestVerifyEntry(t *testing.T) {
	l := entries("e", 1, 7, 7)[0]
	noError(t, VerifyEntry(l))
	noError(t, seal([]*raft.Log{l}))
	l.Extensions = nil
	if err := VerifyEntry(l); !errors.Is(err, ErrCorrupt) {
		t.Errorf("without a checksum: %v", err)
	}
}

func BenchmarkGetLogCached(b *testing.B) {
	cache := newEntryCache(64 << 20)
	l := entries("e", 1, 1, 1)
	l[0].Data, l[0].Extensions = make([]byte, 64<<10), nil
	if err := seal(l); err != nil {
		b.Fatal(err)
	}
	cache.add(l)
	s := &LogStore{cache: cache}
	b.SetBytes(64 << 10)
	for b.Loop() {
		var out raft.Log
		if err := s.GetLog(1, &out); err != nil {
			b.Fatal(err)
		}
	}
}
