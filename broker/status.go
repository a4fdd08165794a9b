package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

// What nodes ask one another with Call.
const (
	askStatus = "status" // NodeStatus as JSON
	askBeacon = "beacon" // a Beacon
	askLevel  = "level"  // levelAnswer as JSON
	tellHeard = "heard " // nothing; the rest is a Beacon that must not wait for the next keep-alive
)

// statusBound is how long a member may take to answer before it counts as unreachable.
const statusBound = 500 * time.Millisecond

// ClusterStatus is /api/cluster: ids are names as people gave them.
type ClusterStatus struct {
	Leader string       `json:"leader"` // "" when there is none
	Term   uint64       `json:"term"`
	Nodes  []NodeStatus `json:"nodes"` // by id

	Asked    string        `json:"asked"` // the node that answers
	Quorum   QuorumStatus  `json:"quorum"`
	Digests  DigestVerdict `json:"digests"`
	Warnings []Warning     `json:"warnings"` // empty where the cluster is healthy

	FeatureLevel    uint32 `json:"feature_level"`               // of the state, as far as the node that answers has applied
	FeatureLevelMax uint32 `json:"feature_level_max,omitempty"` // that operators allow (fsm.LevelHoldParameter); 0 where they hold nothing back
}

// NodeStatus is one node of ClusterStatus.
type NodeStatus struct {
	ID           string       `json:"id"`
	State        string       `json:"state"` // leader, follower, candidate, unreachable
	Voter        bool         `json:"voter"`
	AMQP         string       `json:"amqp"`
	HTTP         string       `json:"http"`
	Peer         string       `json:"peer"`
	AppliedIndex uint64       `json:"applied_index"`
	Digest       DigestStatus `json:"digest"`
	FeatureLevel uint32       `json:"feature_level,omitempty"` // of its state
	Supported    uint32       `json:"feature_level_supported"` // the newest that its program can apply; 0 where nobody knows
	Version      string       `json:"version,omitempty"`

	Server            string   `json:"server"`                    // raft server id: the name and what was drawn with the data folder
	Boot              uint64   `json:"boot"`                      // of its origin; 0 unknown
	Behind            uint64   `json:"behind"`                    // entries that the leader has applied and it has not; 0 where one of the two does not answer
	Alarms            []string `json:"alarms"`                    // memory, disk: why it has publishers held everywhere
	ClockAheadMillis  int64    `json:"clock_ahead_ms"`            // of the median of the nodes that answer, give or take the time of a question
	LastContactMillis *int64   `json:"last_contact_ms,omitempty"` // since the leader had a sign of life of it; not for the leader, and not without one
}

// nodeReport is what a node answers to askStatus: its status, and what the asker works out ClusterStatus from.
type nodeReport struct {
	NodeStatus
	WallMillis  int64            `json:"wall_ms,omitempty"`
	HeardMillis map[string]int64 `json:"heard_ms,omitempty"` // where it leads: milliseconds since it heard of servers
}

// DigestStatus is a replica's digest at the last Mark that it applied.
type DigestStatus struct {
	Index uint64 `json:"index"`
	Hash  string `json:"hash"`
}

// Answer serves another node's Call. Any goroutine.
func (n *Node) Answer(_ context.Context, from string, request []byte) ([]byte, error) {
	if !n.isAttached() {
		return nil, errNotRunning
	}
	if b, ok := bytes.CutPrefix(request, []byte(tellHeard)); ok {
		n.Heard(from, b)
		return nil, nil
	}
	switch string(request) {
	case askStatus:
		return json.Marshal(n.report())
	case askDetails:
		return json.Marshal(n.details())
	case askBeacon:
		return n.Beacon(), nil
	case askLevel:
		return n.answerLevel()
	}
	return nil, fmt.Errorf("broker: unknown question %.20q", request)
}

