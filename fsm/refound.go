package fsm

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// Refound makes the state of a cluster that is no more, or that lives on elsewhere, the first state of a new one, as an entry at index would. It is for a
// restored backup and for a quorum that is lost; it is never applied from a log.
//
// The nodes of the old cluster count as lost: their sessions end without anybody's failure, with their exclusive queues and what was auto-deleted after them;
// what they held is back in its place. Their records go too: the nodes of the new cluster are others, and nothing of the old ones can arrive. Every message
// is marked as redelivered, because the old cluster may have delivered any of them after this state was taken. The virtual clock stands still until the first
// entry of the new cluster, which may come at any later time: what expires meanwhile, expires then.
//
// Bulk work is finished here, whatever its size. index must be beyond Applied: ids of messages that move now (dead letters) are new.
func (s *State) Refound(index uint64) {
	if index <= s.applied {
		panic(fmt.Sprintf("fsm: refounding at %d, applied is %d", index, s.applied))
	}
	s.index, s.ordinal, s.budget = index, 0, math.MaxInt
	for _, node := range slices.Sorted(maps.Keys(s.origins)) {
		if o := s.origins[node]; o.open {
			s.closeOrigin(o)
		}
	}
	for len(s.remainders) > 0 {
		s.continueRemainders()
	}
	s.dispatchWoken()
	for _, node := range slices.Sorted(maps.Keys(s.origins)) {
		s.forget(s.origins[node])
		delete(s.origins, node)
	}
	s.findMine()
	s.store.MarkRedelivered()
	s.budget = 0 // what came back is due, perhaps: that is for the first entry of the new cluster, as what comes due until then
	s.applied, s.marked = index, mark{}
	if s.options.Check || invariants {
		if err := s.Check(); err != nil {
			panic(fmt.Sprintf("fsm: after refounding at %d: %v", index, err))
		}
	}
}

// Digest is the digest of the whole state, as a Mark here would remember it. It needs time in proportion to the objects that changed since the last one, and
// changes no state that replicas share; call it where Apply is called.
func (s *State) Digest() [16]byte { return s.hash() }
