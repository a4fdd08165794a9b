package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// ReadWALSegment calls each for the entries of one of raft-wal's segments that are from `from` to `to` and within the segment's limits, in order, and returns
// the last index that was committed in the file. It opens the file for reading only and takes no lock: a running node may append to it, or delete it (an error
// that wraps os.ErrNotExist before anything was read). Only batches whose commit frame is whole are read; in a segment that is sealed another end is
// ErrCorrupt. Entries' own checksums are each's to check.
func ReadWALSegment(dir string, info types.SegmentInfo, from, to uint64, each func(*raft.Log) error) (last uint64, err error) {
	f, err := os.Open(filepath.Join(dir, segment.FileName(info)))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := walReader{f: f, next: info.BaseIndex, from: max(from, info.MinIndex), to: to, each: each}
	if info.MaxIndex != 0 {
		r.to = min(to, info.MaxIndex)
	}
	for batch := int64(0); err == nil; {
		var commit int64
		if commit, err = r.findCommit(batch); commit == 0 {
			break
		}
		if err == nil {
			err = r.entries(max(batch, walFileHeader), commit)
		}
		batch = commit + walFrameHeader
	}
	if err == nil && info.MaxIndex != 0 && r.next <= info.MaxIndex {
		err = fmt.Errorf("%w: segment %s ends at %d, and %d was in it", ErrCorrupt, segment.FileName(info), r.next-1, info.MaxIndex)
	}
	return r.next - 1, err
}

// WALEntry decodes what a segment holds of one entry. An undecodable one is ErrCorrupt.
func WALEntry(payload []byte) (l raft.Log, err error) {
	err = faultsAsErrors(func() error { return new(wal.BinaryCodec).Decode(payload, &l) }) // it panics on some damage
	if err != nil && !errors.Is(err, ErrCorrupt) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return l, err
}

type walReader struct {
	f        *os.File
	next     uint64 // index of the next entry frame
	from, to uint64
	each     func(*raft.Log) error
}

// findCommit finds the commit frame that ends the batch which begins at an offset, 0 if there is no whole one. Nothing is believed before its sum fits.
func (r *walReader) findCommit(batch int64) (commit int64, err error) {
	for at := max(batch, walFileHeader); ; {
		kind, value, err := r.frame(at)
		if err != nil {
			return 0, err
		}
		switch kind {
		case walEntry, walIndex:
			at += walFrameHeader + (int64(value)+7)&^7
		case walCommit:
			sum := crc32.New(castagnoli)
			if _, err := io.Copy(sum, io.NewSectionReader(r.f, batch, at-batch)); err != nil || sum.Sum32() != value {
				return 0, err
			}
			return at, nil
		default:
			return 0, nil
		}
	}
}

// entries walks through the frames of a batch.
func (r *walReader) entries(at, commit int64) error {
	for at < commit {
		kind, size, err := r.frame(at)
		if err != nil {
			return err
		}
		if kind == walEntry {
			if r.next >= r.from && r.next <= r.to {
				if err := r.entry(at+walFrameHeader, size); err != nil {
					return err
				}
			}
			r.next++
		}
		at += walFrameHeader + (int64(size)+7)&^7
	}
	return nil
}

func (r *walReader) entry(at int64, size uint32) error {
	payload := make([]byte, size)
	if _, err := r.f.ReadAt(payload, at); err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrCorrupt, r.next, err)
	}
	l, err := WALEntry(payload)
	if err != nil {
		return fmt.Errorf("entry %d: %w", r.next, err)
	}
	if l.Index != r.next {
		return fmt.Errorf("%w: entry %d found in the place of %d", ErrCorrupt, l.Index, r.next)
	}
	return r.each(&l)
}

// frame reads a frame's header; kind 0 behind the end.
func (r *walReader) frame(at int64) (kind byte, value uint32, err error) {
	var header [walFrameHeader]byte
	if n, err := r.f.ReadAt(header[:], at); n < walFrameHeader {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, 0, err
	}
	return header[0], binary.LittleEndian.Uint32(header[4:]), nil
}

// ReadDurableIndex reads the durable index of a log's folder and changes nothing. Under a node that is writing it, it may be one write old.
func ReadDurableIndex(dir string) (uint64, error) {
	raw, err := os.ReadFile(filepath.Join(dir, durableFile))
	if err != nil {
		return 0, err
	}
	d, err := decodeDurableIndex(bytes.NewReader(raw))
	return d.index, err
}
