package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
)

// durableFile is the name of the durable index within LogStoreConfig.Dir.
const durableFile = "durable-index"

// The file holds two slots, written in turn, so that a torn write leaves the other one:
//
//	offset 0, offset slotStride
//	  bytes 0-7    sequence number of this write, big endian
//	  bytes 8-15   durable index, big endian; 0: no entry is known to be durable
//	  bytes 16-19  CRC32C of bytes 0-15, big endian
//
// The valid slot with the higher sequence number counts.
const (
	slotSize   = 20
	slotStride = 512
)

var errNoSlot = fmt.Errorf("%w: the durable index has no valid slot", ErrCorrupt)

// durableIndex remembers, outside the log store, up to which index the log was fsynced.
//
// A log store alone cannot tell a tail that was torn by a crash (never acknowledged: to be cut) from one that was acknowledged and damaged later (a voter
// without it may help to elect a leader that lacks committed entries). raft-wal decides for the former and drops the last batch, or, when a frame header is
// damaged, everything after it.
//
// It may lag behind the log (it is synced about once a second) but must never run ahead of it. raise therefore follows the log's fsync, and lower, which
// precedes a truncation, replaces both slots durably: an older slot with a higher index must not come back when a later write of the other one is torn.
//
// One goroutine at a time calls raise and lower; sync may run beside them.
type durableIndex struct {
	f *os.File
	durableSlot
	dirty atomic.Bool
}

type durableSlot struct{ seq, index uint64 }

// openDurableIndex opens the file, or creates it with index 0; existed tells which.
func openDurableIndex(dir string) (d *durableIndex, existed bool, err error) {
	path := filepath.Join(dir, durableFile)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	existed = err == nil
	if errors.Is(err, os.ErrNotExist) {
		f, err = createDurableIndex(dir, path)
	}
	if err != nil {
		return nil, false, err
	}
	d = &durableIndex{f: f}
	if err := d.load(); err != nil {
		f.Close()
		return nil, existed, err
	}
	return d, existed, nil
}

// createDurableIndex makes the file whole before it gets its name: one without a valid slot is then always damage.
func createDurableIndex(dir, path string) (*os.File, error) {
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	d := &durableIndex{f: f}
	if err := errors.Join(d.write(0), d.write(0), f.Sync()); err != nil {
		f.Close()
		return nil, err
	}
	if err := errors.Join(os.Rename(path+".new", path), syncFile(dir)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (d *durableIndex) load() error {
	read, err := decodeDurableIndex(d.f)
	d.durableSlot = read
	return err
}

// decodeDurableIndex reads the two slots.
func decodeDurableIndex(from io.ReaderAt) (d durableSlot, err error) {
	found := false
	for slot := range int64(2) {
		var b [slotSize]byte
		if _, err := from.ReadAt(b[:], slot*slotStride); err != nil {
			if errors.Is(err, io.EOF) {
				continue // cut short: as good as damaged
			}
			return durableSlot{}, err
		}
		if binary.BigEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], castagnoli) {
			continue
		}
		if seq := binary.BigEndian.Uint64(b[0:]); !found || seq > d.seq {
			found, d.seq, d.index = true, seq, binary.BigEndian.Uint64(b[8:])
		}
	}
	if !found {
		return durableSlot{}, errNoSlot
	}
	return d, nil
}

// raise notes that the log is durable up to index.
func (d *durableIndex) raise(index uint64) error {
	if err := d.write(index); err != nil {
		return err
	}
	d.dirty.Store(true)
	return nil
}

// lower notes, durably, that nothing after index counts any more. It does nothing where nothing after index counted.
func (d *durableIndex) lower(index uint64) error {
	if index >= d.index {
		return nil
	}
	return d.reset(index)
}

// reset puts index into both slots, durably, one after the other.
func (d *durableIndex) reset(index uint64) error {
	for range 2 {
		if err := d.write(index); err != nil {
			return err
		}
		if err := d.f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (d *durableIndex) write(index uint64) error {
	var b [slotSize]byte
	binary.BigEndian.PutUint64(b[0:], d.seq+1)
	binary.BigEndian.PutUint64(b[8:], index)
	binary.BigEndian.PutUint32(b[16:], crc32.Checksum(b[:16], castagnoli))
	if _, err := d.f.WriteAt(b[:], int64((d.seq+1)%2)*slotStride); err != nil {
		return err
	}
	d.seq, d.index = d.seq+1, index
	return nil
}

// sync makes what raise noted durable.
func (d *durableIndex) sync() error {
	if !d.dirty.Swap(false) {
		return nil
	}
	return d.f.Sync()
}

func (d *durableIndex) close() error { return errors.Join(d.sync(), d.f.Close()) }

// syncFile fsyncs a file or folder by name.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
