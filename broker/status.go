package broker

import (
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
)

// statusBound is how long a member may take to answer before it counts as unreachable.
const statusBound = 500 * time.Millisecond

// ClusterStatus is /api/cluster: ids are names as people gave them.
type ClusterStatus struct {
	Leader string       `json:"leader"` // "" when there is none
	Term   uint64       `json:"term"`
	Nodes  []NodeStatus `json:"nodes"` // by id
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
	FeatureLevel uint32       `json:"feature_level,omitempty"`
	Version      string       `json:"version,omitempty"`
}

// DigestStatus is a replica's digest at the last Mark that it applied.
type DigestStatus struct {
	Index uint64 `json:"index"`
	Hash  string `json:"hash"`
}

// Answer serves another node's Call. Any goroutine.
func (n *Node) Answer(_ context.Context, _ string, request []byte) ([]byte, error) {
	if !n.isAttached() {
		return nil, errNotRunning
	}
	switch string(request) {
	case askStatus:
		return json.Marshal(n.status())
	case askDetails:
		return json.Marshal(n.details())
	case askBeacon:
		return n.Beacon(), nil
	}
	return nil, fmt.Errorf("broker: unknown question %.20q", request)
}

// status is this node's word about itself.
func (n *Node) status() NodeStatus {
	s := NodeStatus{
		ID: n.cfg.Name, State: "candidate", AMQP: n.cfg.AMQPAddr, HTTP: n.cfg.HTTPAddr, Peer: n.cfg.PeerAddr,
		AppliedIndex: n.applied.get(), Version: n.cfg.Version,
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

// ClusterStatus asks all members at once what they say of themselves; one that does not answer within 500 ms is unreachable. Any goroutine.
func (n *Node) ClusterStatus(ctx context.Context) ClusterStatus {
	if !n.isAttached() {
		return ClusterStatus{Nodes: []NodeStatus{}}
	}
	leadership, _ := n.log.Leadership()
	members := n.log.Members()
	out := ClusterStatus{Term: leadership.Term, Nodes: make([]NodeStatus, len(members))}
	ctx, cancel := context.WithTimeout(ctx, statusBound)
	defer cancel()
	var calls sync.WaitGroup
	for i, m := range members {
		if m.Node == leadership.Node {
			out.Leader = m.Name
		}
		calls.Go(func() { out.Nodes[i] = n.askStatus(ctx, m) })
	}
	calls.Wait()
	slices.SortFunc(out.Nodes, func(a, b NodeStatus) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// askStatus is one member's word, completed by what this node knows of it.
func (n *Node) askStatus(ctx context.Context, m Member) NodeStatus {
	s := NodeStatus{State: "unreachable"}
	if m.Node == n.self {
		s = n.status()
	} else if answer, err := n.log.Call(ctx, m.Node, []byte(askStatus)); err == nil {
		if json.Unmarshal(answer, &s) != nil {
			s = NodeStatus{State: "unreachable"}
		}
	}
	s.ID, s.Voter = m.Name, m.Voter
	s.AMQP, s.HTTP, s.Peer = cmp.Or(m.AMQP, s.AMQP), cmp.Or(m.HTTP, s.HTTP), cmp.Or(m.Peer, s.Peer)
	return s
}
