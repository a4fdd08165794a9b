package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// Reader reads what a backup's sections hold. It returns io.EOF only after everything, the trailer included, was found whole.
type Reader struct {
	Header Header

	r       io.Reader
	sum     hash.Hash
	buffer  []byte
	section []byte // of it not yet read, within buffer
	total   uint64
	err     error
}

// NewReader reads the header. Errors wrap ErrDamaged or ErrVersion, or are those of r.
func NewReader(r io.Reader) (*Reader, error) {
	x := &Reader{r: r, sum: sha256.New()}
	head := make([]byte, len(magic)+1+4)
	if err := x.take(head); err != nil {
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, damaged("it begins with %q", head[:len(magic)])
	}
	if head[len(magic)] != version {
		return nil, fmt.Errorf("%w: %d", ErrVersion, head[len(magic)])
	}
	size := binary.BigEndian.Uint32(head[len(magic)+1:])
	if size > headerBytesMax {
		return nil, damaged("a header of %d bytes", size)
	}
	b := make([]byte, size+sumBytes)
	if err := x.take(b); err != nil {
		return nil, err
	}
	if crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, b[:size]) != binary.BigEndian.Uint32(b[size:]) {
		return nil, damaged("the header does not match its checksum")
	}
	if err := json.Unmarshal(b[:size], &x.Header); err != nil {
		return nil, damaged("the header: %w", err)
	}
	return x, nil
}

// Read implements io.Reader.
func (x *Reader) Read(b []byte) (int, error) {
	if len(x.section) == 0 && x.err == nil {
		x.err = x.next()
	}
	if len(x.section) == 0 {
		return 0, x.err
	}
	n := copy(b, x.section)
	x.section = x.section[n:]
	return n, nil
}

// next reads a section; io.EOF after the trailer.
func (x *Reader) next() error {
	var head [sumBytes]byte
	if err := x.take(head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	switch {
	case size == 0:
		return x.end()
	case size > sectionBytesMax:
		return damaged("a section of %d bytes", size)
	}
	if x.buffer == nil {
		x.buffer = make([]byte, sectionBytesMax+sumBytes)
	}
	b := x.buffer[:size+sumBytes]
	if err := x.take(b); err != nil {
		return err
	}
	if crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, b[:size]) != binary.BigEndian.Uint32(b[size:]) {
		return damaged("a section does not match its checksum")
	}
	x.section, x.total = b[:size], x.total+uint64(size)
	return nil
}

func (x *Reader) end() error {
	var total [8]byte
	if err := x.take(total[:]); err != nil {
		return err
	}
	want := x.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if err := x.take(got); err != nil {
		return err
	}
	switch {
	case binary.BigEndian.Uint64(total[:]) != x.total:
		return damaged("it has %d bytes of state and says %d", x.total, binary.BigEndian.Uint64(total[:]))
	case !bytes.Equal(got, want):
		return damaged("it does not match its SHA-256")
	}
	if n, err := io.ReadFull(x.r, got[:1]); n > 0 {
		return damaged("something follows its end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return io.EOF
}

// take fills b and sums it up.
func (x *Reader) take(b []byte) error {
	_, err := io.ReadFull(x.r, b)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it is cut short")
	case err != nil:
		return err
	}
	x.sum.Write(b)
	return nil
}

// Verify reads a backup to its end and returns its header and the bytes of state in it.
func Verify(r io.Reader) (h Header, stateBytes int64, err error) {
	x, err := NewReader(r)
	if err != nil {
		return h, 0, err
	}
	stateBytes, err = io.Copy(io.Discard, x)
	return x.Header, stateBytes, err
}
