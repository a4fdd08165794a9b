package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime/debug"

	"github.com/hashicorp/raft"
)

// recover brings the log, the durable index and the fields of s into agreement, or reports ErrDamaged.
func (s *LogStore) recover(dir string) error {
	first, last, err := bounds(s.inner)
	if err != nil {
		return damageIfCorrupt(err)
	}
	durable, existed, err := openDurableIndex(dir)
	if err != nil {
		return damageIfCorrupt(fmt.Errorf("guard: open the durable index: %w", err))
	}
	if last, err = s.recoverTail(first, last, durable.index, existed); err == nil {
		err = s.settle(dir, durable, last)
	}
	if err != nil {
		durable.f.Close()
		return err
	}
	if last != 0 {
		s.first.Store(first)
	}
	s.last.Store(last)
	s.durable = durable
	return nil
}

// recoverTail verifies every entry and returns where the log ends once a torn tail is cut.
func (s *LogStore) recoverTail(first, last, durable uint64, existed bool) (uint64, error) {
	if !existed && last != 0 {
		return 0, fmt.Errorf("%w: the durable index is missing beside a log that ends at %d", ErrDamaged, last)
	}
	if last < durable {
		return 0, fmt.Errorf("%w: it ends at %d, %d was durable", ErrDamaged, last, durable)
	}
	bad, cause := s.firstBad(first, last)
	if cause == nil {
		return last, nil
	}
	if bad <= durable {
		return 0, fmt.Errorf("%w: %d was durable: %w", ErrDamaged, durable, cause)
	}
	s.cache.dropFrom(bad)
	if err := s.inner.DeleteRange(bad, last); err != nil {
		return 0, fmt.Errorf("guard: cut the torn tail %d to %d: %w", bad, last, err)
	}
	if bad == first {
		return 0, nil
	}
	return bad - 1, nil
}

// firstBad finds the first entry that cannot be read, does not match its checksum or has a term below its predecessor's. It leaves the newest ones in the
// cache: raft reads all that follow its snapshot twice more, for configurations and to apply them.
func (s *LogStore) firstBad(first, last uint64) (uint64, error) {
	var term uint64
	for i := first; i <= last && i != 0; i++ {
		l := new(raft.Log)
		if err := s.read(i, l); err != nil {
			return i, err
		}
		if l.Term < term {
			return i, fmt.Errorf("%w: entry %d of term %d follows one of term %d", ErrCorrupt, i, l.Term, term)
		}
		term = l.Term
		s.cache.add([]*raft.Log{l})
	}
	return 0, nil
}

// settle makes the log as found durable, then says so. Entries that a killed process had written, but not yet fsynced, are readable from the page cache: raft
// would acknowledge them to a leader without writing them again, and a power loss would then take what was confirmed.
func (s *LogStore) settle(dir string, durable *durableIndex, last uint64) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // the inner store may remove files that it no longer needs
		case err != nil:
			return err
		case d.IsDir() || d.Type().IsRegular():
			if err := syncFile(path); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = durable.reset(last)
	}
	if err != nil {
		return fmt.Errorf("guard: make the log durable: %w", err)
	}
	return nil
}

// read gets an entry from the inner store and verifies it.
func (s *LogStore) read(index uint64, out *raft.Log) error {
	err := faultsAsErrors(func() error { return s.inner.GetLog(index, out) })
	switch {
	case errors.Is(err, raft.ErrLogNotFound):
		return raft.ErrLogNotFound
	case err != nil:
		return fmt.Errorf("%w: read entry %d: %w", ErrCorrupt, index, err)
	}
	return checkEntry(index, out)
}

func checkEntry(index uint64, l *raft.Log) error {
	if l.Index != index {
		return fmt.Errorf("%w: entry %d found in the place of %d", ErrCorrupt, l.Index, index)
	}
	return VerifyEntry(l)
}

func bounds(logs raft.LogStore) (first, last uint64, err error) {
	err = faultsAsErrors(func() error {
		var e1, e2 error
		first, e1 = logs.FirstIndex()
		last, e2 = logs.LastIndex()
		return errors.Join(e1, e2)
	})
	if err == nil && (first > last || (first == 0) != (last == 0)) {
		err = fmt.Errorf("%w: the log reaches from %d to %d", ErrCorrupt, first, last)
	}
	return first, last, err
}

// Open opens a store that may be damaged: a panic in its decoder, or a memory fault in a file that it maps and that is shorter than it believes, becomes an
// error that wraps ErrDamaged. What the failed attempt held (its file lock) stays held: the process is expected to end, or to leave that folder alone.
func Open[T any](open func() (T, error)) (T, error) {
	var store T
	err := faultsAsErrors(func() (err error) {
		store, err = open()
		return err
	})
	return store, damageIfCorrupt(err)
}

func damageIfCorrupt(err error) error {
	if errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// faultsAsErrors runs f. raft-wal's decoder panics on some damaged entries, and raft-boltdb reads through a memory map: past the end of a truncated file that is
// SIGBUS, which kills the process unless the goroutine asks for a panic instead.
func faultsAsErrors(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return f()
}
