package guard

import (
	"encoding/binary"
	"io"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft-wal/types"
)

// shortReads is a file system for raft-wal that reads no more of a segment than an entry needs. Whoever asks raft-wal for an entry has it read 64 KiB from where
// the entry begins, whatever its length: most of what a restart does with a log of small entries is to copy 64 KiB for each.
type shortReads struct{ types.VFS }

// What raft-wal asks for at the beginning of a frame, and what is read instead if the frame fits in.
const (
	walReadSize  = 64 << 10
	walShortRead = 4 << 10
)

func (v shortReads) OpenReader(dir, name string) (types.ReadableFile, error) {
	f, err := v.VFS.OpenReader(dir, name)
	if err != nil {
		return nil, err
	}
	return shortReader{f}, nil
}

func (v shortReads) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := v.VFS.OpenWriter(dir, name)
	if err != nil {
		return nil, err
	}
	w := &shortWriter{WritableFile: f}
	w.ahead.Store(&headers{inner: f})
	return w, nil
}

func (v shortReads) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := v.VFS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	return &shortWriter{WritableFile: f}, nil
}

type shortReader struct{ types.ReadableFile }

func (f shortReader) ReadAt(p []byte, at int64) (int, error) { return readFrame(f.ReadableFile, p, at) }

// shortWriter reads ahead until it is written to: raft-wal walks through a tail when it opens it, on one goroutine, and nobody else has the file yet.
type shortWriter struct {
	types.WritableFile
	ahead atomic.Pointer[headers] // nil: no more
}

func (f *shortWriter) ReadAt(p []byte, at int64) (int, error) {
	if h := f.ahead.Load(); h != nil && len(p) == walFrameHeader {
		return h.ReadAt(p, at)
	}
	return readFrame(f.WritableFile, p, at)
}

func (f *shortWriter) WriteAt(p []byte, at int64) (int, error) {
	f.ahead.Store(nil)
	return f.WritableFile.WriteAt(p, at)
}

// headers reads the headers of frames, one after the other, from a file that does not change meanwhile: those of small entries many at a time. Whatever is longer
// than a header it passes on. One goroutine at a time.
type headers struct {
	inner io.ReaderAt
	buf   []byte
	at    int64 // of buf in the file
}

const headersAhead = 32 << 10

func (h *headers) ReadAt(p []byte, at int64) (int, error) {
	if len(p) != walFrameHeader {
		return h.inner.ReadAt(p, at)
	}
	if at < h.at || at+walFrameHeader > h.at+int64(len(h.buf)) {
		buf := slices.Grow(h.buf[:0], headersAhead)[:headersAhead]
		n, err := h.inner.ReadAt(buf, at)
		h.buf, h.at = buf[:n], at
		if n < walFrameHeader {
			return copy(p, h.buf), err
		}
	}
	return copy(p, h.buf[at-h.at:]), nil
}

// readFrame is ReadAt, but where p has the size with which raft-wal reads frames, it may end behind a short entry as if the file ended there, which raft-wal
// takes as it takes the end of a file. The payload of an entry of just that size is read in the same way and must come whole: the header of its frame
// lies before it. Where the eight bytes before could be one, everything is read.
func readFrame(f io.ReaderAt, p []byte, at int64) (int, error) {
	if len(p) != walReadSize || at < walFrameHeader {
		return f.ReadAt(p, at)
	}
	n, err := f.ReadAt(p[:walFrameHeader+walShortRead], at-walFrameHeader)
	if n < walFrameHeader+walShortRead || err != nil || p[0] == walEntry && frameSize(p) == walFrameHeader+walReadSize {
		return f.ReadAt(p, at)
	}
	n = copy(p, p[walFrameHeader:n])
	end := walReadSize
	if p[0] == walEntry && frameSize(p) < walReadSize {
		end = max(n, int(frameSize(p)))
	}
	if end > n {
		var m int
		m, err = f.ReadAt(p[n:end], at+int64(n))
		n += m
	}
	if err == nil && n < walReadSize {
		err = io.EOF
	}
	return n, err
}

// frameSize is the length of the frame that a header begins, without padding.
func frameSize(header []byte) int64 {
	return walFrameHeader + int64(binary.LittleEndian.Uint32(header[4:]))
}
