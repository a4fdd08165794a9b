package fsm

import "fmt"

// FeatureLevelMax is the newest feature level that this program can apply. Levels:
//
//	1  the first release
const FeatureLevelMax = 1

// raiseLevel is applied by every replica at the same index. A program that does not know the level cannot go on: it would apply later entries otherwise
// than its peers. The leader raises the level only once every member supports it.
func (s *State) raiseLevel(level uint32) {
	if level > FeatureLevelMax {
		panic(fmt.Sprintf("fsm: entry %d raises the feature level to %d, this program supports up to %d", s.index, level, FeatureLevelMax))
	}
	s.level = max(s.level, level)
}
