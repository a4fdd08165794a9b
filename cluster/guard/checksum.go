package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// ErrCorrupt reports content that does not match its checksum, or that is missing where it must be.
var ErrCorrupt = errors.New("guard: corrupt")

// The checksum of an entry travels in raft.Log.Extensions, so that it is stored, replicated and applied with it:
//
//	byte 0     sealVersion
//	bytes 1-4  CRC32C, big endian, over index (8 bytes, big endian), term (8), type (1), data
//
// AppendedAt is not covered: it is operational information that nothing may rely on.
const (
	sealVersion = 1
	sealSize    = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal gives entries that have none their checksum and checks those that have one.
//
// Log stores return what the disk returns: raft-wal hands out a flipped bit of a sealed segment and raft-boltdb any flipped bit, both without a word, and a
// replica would apply it. The leader seals an entry when it stores it first; from then on every store, read, transfer and apply checks.
func seal(logs []*raft.Log) error {
	room := make([]byte, 0, len(logs)*sealSize)
	for _, l := range logs {
		if len(l.Extensions) > 0 {
			if err := VerifyEntry(l); err != nil {
				return err
			}
			continue
		}
		start := len(room)
		room = append(room, sealVersion)
		room = binary.BigEndian.AppendUint32(room, checksum(l))
		l.Extensions = room[start:len(room):len(room)]
	}
	return nil
}

// VerifyEntry checks an entry against the checksum that it carries. An entry without one is corrupt: every entry gets it when it is first stored. Call it
// before applying. Errors wrap ErrCorrupt.
func VerifyEntry(l *raft.Log) error {
	if len(l.Extensions) != sealSize || l.Extensions[0] != sealVersion {
		return fmt.Errorf("%w: entry %d (term %d) carries no checksum", ErrCorrupt, l.Index, l.Term)
	}
	if binary.BigEndian.Uint32(l.Extensions[1:]) != checksum(l) {
		return fmt.Errorf("%w: entry %d (term %d) does not match its checksum", ErrCorrupt, l.Index, l.Term)
	}
	return nil
}

func checksum(l *raft.Log) uint32 {
	var head [17]byte
	binary.BigEndian.PutUint64(head[0:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, l.Data)
}
