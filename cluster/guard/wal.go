package guard

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// OpenWAL opens raft-wal in a folder that exists, with segments of about segmentBytes. Errors wrap ErrDamaged where files that were durable are.
//
// raft-wal seals a segment with the batch that fills it: an index of the entries is written between them and the commit frame, in one write. The segment is
// noted as sealed in the metadata afterwards, by a goroutine. When the process ends in between, be it by Close, the next open finds a tail that it
// believes unsealed but that has an index, and refuses every append with "segment is sealed", at every start. The same happens when that last batch was
// torn by a power failure, although raft-wal then drops it. So before raft-wal looks at the tail, the index is taken out of it, see unseal; the
// segment is sealed again with the next batch.
func OpenWAL(dir string, segmentBytes int, log hclog.Logger) (*wal.WAL, error) {
	return Open(func() (*wal.WAL, error) {
		filer := &unsealingFiler{dir: dir, inner: segment.NewFiler(dir, shortReads{fs.New()})}
		w, err := wal.Open(dir, wal.WithSegmentFiler(filer), wal.WithSegmentSize(segmentBytes), wal.WithLogger(log))
		if errors.Is(err, wal.ErrCorrupt) {
			err = errors.Join(ErrCorrupt, err)
		}
		return w, err
	})
}

// unsealingFiler is raft-wal's own filer but for RecoverTail.
type unsealingFiler struct {
	dir   string
	inner types.SegmentFiler
}

var _ types.SegmentFiler = (*unsealingFiler)(nil)

func (f *unsealingFiler) RecoverTail(info types.SegmentInfo) (types.SegmentWriter, error) {
	if err := unseal(filepath.Join(f.dir, segment.FileName(info))); err != nil {
		return nil, err // os.ErrNotExist too: raft-wal handles it
	}
	return f.inner.RecoverTail(info)
}

func (f *unsealingFiler) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	return f.inner.Create(info)
}
func (f *unsealingFiler) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	return f.inner.Open(info)
}
func (f *unsealingFiler) List() (map[uint64]uint64, error)  { return f.inner.List() }
func (f *unsealingFiler) Delete(baseIndex, id uint64) error { return f.inner.Delete(baseIndex, id) }

// Format of a segment file: a header of 32 bytes, then frames with a header of 8 bytes, padded to 8 bytes:
//
//	byte 0 type; bytes 4-7, little endian, the length of the payload; in a commit frame, which has none, the CRC32C of all since the previous one
const (
	walFileHeader  = 32
	walFrameHeader = 8

	walEntry  = 1
	walIndex  = 2
	walCommit = 3
)

// unseal takes the index out of a tail segment by replacing its frame header: with a commit frame for what precedes it if the batch that sealed the segment is
// whole, otherwise with zeros, which end the segment there. It is one aligned write of 8 bytes, so that a crash leaves either the old or the new state. What
// remains of the index behind it is no valid frame, wherever reading enters it: frame types are 1 to 3, offsets of frames multiples of 8.
func unseal(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	batch, index, whole, err := findIndex(&headers{inner: f})
	if err != nil || index == 0 {
		return err
	}
	var header [walFrameHeader]byte
	if whole {
		content := make([]byte, index-batch)
		if _, err := f.ReadAt(content, batch); err != nil {
			return err
		}
		header[0] = walCommit
		binary.LittleEndian.PutUint32(header[4:], crc32.Checksum(content, castagnoli))
	}
	if _, err := f.WriteAt(header[:], index); err != nil {
		return err
	}
	return f.Sync()
}

// findIndex finds the frame of the index, 0 if there is none, the start of the batch that it ends, and whether that batch is whole.
func findIndex(f io.ReaderAt) (batch, index int64, whole bool, err error) {
	for at := int64(walFileHeader); ; {
		var header [walFrameHeader]byte
		if n, err := f.ReadAt(header[:], at); n < walFrameHeader {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return batch, index, false, err
		}
		value := binary.LittleEndian.Uint32(header[4:])
		switch header[0] {
		case walEntry, walIndex:
			if header[0] == walIndex {
				index = at
			}
			at += walFrameHeader + (int64(value)+7)&^7
		case walCommit:
			if index != 0 {
				sum := crc32.New(castagnoli)
				_, err := io.Copy(sum, io.NewSectionReader(f, batch, at-batch))
				return batch, index, sum.Sum32() == value, err
			}
			at += walFrameHeader
			batch = at
		default:
			return batch, index, false, nil
		}
	}
}
