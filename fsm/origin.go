package fsm

import (
	"maps"
	"slices"

	"github.com/triagemq/triagemq/fsm/store"
)

// An origin's record, one per node:
//
//	           OriginOpen(boot > highest)
//	(none) ────────────────────────────────► open ◄──┐
//	                                         │  │    │ OriginOpen(boot > highest): the older boot's sessions are closed first
//	                  OriginDown(this boot)  │  └────┘
//	                                         ▼
//	                                       closed ──► open, by OriginOpen(boot > highest) alone
//
// The closed record stays for ever: a delayed OriginOpen or batch of an old boot must find it.
type origin struct {
	cold
	node     string
	boot     uint64
	open     bool
	last     uint64 // number of the last batch applied
	sessions map[uint32]*session
	churn    Churn // since this replica has its state
}

// OriginInfo is the record of one node's highest boot.
type OriginInfo struct {
	Origin
	Open bool
	Last uint64 // number of the last batch applied
}

// OriginChurn is what clients of one node began and ended since this replica has its state.
type OriginChurn struct {
	Node string
	Churn
}

// Churn counts beginnings and ends.
type Churn struct {
	ConnectionsCreated, ConnectionsClosed        uint64
	ChannelsCreated, ChannelsClosed              uint64
	QueuesDeclared, QueuesCreated, QueuesDeleted uint64
}

// Churn lists the churn of all nodes, ordered by node. Queues that end without a client's doing count for no node.
func (s *State) Churn() []OriginChurn {
	churn := make([]OriginChurn, 0, len(s.origins))
	for _, node := range slices.Sorted(maps.Keys(s.origins)) {
		churn = append(churn, OriginChurn{node, s.origins[node].churn})
	}
	return churn
}

// Origins lists all, ordered by node.
func (s *State) Origins() []OriginInfo {
	infos := make([]OriginInfo, 0, len(s.origins))
	for _, node := range slices.Sorted(maps.Keys(s.origins)) {
		infos = append(infos, s.origins[node].info())
	}
	return infos
}

// Origin returns one node's record.
func (s *State) Origin(node string) (OriginInfo, bool) {
	o := s.origins[node]
	if o == nil {
		return OriginInfo{}, false
	}
	return o.info(), true
}

func (o *origin) info() OriginInfo {
	return OriginInfo{Origin: o.name(), Open: o.open, Last: o.last}
}

func (o *origin) name() Origin { return Origin{Node: o.node, Boot: o.boot} }

func (s *State) openOrigin(name Origin) {
	o := s.origins[name.Node]
	if o == nil {
		o = &origin{node: name.Node}
		s.origins[name.Node] = o
	}
	if name.Boot <= o.boot {
		return
	}
	if o.open {
		s.closeOrigin(o)
	}
	o.boot, o.open, o.last = name.Boot, true, 0
	o.sessions = make(map[uint32]*session)
	s.touch(o)
	s.findMine()
	if s.mine == o {
		s.emitNode(Effect{Kind: OriginOpened})
	}
}

func (s *State) downOrigin(name Origin) {
	if o := s.origins[name.Node]; o != nil && o.open && o.boot == name.Boot {
		s.closeOrigin(o)
	}
}

// closeOrigin ends the sessions of a boot whose node was lost: that is nobody's failure, so nothing is counted.
func (s *State) closeOrigin(o *origin) {
	wasMine := s.mine == o
	// The local node is told once, not per session: what its sessions held is going on elsewhere already.
	s.mine = nil
	ending := make([]*session, 0, len(o.sessions))
	for _, conn := range slices.Sorted(maps.Keys(o.sessions)) {
		ending = append(ending, o.sessions[conn])
	}
	s.endSessions(ending, store.ReturnNode)
	o.open = false
	s.touch(o)
	s.findMine()
	if wasMine {
		s.emitNode(Effect{Kind: OriginClosed})
	}
}

// applyBatch applies an origin batch if and only if it is the next one.
func (s *State) applyBatch(it *item) {
	o := s.origins[it.Origin.Node]
	if o == nil || !o.open || o.boot != it.Origin.Boot || it.seq <= o.last {
		return
	}
	if it.seq != o.last+1 {
		if s.mine == o {
			s.emitNode(Effect{Kind: BatchGap, Seq: o.last + 1})
		}
		return
	}
	o.last = it.seq
	s.touch(o)
	for rest := it.commands; len(rest) > 0; {
		kind, ref, payload, next, err := decodeCommandHead(rest)
		mustDecode(s.index, err)
		rest = next
		s.applyCommand(o, kind, ref, payload)
		s.dispatchWoken()
		s.fireDue()
	}
	if s.mine == o {
		s.emitNode(Effect{Kind: BatchApplied, Seq: it.seq})
	}
}
