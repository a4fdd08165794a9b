package broker

import (
	"encoding/hex"
	"encoding/json"
	"sync"

	"github.com/triagemq/triagemq/fsm"
)

// beaconBytesMax is what keep-alives carry.
const beaconBytesMax = 4 << 10

// beacon is a node's word on the keep-alives between it and the leader, as JSON: unknown fields are ignored, missing ones are zero, so versions may differ.
type beacon struct {
	WallMillis int64         `json:"wall"`
	Alarms     alarms        `json:"alarms,omitempty"`
	MarkIndex  uint64        `json:"mark,omitempty"`
	MarkHash   string        `json:"hash,omitempty"` // hex
	Leader     *leaderBeacon `json:"leader,omitempty"`
}

// leaderBeacon is what a leader adds: its word on all nodes. Every node so knows every voter's clock before it leads.
type leaderBeacon struct {
	Term     uint64           `json:"term"`
	Alarms   alarms           `json:"alarms,omitempty"`
	Verified uint64           `json:"verified,omitempty"`
	Ahead    map[string]int64 `json:"ahead,omitempty"` // milliseconds by which nodes' wall clocks are ahead of the sender's
}

// Beacon is this node's word on keep-alives; Heard takes another's. Any goroutine.
func (n *Node) Beacon() []byte {
	wall := n.cfg.Clock.Now().UnixMilli()
	b := beacon{WallMillis: wall, Alarms: n.flow.ownAlarms()}
	n.replica.view(func(s *fsm.State) {
		index, hash := s.Marked()
		if b.MarkIndex = index; index > 0 {
			b.MarkHash = hex.EncodeToString(hash[:])
		}
	})
	if d := n.dutiesNow.Load(); d != nil && n.isAttached() {
		b.Leader = d.beacon(wall)
	}
	encoded, err := json.Marshal(b)
	if err != nil {
		panic(err) // plain numbers and strings always encode
	}
	if len(encoded) > beaconBytesMax { // dozens of nodes: clocks can be asked for, alarms cannot
		b.Leader.Ahead = nil
		encoded, _ = json.Marshal(b)
	}
	return encoded
}

// Heard takes a beacon. Any goroutine.
func (n *Node) Heard(node string, encoded []byte) {
	var b beacon
	if err := json.Unmarshal(encoded, &b); err != nil {
		n.logger.Debug("a beacon does not decode", "node", node, "error", err)
		return
	}
	n.clocks.heard(node, b.WallMillis)
	n.flow.heardNode(node, b.Alarms)
	if hash, err := hex.DecodeString(b.MarkHash); err == nil && len(hash) == 16 {
		n.reports.heard(node, b.MarkIndex, [16]byte(hash))
	}
	if b.Leader == nil || !n.isAttached() {
		return
	}
	if leadership, _ := n.log.Leadership(); leadership.Node != node || leadership.Term != b.Leader.Term {
		return // the word of one that leads no more, or is not known to lead
	}
	n.flow.heardLeader(b.Leader.Alarms, b.Leader.Verified)
	for other, ahead := range b.Leader.Ahead {
		if other != n.self && other != node {
			n.clocks.heard(other, b.WallMillis+ahead)
		}
	}
}

// digestReports are the nodes' latest words on their digests.
type digestReports struct {
	mu   sync.Mutex
	last map[string]digestReport
}

type digestReport struct {
	index uint64
	hash  [16]byte
}

func (r *digestReports) heard(node string, index uint64, hash [16]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = map[string]digestReport{}
	}
	r.last[node] = digestReport{index: index, hash: hash}
}

// at lists the reports for the Mark at index from the given nodes.
func (r *digestReports) at(index uint64, nodes []string) []fsm.DigestReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []fsm.DigestReport
	for _, node := range nodes {
		if d, ok := r.last[node]; ok && d.index == index {
			out = append(out, fsm.DigestReport{Node: node, Hash: d.hash})
		}
	}
	return out
}
