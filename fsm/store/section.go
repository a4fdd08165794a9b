package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A snapshot is a stream of bytes cut into sections:
//
//	section = payload length (uint32, 1..sectionBytesMax) | CRC32C of length and payload (uint32) | payload
//
// All sections but the last are full. The stream says itself where it ends, on the end of a section.
const (
	sectionBytesMax    = 64 << 10
	sectionHeaderBytes = 8
)

// ErrDamaged is what every error of Restore about the input wraps; errors of the reader are passed on as they are.
var ErrDamaged = errors.New("store: snapshot is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// sectionCRC covers length and payload, which lie apart by the checksum between them.
func sectionCRC(section []byte) uint32 {
	crc := crc32.Update(0, castagnoli, section[:4])
	return crc32.Update(crc, castagnoli, section[sectionHeaderBytes:])
}

// sectionWriter cuts a stream into sections. The first error stays.
type sectionWriter struct {
	w       io.Writer
	section []byte // header and payload so far
	written int64
	err     error
}

func newSectionWriter(w io.Writer) *sectionWriter {
	return &sectionWriter{w: w, section: make([]byte, sectionHeaderBytes, sectionHeaderBytes+sectionBytesMax)}
}

func (s *sectionWriter) write(b []byte) {
	for len(b) > 0 && s.err == nil {
		if len(s.section) == cap(s.section) {
			s.flush()
		}
		n := min(len(b), cap(s.section)-len(s.section))
		s.section = append(s.section, b[:n]...)
		b = b[n:]
	}
}

// flush writes out a section that is not empty.
func (s *sectionWriter) flush() {
	if len(s.section) == sectionHeaderBytes || s.err != nil {
		return
	}
	binary.BigEndian.PutUint32(s.section, uint32(len(s.section)-sectionHeaderBytes))
	binary.BigEndian.PutUint32(s.section[4:], sectionCRC(s.section))
	n, err := s.w.Write(s.section)
	s.written += int64(n)
	if err == nil && n < len(s.section) {
		err = io.ErrShortWrite
	}
	s.err = err
	s.section = s.section[:sectionHeaderBytes]
}

// sectionReader is the way back. It reads no byte beyond the last section that is asked for. The first error stays, and from then on
// every read returns zeros.
type sectionReader struct {
	r       io.Reader
	section []byte // room for a whole section, header included
	payload []byte // what is not read yet
	full    bool   // the present section is: another may follow
	err     error
}

func newSectionReader(r io.Reader) *sectionReader {
	return &sectionReader{r: r, section: make([]byte, sectionHeaderBytes+sectionBytesMax), full: true}
}

func (s *sectionReader) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.payload = nil
}

// next reads another section when the present one is used up.
func (s *sectionReader) next() bool {
	if s.err != nil {
		return false
	}
	if !s.full {
		s.fail(damaged("it ends within a record"))
		return false
	}
	header := s.section[:sectionHeaderBytes]
	if !s.readFull(header) {
		return false
	}
	size := binary.BigEndian.Uint32(header)
	if size == 0 || size > sectionBytesMax {
		s.fail(damaged("a section of %d bytes", size))
		return false
	}
	section := s.section[:sectionHeaderBytes+size]
	if !s.readFull(section[sectionHeaderBytes:]) {
		return false
	}
	if sectionCRC(section) != binary.BigEndian.Uint32(section[4:]) {
		s.fail(damaged("a section's checksum does not match"))
		return false
	}
	s.payload = section[sectionHeaderBytes:]
	s.full = size == sectionBytesMax
	return true
}

func (s *sectionReader) readFull(b []byte) bool {
	_, err := io.ReadFull(s.r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = damaged("it is cut short")
	}
	if err != nil {
		s.fail(err)
	}
	return err == nil
}

func (s *sectionReader) byte() byte {
	if len(s.payload) == 0 && !s.next() {
		return 0
	}
	b := s.payload[0]
	s.payload = s.payload[1:]
	return b
}

// uvarint reads the one shortest encoding of a number; two encodings of one content would break byte equality.
func (s *sectionReader) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b := s.byte()
		if b == 0 && shift > 0 || shift == 63 && b > 1 {
			s.fail(damaged("a number is not encoded as it should be"))
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
	return 0
}

// uvarint32 reads a number of at most 32 bits.
func (s *sectionReader) uvarint32() uint32 {
	v := s.uvarint()
	if v > 1<<32-1 {
		s.fail(damaged("the number %d is beyond 32 bits", v))
		return 0
	}
	return uint32(v)
}

// appendTo appends n bytes to dst. Memory grows with what really arrives, not with what was announced.
func (s *sectionReader) appendTo(dst []byte, n int) []byte {
	for n > 0 {
		if len(s.payload) == 0 && !s.next() {
			return dst
		}
		k := min(n, len(s.payload))
		dst = append(dst, s.payload[:k]...)
		s.payload = s.payload[k:]
		n -= k
	}
	return dst
}

// end checks that the stream ends where its last section does. A last section that is full looks like any other, and that is fine.
func (s *sectionReader) end() error {
	if s.err == nil && len(s.payload) > 0 {
		s.fail(damaged("%d bytes follow the end", len(s.payload)))
	}
	return s.err
}
