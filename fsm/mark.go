package fsm

// mark is the digest that this replica computed for the last Mark. It is not in snapshots: a replica must not vouch for what it did not compute.
type mark struct {
	index uint64
	hash  [16]byte
}

// Marked is the digest that the last Mark made this replica remember; index 0 when there was none.
func (s *State) Marked() (index uint64, hash [16]byte) { return s.marked.index, s.marked.hash }

func (s *State) mark() {
	s.marked = mark{index: s.applied, hash: s.hash()}
}

// verify compares the replicas' reports. A replica that does not remember the Mark in question, because it restored a snapshot since, takes no part.
func (s *State) verify(it *item) {
	winner, decided := majority(it)
	switch {
	case !decided:
		s.emitNode(Effect{Kind: Undecided, MarkIndex: it.markIndex})
	case s.marked.index == it.markIndex && s.marked.hash != winner:
		s.emitNode(Effect{Kind: Outvoted, MarkIndex: it.markIndex})
	}
}

// majority is the hash that more than half of the voters report.
func majority(it *item) (hash [16]byte, ok bool) {
	for _, candidate := range it.reports {
		votes := 0
		for _, r := range it.reports {
			if r.Hash == candidate.Hash {
				votes++
			}
		}
		if 2*votes > it.voters {
			return candidate.Hash, true
		}
	}
	return hash, false
}
