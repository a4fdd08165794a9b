package broker

import (
	"errors"
	"testing"

	"github.com/triagemq/triagemq/fsm"
)

// TestApplyOfAnUnknownLevel leaves the state as it was and says what is needed.
func TestApplyOfAnUnknownLevel(t *testing.T) {
	n, err := New(memConfig(0))
	if err != nil {
		t.Fatal(err)
	}
	var level *fsm.LevelError
	err = n.Apply(7, 1, fsm.AppendEntry(nil, 5, [][]byte{fsm.AppendTick(nil), fsm.AppendFeatureLevel(nil, fsm.FeatureLevelMax+1)}))
	if !errors.As(err, &level) || level.NeedsLevel() != fsm.FeatureLevelMax+1 {
		t.Errorf("applied: %v", err)
	}
	n.View(func(s *fsm.State) {
		if s.Applied() != 0 || s.NowMillis() != 0 {
			t.Errorf("the state moved to entry %d", s.Applied())
		}
	})
	if n.FeatureLevel() != 1 {
		t.Errorf("level %d", n.FeatureLevel())
	}
}
