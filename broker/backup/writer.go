package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// Writer writes a backup: the header at once, what is written to it in sections, the trailer at Close. After an error every call fails.
type Writer struct {
	w       io.Writer
	sum     hash.Hash
	section []byte // length, then what is not yet out
	total   uint64
	err     error
}

// NewWriter begins a backup.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	encoded, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(encoded) > headerBytesMax {
		return nil, fmt.Errorf("backup: a header of %d bytes", len(encoded))
	}
	b := append([]byte(magic), version)
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(encoded))), encoded...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	x := &Writer{w: w, sum: sha256.New(), section: make([]byte, sumBytes, sumBytes+sectionBytesMax+sumBytes)}
	x.put(b)
	return x, x.err
}

// Write implements io.Writer.
func (x *Writer) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 && x.err == nil {
		n := min(len(b), sumBytes+sectionBytesMax-len(x.section))
		x.section = append(x.section, b[:n]...)
		b, written = b[n:], written+n
		if len(x.section) == sumBytes+sectionBytesMax {
			x.flush()
		}
	}
	return written, x.err
}

// Close writes the trailer, without which the file is no backup. It does not close what it writes to.
func (x *Writer) Close() error {
	x.flush()
	x.put(binary.BigEndian.AppendUint64(make([]byte, sumBytes), x.total))
	if x.err == nil {
		_, x.err = x.w.Write(x.sum.Sum(nil))
	}
	return x.err
}

// flush writes the section, if there is anything in it.
func (x *Writer) flush() {
	size := len(x.section) - sumBytes
	if size == 0 {
		return
	}
	binary.BigEndian.PutUint32(x.section, uint32(size))
	x.put(binary.BigEndian.AppendUint32(x.section, crc32.Checksum(x.section, castagnoli)))
	x.section, x.total = x.section[:sumBytes], x.total+uint64(size)
}

func (x *Writer) put(b []byte) {
	if x.err == nil {
		x.sum.Write(b)
		_, x.err = x.w.Write(b)
	}
}
