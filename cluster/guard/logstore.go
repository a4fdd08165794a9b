package guard

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

var (
	_ raft.LogStore          = (*LogStore)(nil)
	_ raft.MonotonicLogStore = (*LogStore)(nil)
)

var (
	// ErrDamaged reports that entries which were fsynced are gone or unreadable. The node may have voted, or confirmed, on the strength of them: it must
	// not take part with this folder again.
	ErrDamaged = errors.New("guard: the log lost entries that were durable; never vote with it again: " +
		"set the data folder aside and let the node rejoin under a new id (a node that is alone needs a backup)")
	// ErrClosed reports a call after Close.
	ErrClosed = errors.New("guard: the log store is closed")
)

// durableSyncEvery is how far the durable index on disk may lag behind the log.
const durableSyncEvery = time.Second

// deleteChunk bounds the entries that one write deletes from a store that deletes them one by one, so that a large compaction stays within the write bound.
const deleteChunk = 1024

// LogStoreConfig says what a LogStore wraps. All fields are required.
type LogStoreConfig struct {
	// Inner is the store that holds the log, raft-wal or raft-boltdb. It stays the caller's to close, after the LogStore. Nobody else may write to it.
	Inner raft.LogStore
	// Dir is where the durable index lies: the folder of the log, or one above it. All regular files in and below it are fsynced at open.
	Dir string
	// WriteBound is how long one write may take; WriteBoundDefault if in doubt.
	WriteBound time.Duration
	// CacheBytes bounds the memory for recent entries; 0 keeps none.
	CacheBytes int64
	// Fatal must end the process: the store can no longer be trusted. It is called at most once, on the goroutine that found the fault, which may be
	// raft's or a timer's: it must not wait for raft or for the LogStore.
	Fatal func(error)
}

func (cfg LogStoreConfig) validate() error {
	var errs []error
	if cfg.Inner == nil {
		errs = append(errs, errors.New("guard: LogStoreConfig.Inner is missing"))
	}
	if cfg.Dir == "" {
		errs = append(errs, errors.New("guard: LogStoreConfig.Dir is missing"))
	}
	if cfg.WriteBound <= 0 {
		errs = append(errs, fmt.Errorf("guard: LogStoreConfig.WriteBound is %v", cfg.WriteBound))
	}
	if cfg.CacheBytes < 0 {
		errs = append(errs, fmt.Errorf("guard: LogStoreConfig.CacheBytes is %d", cfg.CacheBytes))
	}
	if cfg.Fatal == nil {
		errs = append(errs, errors.New("guard: LogStoreConfig.Fatal is missing"))
	}
	return errors.Join(errs...)
}

// LogStore is a raft.LogStore around another one. See watchdog, seal, durableIndex and entryCache for what each layer is there to prevent.
//
// The log is one gapless run of entries, at all times and on disk. Raft leaves a gap in two cases, both after a snapshot install: by design in a store that is
// not monotonic, and by accident in one that is, when the process ends between the snapshot's rename and the removal of the old log. The next append then
// starts behind a gap, which raft-wal refuses for ever. What lies before the gap is covered by the snapshot, or raft would not append: it is
// removed then.
type LogStore struct {
	inner     raft.LogStore
	monotonic bool
	dog       *watchdog
	cache     *entryCache

	writes      sync.Mutex // serialises writers, so that the bookkeeping has the order of the disk; guards durable and closed
	durable     *durableIndex
	closed      bool
	first, last atomic.Uint64 // of the log on disk, 0 when it is empty; written under writes

	stop chan struct{}
	done chan struct{}
}

// OpenLogStore checks the whole log against its checksums and the durable index, cuts a torn tail and returns the store, ready for use. Errors that wrap
// ErrDamaged mean that the data folder must not be used again. On error Inner is left open.
func OpenLogStore(cfg LogStoreConfig) (*LogStore, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &LogStore{
		inner: cfg.Inner,
		dog:   newWatchdog(cfg.WriteBound, cfg.Fatal),
		cache: newEntryCache(cfg.CacheBytes),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	if m, ok := cfg.Inner.(raft.MonotonicLogStore); ok {
		s.monotonic = m.IsMonotonic()
	}
	if err := s.recover(cfg.Dir); err != nil {
		return nil, err
	}
	go s.syncDurable()
	return s, nil
}

// syncDurable makes the durable index durable, about once a second.
func (s *LogStore) syncDurable() {
	defer close(s.done)
	ticker := time.NewTicker(durableSyncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			if s.dog.do("sync the durable index", s.durable.sync) != nil {
				return
			}
		}
	}
}

// Close syncs the durable index and ends the store. The inner store is the caller's to close, afterwards.
func (s *LogStore) Close() error {
	s.writes.Lock()
	defer s.writes.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.stop)
	<-s.done
	return s.durable.close()
}

// IsMonotonic says what the inner store says. Where it is hidden, raft keeps the old log across a snapshot install and raft-wal rejects the next append.
func (s *LogStore) IsMonotonic() bool { return s.monotonic }

// FirstIndex is the index of the oldest entry, 0 when there is none.
func (s *LogStore) FirstIndex() (uint64, error) { return s.first.Load(), nil }

// LastIndex is the index of the newest entry, 0 when there is none.
func (s *LogStore) LastIndex() (uint64, error) { return s.last.Load(), nil }

