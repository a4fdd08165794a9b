package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/hashicorp/memberlist"
)

// gossipMeta is what a server tells of itself by gossip. Encoded, at most 512 bytes (memberlist's bound): a version byte, a flags byte (bit 0: has raft
// state, bit 1: is leaving for good), uvarint boot, uvarint expect, uint64 view, then name, cluster, peer, amqp, http, version, each uint8 length and bytes;
// then, where they are not cut off, uvarint newest feature level that the program can apply and uvarint feature level of its state (the first release writes
// neither: 1). Decoders ignore what follows; whatever is added comes last.
type gossipMeta struct {
	Server   string // the name under which memberlist knows it; not encoded
	Name     string
	Cluster  string
	Peer     string
	AMQP     string
	HTTP     string
	Version  string
	Boot     uint64
	Expect   uint64 // its --bootstrap-expect
	View     uint64 // hash of the member set that it sees
	HasState bool   // it has a raft log or term: it is no founder any more
	Leaving  bool   // it leaves the cluster by its own wish: it is not taken in again

	LevelKnown uint32 // the newest feature level that its program can apply
	Level      uint32 // that of its state
}

const (
	gossipMetaVersion = 1
	flagHasState      = 1
	flagLeaving       = 2
)

var errGossipMeta = errors.New("undecodable gossip of another version")

func (m *gossipMeta) strings() []*string {
	return []*string{&m.Name, &m.Cluster, &m.Peer, &m.AMQP, &m.HTTP, &m.Version}
}

func (m *gossipMeta) encode() ([]byte, error) {
	b := []byte{gossipMetaVersion, 0}
	if m.HasState {
		b[1] |= flagHasState
	}
	if m.Leaving {
		b[1] |= flagLeaving
	}
	b = binary.AppendUvarint(b, m.Boot)
	b = binary.AppendUvarint(b, m.Expect)
	b = binary.BigEndian.AppendUint64(b, m.View)
	for _, s := range m.strings() {
		if len(*s) > 255 {
			return nil, fmt.Errorf("%.40q… is too long for gossip (255 bytes)", *s)
		}
		b = append(append(b, byte(len(*s))), *s...)
	}
	b = binary.AppendUvarint(b, uint64(m.LevelKnown))
	b = binary.AppendUvarint(b, uint64(m.Level))
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("addresses and version take %d bytes in gossip, %d are allowed: use shorter host names", len(b), memberlist.MetaMaxSize)
	}
	return b, nil
}

func decodeGossipMeta(server string, b []byte) (gossipMeta, error) {
	m := gossipMeta{Server: server}
	if len(b) < 2 || b[0] != gossipMetaVersion {
		return m, errGossipMeta
	}
	m.HasState, m.Leaving = b[1]&flagHasState != 0, b[1]&flagLeaving != 0
	b = b[2:]
	for _, v := range []*uint64{&m.Boot, &m.Expect} {
		n := 0
		if *v, n = binary.Uvarint(b); n <= 0 {
			return m, errGossipMeta
		}
		b = b[n:]
	}
	if len(b) < 8 {
		return m, errGossipMeta
	}
	m.View, b = binary.BigEndian.Uint64(b), b[8:]
	for _, s := range m.strings() {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return m, errGossipMeta
		}
		*s, b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	}
	m.LevelKnown, m.Level = 1, 1
	for _, level := range []*uint32{&m.LevelKnown, &m.Level} {
		if len(b) == 0 {
			break
		}
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxUint32 {
			return m, errGossipMeta
		}
		*level, b = uint32(v), b[n:]
	}
	return m, nil
}
