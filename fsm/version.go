package fsm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The feature level is a replicated number that says what entries may hold and how they are applied. It begins at 1, and goes up by an item in the log once
// every server of the cluster has said that its program knows the level. A program carries what every level before its newest did, unchanged.
//
//	level  first version  brings
//	1      0.1.0          the first release
//
// FeatureLevelMax is the newest level that this program can apply; what a level introduces says so: kinds of commands by CommandKind.Level, kinds of items by
// itemKind.level, everything else where State.level is asked. docs/contributing.md has the recipe.
//
// versionOfLevel is the first version of the program that knows a level, for people: "" where this program does not know it itself.
func versionOfLevel(level uint32) string {
	if level <= 1 {
		return "0.1.0"
	}
	return nextVersionOfLevel(level)
}

// LevelHoldParameter is the global parameter with which operators keep the feature level where it is, so that a downgrade stays possible: its value is the
// highest level that the cluster may be raised to, a JSON number; any other value stands for the present level.
const LevelHoldParameter = "feature_level_max"

// LevelUnheld is LevelAllowed where no operator holds the level back.
const LevelUnheld = math.MaxUint32

// LevelError says that what was read or is to be applied is of a feature level that this program does not know. Nothing is damaged: a newer program goes on.
type LevelError struct {
	Level uint32 // that is needed
}

func (e *LevelError) Error() string {
	return fmt.Sprintf("the cluster is at feature level %d, and this program knows levels up to %d: run the newer version again "+
		"(a cluster's level never goes down; see docs/operations/upgrades.md)", e.Level, FeatureLevelMax)
}

// NeedsLevel is the level.
func (e *LevelError) NeedsLevel() uint32 { return e.Level }

// CheckEntry returns a *LevelError where an entry raises the feature level beyond what this program knows: applying it would be the first step to another
// state than that of its peers. Whoever feeds a State asks before every Apply. What does not decode passes; Apply panics on it.
func CheckEntry(entry []byte) error {
	_, r, err := openEntry(entry)
	for err == nil && len(r.b) > 0 {
		var kind itemKind
		var payload []byte
		if kind, payload, r.b, err = splitItem(r.b); err != nil || kind != itemFeatureLevel {
			continue
		}
		if it, err := decodeItem(kind, payload); err == nil && it.level > FeatureLevelMax {
			return &LevelError{Level: it.level}
		}
	}
	return nil
}

// Level is the feature level that introduced the kind of command; 0 for a number that is no kind.
func (k CommandKind) Level() uint32 {
	switch {
	case k < KindOpenSession, k == KindRecover+1: // the latter was to create virtual hosts
		return 0
	case k <= KindDeleteParameter:
		return 1
	}
	return nextKindLevel(k)
}

// level is the feature level that introduced the kind of item; 0 for a number that is no kind.
func (k itemKind) level() uint32 {
	if k < itemBatch || k > itemFeatureLevel {
		return 0
	}
	return 1
}

// Early is the refusal of a command that the level does not have yet; ok is false where it has it. Nodes ask it before they send a command on, and the state
// machine again: between the two, nothing but an older snapshot could have taken the level back.
func Early(kind CommandKind, level uint32) (code Code, text string, early bool) {
	if kind.Level() <= level {
		return OK, "", false
	}
	return NotYet, fmt.Sprintf("'%v' is refused until all nodes of the cluster run version %s or newer (feature level %d; the cluster is at %d)",
		kind, versionOfLevel(kind.Level()), kind.Level(), level), true
}

// early is Early as a refusal; nil where the state has the kind.
func (s *State) early(kind CommandKind) *refusal {
	if kind.Level() <= s.level {
		return nil
	}
	code, text, _ := Early(kind, s.level)
	return refuse(code, "%s", text)
}

// raiseLevel is applied by every replica at the same index. The leader proposes it only once every server has said that it knows the level; a server whose
// program was replaced by an older one in between stops here (CheckEntry, and this panic behind it), and goes on with the newer program.
func (s *State) raiseLevel(level uint32) {
	if level > FeatureLevelMax {
		panic(fmt.Sprintf("fsm: entry %d: %v", s.index, &LevelError{Level: level}))
	}
	if level <= s.level || level > s.LevelAllowed() {
		return
	}
	s.level = level
}

// LevelAllowed is the highest level that operators allow the cluster to be raised to (LevelHoldParameter); never below the present one.
func (s *State) LevelAllowed() uint32 {
	p := s.parameters[parameterKey{name: LevelHoldParameter}]
	if p == nil {
		return LevelUnheld
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(p.value)), 10, 32)
	if err != nil {
		return s.level
	}
	return max(s.level, uint32(n))
}