// status is this node's word about itself.
func (n *Node) status() NodeStatus {
	s := NodeStatus{
		ID: n.cfg.Name, State: "candidate", AMQP: n.cfg.AMQPAddr, HTTP: n.cfg.HTTPAddr, Peer: n.cfg.PeerAddr,
		Server: n.self, Alarms: n.flow.ownAlarms().names(), AppliedIndex: n.applied.get(), Version: n.cfg.Version, Supported: fsm.FeatureLevelMax,
	}
	switch leadership, _ := n.log.Leadership(); {
	case leadership.Self:
		s.State = "leader"
	case leadership.Node != "":
		s.State = "follower"
	}
	n.replica.view(func(st *fsm.State) {
		index, hash := st.Marked()
		s.Digest = DigestStatus{Index: index, Hash: hex.EncodeToString(hash[:])}
		s.FeatureLevel = st.FeatureLevel()
	})
	return s
}

// report is this node's answer to others.
func (n *Node) report() nodeReport {
	r := nodeReport{NodeStatus: n.status(), WallMillis: n.cfg.Clock.Now().UnixMilli()}
	if r.State != "leader" {
		return r
	}
	r.HeardMillis = map[string]int64{}
	for _, m := range n.log.Members() {
		if at := n.log.LastHeard(m.Node); !at.IsZero() {
			r.HeardMillis[m.Node] = time.Since(at).Milliseconds()
		}
	}
	return r
}

// ClusterStatus asks all members at once what they say of themselves; one that does not answer within 500 ms is unreachable. Any goroutine.
func (n *Node) ClusterStatus(ctx context.Context) ClusterStatus {
	out := ClusterStatus{Asked: n.cfg.Name, Nodes: []NodeStatus{}}
	if !n.isAttached() {
		out.judge()
		return out
	}
	leadership, _ := n.log.Leadership()
	members := n.log.Members()
	out.Term = leadership.Term
	reports := make([]nodeReport, len(members))
	ctx, cancel := context.WithTimeout(ctx, statusBound)
	defer cancel()
	var calls sync.WaitGroup
	for i, m := range members {
		if m.Node == leadership.Node {
			out.Leader = m.Name
		}
		calls.Go(func() { reports[i] = n.askReport(ctx, m) })
	}
	calls.Wait()
	n.replica.view(func(s *fsm.State) {
		out.FeatureLevel = s.FeatureLevel()
		if allowed := s.LevelAllowed(); allowed != fsm.LevelUnheld {
			out.FeatureLevelMax = allowed
		}
	})
	out.compare(reports, leadership.Node)
	slices.SortFunc(out.Nodes, func(a, b NodeStatus) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Server, b.Server)) })
	out.judge()
	return out
}

// askReport is one member's word, completed by what this node knows of it.
func (n *Node) askReport(ctx context.Context, m Member) nodeReport {
	r := nodeReport{NodeStatus: NodeStatus{State: "unreachable"}}
	if m.Node == n.self {
		r = n.report()
	} else if answer, err := n.log.Call(ctx, m.Node, []byte(askStatus)); err == nil {
		if json.Unmarshal(answer, &r) != nil {
			r = nodeReport{NodeStatus: NodeStatus{State: "unreachable"}}
		}
	}
	r.ID, r.Server, r.Voter, r.Boot = m.Name, m.Node, m.Voter, m.Boot
	r.Version, r.Supported = cmp.Or(r.Version, m.Version), cmp.Or(r.Supported, m.FeatureLevel)
	r.AMQP, r.HTTP, r.Peer = cmp.Or(m.AMQP, r.AMQP), cmp.Or(m.HTTP, r.HTTP), cmp.Or(m.Peer, r.Peer)
	if r.Alarms == nil {
		r.Alarms = []string{}
	}
	return r
}

// compare takes the members' reports: how far each is behind the leader, when that last heard of it, and how its clock goes.
func (c *ClusterStatus) compare(reports []nodeReport, leader string) {
	var led nodeReport
	var walls []int64
	for _, r := range reports {
		if r.Server == leader {
			led = r
		}
		if r.WallMillis != 0 {
			walls = append(walls, r.WallMillis)
		}
	}
	for _, r := range reports {
		s := r.NodeStatus
		if s.State != "unreachable" && led.AppliedIndex > s.AppliedIndex {
			s.Behind = led.AppliedIndex - s.AppliedIndex
		}
		if r.WallMillis != 0 {
			s.ClockAheadMillis = r.WallMillis - median(walls)
		}
		if millis, heard := led.HeardMillis[s.Server]; heard && s.Server != leader {
			s.LastContactMillis = &millis
		}
		c.Nodes = append(c.Nodes, s)
	}
}
