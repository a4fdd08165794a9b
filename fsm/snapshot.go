package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/triagemq/triagemq/fsm/store"
)

// A snapshot is
//
//	"TMQO" | version u8 | section … | empty section | the store's own encoding
//
// where a section is length u32 | bytes | CRC32C u32, big-endian, and the sections together hold the objects (encode.go). Both halves are canonical: the
// same bytes on every replica at the same index.
const (
	snapshotMagic    = "TMQO"
	snapshotVersion  = 1
	sectionBytesMax  = 1 << 20
	sectionHeadBytes = 4
	sectionTailBytes = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrSnapshot is what every fault of a snapshot wraps.
var ErrSnapshot = errors.New("fsm: damaged snapshot")

// Snapshot is a frozen state; another goroutine may write it out.
type Snapshot struct {
	index   uint64
	objects []byte
	store   *store.Frozen
}

// Freeze captures the state for a snapshot in time that does not grow with the bodies. At most one Snapshot is open.
func (s *State) Freeze() *Snapshot {
	return &Snapshot{index: s.applied, objects: s.encodeObjects(nil), store: s.store.Freeze()}
}

// Thaw ends a Snapshot; call it where Apply is called.
func (s *State) Thaw(sn *Snapshot) { s.store.Thaw(sn.store) }

// Index is the log index it stands for.
func (sn *Snapshot) Index() uint64 { return sn.index }

// WriteTo writes the canonical encoding: the same bytes on every replica at the same index.
func (sn *Snapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(append([]byte(snapshotMagic), snapshotVersion))
	written := int64(n)
	for rest, last := sn.objects, false; err == nil && !last; {
		size := min(len(rest), sectionBytesMax)
		last = size == 0
		n, err = writeSection(w, rest[:size])
		written += int64(n)
		rest = rest[size:]
	}
	if err != nil {
		return written, err
	}
	m, err := sn.store.WriteTo(w)
	return written + m, err
}

func writeSection(w io.Writer, b []byte) (int, error) {
	section := make([]byte, 0, sectionHeadBytes+len(b)+sectionTailBytes)
	section = binary.BigEndian.AppendUint32(section, uint32(len(b)))
	section = append(section, b...)
	section = binary.BigEndian.AppendUint32(section, crc32.Checksum(section, castagnoli))
	return w.Write(section)
}

// Restore reads a snapshot into a new State; o.Sink sees nothing of it. Damage is an error, never a panic; so is a feature level that this program does not
// know (*LevelError).
func Restore(o Options, r io.Reader) (*State, error) {
	head := make([]byte, len(snapshotMagic)+1)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("%w: head: %w", ErrSnapshot, err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic || head[len(snapshotMagic)] != snapshotVersion {
		return nil, fmt.Errorf("%w: not a snapshot of a known version: %q", ErrSnapshot, head)
	}
	objects, err := readSections(r)
	if err != nil {
		return nil, err
	}
	if level, err := objectsLevel(objects); err != nil {
		return nil, err
	} else if level > FeatureLevelMax {
		return nil, &LevelError{Level: level}
	}
	s := newEmpty(o)
	if s.store, err = store.Restore(s.options.Chunks, r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if err := s.finishRestore(objects); err != nil {
		s.Discard()
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return s, nil
}

// SnapshotLevel reads the feature level out of a snapshot's first bytes, of which 64 are enough. It checks nothing else.
func SnapshotLevel(head []byte) (level uint32, err error) {
	const objectsAt = len(snapshotMagic) + 1 + sectionHeadBytes
	if len(head) < objectsAt || string(head[:len(snapshotMagic)]) != snapshotMagic || head[len(snapshotMagic)] != snapshotVersion {
		return 0, fmt.Errorf("%w: not a snapshot of a known version", ErrSnapshot)
	}
	return objectsLevel(head[objectsAt:])
}

// objectsLevel reads the feature level out of the objects' first bytes: the fields in front of it never change.
func objectsLevel(objects []byte) (level uint32, err error) {
	r := snapshotReader{b: objects}
	r.uint(math.MaxUint64) // the index
	r.kind(objectHead)
	r.int() // the time
	level = uint32(r.uint(math.MaxUint32))
	if r.err != nil {
		return 0, fmt.Errorf("%w: %w", ErrSnapshot, r.err)
	}
	return level, nil
}

func (s *State) finishRestore(objects []byte) error {
	if err := s.restoreObjects(objects); err != nil {
		return err
	}
	if s.options.Check || invariants {
		return s.Check()
	}
	return nil
}

// readSections reads up to the empty section and returns what they hold. Memory grows with what was really read.
func readSections(r io.Reader) (b []byte, err error) {
	section := make([]byte, sectionHeadBytes+sectionTailBytes)
	for {
		if _, err := io.ReadFull(r, section[:sectionHeadBytes]); err != nil {
			return nil, fmt.Errorf("%w: section: %w", ErrSnapshot, err)
		}
		size := binary.BigEndian.Uint32(section)
		if size > sectionBytesMax {
			return nil, fmt.Errorf("%w: a section of %d bytes", ErrSnapshot, size)
		}
		end := sectionHeadBytes + int(size)
		section = append(section[:sectionHeadBytes], make([]byte, int(size)+sectionTailBytes)...)
		if _, err := io.ReadFull(r, section[sectionHeadBytes:end+sectionTailBytes]); err != nil {
			return nil, fmt.Errorf("%w: section: %w", ErrSnapshot, err)
		}
		if crc32.Checksum(section[:end], castagnoli) != binary.BigEndian.Uint32(section[end:]) {
			return nil, fmt.Errorf("%w: checksum of a section", ErrSnapshot)
		}
		if size == 0 {
			return b, nil
		}
		b = append(b, section[sectionHeadBytes:end]...)
	}
}
