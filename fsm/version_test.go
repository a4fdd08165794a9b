package fsm

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestCheckEntry: an entry that raises the level beyond what this program knows is told from all others, wherever the item stands in it.
func TestCheckEntry(t *testing.T) {
	tick, raise := AppendTick(nil), AppendFeatureLevel(nil, FeatureLevelMax+1)
	for name, test := range map[string]struct {
		items [][]byte
		fits  bool
	}{
		"no item":             {nil, true},
		"other items":         {[][]byte{tick, AppendBatch(nil, Origin{"n1", 1}, 1, raise)}, true},
		"a level it knows":    {[][]byte{AppendFeatureLevel(nil, FeatureLevelMax)}, true},
		"one that it doesn't": {[][]byte{raise}, false},
		"behind others":       {[][]byte{tick, AppendFeatureLevel(nil, 1), raise, tick}, false},
		"after damage":        {[][]byte{tick, {1, 2}}, true},
	} {
		err := CheckEntry(AppendEntry(nil, 0, test.items))
		var level *LevelError
		if errors.As(err, &level) == test.fits || !test.fits && level.NeedsLevel() != FeatureLevelMax+1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnknownLevelPanics: what the check let through must not be applied.
func TestUnknownLevelPanics(t *testing.T) {
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), "run the newer version again") {
			t.Errorf("panic %v", p)
		}
	}()
	New(Options{}).Apply(1, AppendEntry(nil, 0, [][]byte{AppendFeatureLevel(nil, FeatureLevelMax+1)}))
}

// TestSnapshotOfAHigherLevel is refused for what it is before anything of it is read that a level might change.
func TestSnapshotOfAHigherLevel(t *testing.T) {
	s := New(Options{})
	s.level = FeatureLevelMax + 1
	sn := s.Freeze()
	var b bytes.Buffer
	if _, err := sn.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	for _, end := range []int{len(whole), len(whole) - 10} { // what follows the objects is not looked at
		_, err := Restore(Options{}, bytes.NewReader(whole[:end]))
		var level *LevelError
		if !errors.As(err, &level) || level.Level != FeatureLevelMax+1 {
			t.Errorf("%d of %d bytes: %v", end, len(whole), err)
		}
	}
}

// TestLevelAllowed: operators hold the level with a global parameter.
func TestLevelAllowed(t *testing.T) {
	s := New(Options{})
	if got := s.LevelAllowed(); got != LevelUnheld {
		t.Errorf("without the parameter: %d", got)
	}
	for value, want := range map[string]uint32{"1": 1, " 7\n": 7, "0": 1, "true": 1, `"7"`: 1, "-1": 1, "4294967296": 1, "": 1} {
		s.addParameter(&parameter{parameterKey: parameterKey{name: LevelHoldParameter}, value: []byte(value)})
		if got := s.LevelAllowed(); got != want {
			t.Errorf("%q allows %d, want %d", value, got, want)
		}
	}
}