// GetLog reads and verifies an entry. raft.ErrLogNotFound (never wrapped: raft compares it) means that it was compacted or does not exist yet; an entry that
// must be there and is not, or does not match its checksum, is fatal: raft would retry for ever, or ship a snapshot where it should stop. Data and Extensions
// of the result are shared and must not be written to.
func (s *LogStore) GetLog(index uint64, out *raft.Log) error {
	// raft-wal returns entries that were deleted as long as their segment is there: raft would verify requests against what it has given up.
	if !s.holds(index) {
		return raft.ErrLogNotFound
	}
	if s.cache.get(index, out) {
		return s.verdict(checkEntry(index, out))
	}
	err := s.read(index, out)
	if err != nil {
		err = s.readAgain(index, out)
	}
	return s.verdict(err)
}

// readAgain tells an entry that was deleted or stored in this moment from one that is missing or damaged: no write runs while it looks. Not only may the first
// look have come too early or too late. raft-wal's readers load its state and count themselves as its users in two steps; a deletion in between closes the
// file under them.
func (s *LogStore) readAgain(index uint64, out *raft.Log) error {
	if !s.holds(index) {
		return raft.ErrLogNotFound
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	if s.closed {
		return ErrClosed
	}
	if !s.holds(index) {
		return raft.ErrLogNotFound
	}
	if err := s.read(index, out); err != raft.ErrLogNotFound {
		return err
	}
	return fmt.Errorf("%w: entry %d is missing between %d and %d", ErrCorrupt, index, s.first.Load(), s.last.Load())
}

// holds says whether an index lies within the log.
func (s *LogStore) holds(index uint64) bool {
	first := s.first.Load()
	return first != 0 && index >= first && index <= s.last.Load()
}

func (s *LogStore) verdict(err error) error {
	if err != nil && err != raft.ErrLogNotFound && err != ErrClosed {
		s.dog.fail(err)
	}
	return err
}

// StoreLog stores one entry.
func (s *LogStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs seals or checks the entries and stores them durably. It keeps references to their Data and Extensions. Any error is fatal, see watchdog; a corrupt
// entry too: after a truncation in the same request raft would believe in entries that it no longer has, and Transport lets none in.
func (s *LogStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.dog.do("store log entries", func() error { return s.store(logs) })
}

func (s *LogStore) store(logs []*raft.Log) error {
	if err := gapless(logs); err != nil {
		return err
	}
	if err := seal(logs); err != nil {
		return err
	}
	from, to := logs[0].Index, logs[len(logs)-1].Index
	if last := s.last.Load(); last != 0 && from <= last {
		return fmt.Errorf("guard: entry %d is appended to a log that ends at %d", from, last)
	} else if last != 0 && from > last+1 {
		if err := s.deleteSuffix(s.first.Load()); err != nil { // see the type's comment
			return err
		}
	}
	if err := s.inner.StoreLogs(logs); err != nil {
		return err
	}
	// Only now is it durable. A crash before this line leaves the index behind the log, which costs nothing.
	if err := s.durable.raise(to); err != nil {
		return err
	}
	s.cache.add(logs)
	s.last.Store(to)
	s.first.CompareAndSwap(0, from)
	return nil
}

func gapless(logs []*raft.Log) error {
	for i, l := range logs {
		if l.Index == 0 || l.Index != logs[0].Index+uint64(i) {
			return fmt.Errorf("guard: entry %d stands at place %d of a batch from %d", l.Index, i, logs[0].Index)
		}
	}
	return nil
}

// DeleteRange deletes a prefix (compaction), a suffix (truncation of entries that conflict with the leader's) or the whole log (after a snapshot
// install). Any error is fatal.
func (s *LogStore) DeleteRange(from, to uint64) error {
	s.writes.Lock()
	defer s.writes.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.dog.do("delete log entries", func() error {
		first, last := s.first.Load(), s.last.Load()
		switch {
		case last == 0 || to < first || from > last:
			return nil
		case to >= last:
			return s.deleteSuffix(max(from, first))
		case from <= first:
			return s.deletePrefix(to)
		default:
			return fmt.Errorf("guard: %d to %d is neither the beginning nor the end of %d to %d", from, to, first, last)
		}
	})
}

// deleteSuffix deletes from an index within the log to its end. The durable index goes down first, durably: were it still up after a crash in between, the
// truncated log would look damaged. The cache forgets first too, so that nobody reads there what the store no longer has.
func (s *LogStore) deleteSuffix(from uint64) error {
	first, last := s.first.Load(), s.last.Load()
	end := from - 1
	if from == first {
		end = 0
	}
	if err := s.durable.lower(end); err != nil {
		return err
	}
	s.cache.dropFrom(from)
	s.last.Store(end)
	if end == 0 {
		s.first.Store(0)
	}
	return s.inner.DeleteRange(from, last)
}

// deletePrefix compacts. The durable index stands: it speaks of the end of the log.
func (s *LogStore) deletePrefix(to uint64) error {
	from := s.first.Load()
	s.cache.dropTo(to)
	s.first.Store(to + 1)
	for !s.monotonic && to-from >= deleteChunk {
		if err := s.inner.DeleteRange(from, from+deleteChunk-1); err != nil {
			return err
		}
		from += deleteChunk
	}
	return s.inner.DeleteRange(from, to)
}
