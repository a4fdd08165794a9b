//go:build nextlevel

package fsm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// nextGoldenDir holds the encodings of the level that no release has. They need not last, but change only by intention.
const nextGoldenDir = "testdata/nextlevel"

var noteOrigin = Origin{"n9", 1}

// noteEntry is an entry of an origin of its own that puts a note.
func noteEntry(seq uint64, name, text string) []byte {
	return AppendEntry(nil, 0, [][]byte{AppendBatch(nil, noteOrigin, seq, (&PutNote{Ref: Ref{Incarnation: uint32(seq)}, Name: name, Text: text}).Append(nil))})
}

// TestReplicasAgreeAcrossLevels is TestReplicasAgree where the level rises at some entry, with commands of the next level before and after it: one replica applies
// plainly, one is replaced by its own snapshot after every entry. Bytes, digests and effects are the same, and before the level they are those of level 1.
func TestReplicasAgreeAcrossLevels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newEntryGenerator(t, rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		replicas := []*testReplica{newTestReplica(noteOrigin), newTestReplica(noteOrigin)}
		index, notes := uint64(0), uint64(0)
		apply := func(entry []byte) {
			index++
			for _, r := range replicas {
				r.effects = nil
				if err := CheckEntry(entry); err != nil {
					t.Fatal(err)
				}
				r.state.Apply(index, entry)
			}
			compareReplicas(t, replicas)
			replicas[1].restore(t)
			compareReplicas(t, replicas)
		}
		raiseAt := g.n("raise", 2, 30)
		apply(AppendEntry(nil, 0, [][]byte{AppendOriginOpen(nil, noteOrigin)}))
		for step := range 30 {
			g.state = replicas[0].state
			entry, _ := g.entry()
			apply(entry)
			if step == raiseAt {
				apply(AppendEntry(nil, 0, [][]byte{AppendFeatureLevel(nil, 2)}))
			}
			if g.chance("note", 30) {
				notes++
				apply(noteEntry(notes, oneOf(g, []string{"a", "b", "c", ""}), fmt.Sprint(notes)))
				early := strings.Contains(replicas[0].effects[0], "until all nodes of the cluster run version nextlevel")
				if early != (replicas[0].state.level < 2) {
					t.Fatalf("at level %d: %v", replicas[0].state.level, replicas[0].effects)
				}
			}
		}
	})
}

// TestLevelTwoIsPartOfTheDigest: number and object each.
func TestLevelTwoIsPartOfTheDigest(t *testing.T) {
	s := New(Options{})
	s.Apply(1, AppendEntry(nil, 0, [][]byte{AppendOriginOpen(nil, noteOrigin), AppendFeatureLevel(nil, 2)}))
	seen := map[[16]byte]bool{s.hash(): true}
	for i, change := range []func(){
		func() { s.next.puts++ },
		func() { s.addNote("a", "1") },
		func() { s.addNote("a", "2") },
		func() { s.addNote("b", "2") },
	} {
		if change(); seen[s.hash()] {
			t.Errorf("change %d does not show in the digest", i)
		}
		seen[s.hash()] = true
	}
}

// TestLevelIsHeld: operators decide, in apply, so that the level cannot rise any more once their word is in the log.
func TestLevelIsHeld(t *testing.T) {
	s := New(Options{})
	raise := AppendEntry(nil, 0, [][]byte{AppendFeatureLevel(nil, 2)})
	s.addParameter(&parameter{parameterKey: parameterKey{name: LevelHoldParameter}, value: []byte("1")})
	if s.Apply(1, raise); s.level != 1 {
		t.Errorf("level %d, held at 1", s.level)
	}
	s.addParameter(&parameter{parameterKey: parameterKey{name: LevelHoldParameter}, value: []byte("2")})
	if s.Apply(2, raise); s.level != 2 {
		t.Errorf("level %d, held at 2", s.level)
	}
	s.addParameter(&parameter{parameterKey: parameterKey{name: LevelHoldParameter}, value: []byte("1")})
	if s.level != 2 || s.LevelAllowed() != 2 {
		t.Error("a hold took the level back")
	}
}

// TestEarlyItems: a leader at level 1 does not admit what level 2 brings.
func TestEarlyItems(t *testing.T) {
	item := AppendBatch(nil, noteOrigin, 1, (&PutNote{Name: "a"}).Append(nil))
	if err := CheckItemAt(item, 1); !errors.Is(err, errEarly) {
		t.Errorf("at level 1: %v", err)
	}
	if err := CheckItemAt(item, 2); err != nil {
		t.Errorf("at level 2: %v", err)
	}
}

// TestGoldenNextLevel: a command and a snapshot of level 2, beside those of level 1 that TestGolden and TestGoldenSnapshot keep in this build too.
func TestGoldenNextLevel(t *testing.T) {
	var command strings.Builder
	full := exampleCommand(KindPutNote)
	renderGolden(&command, "every field", describeFields(full), full.Append(nil))
	s := New(Options{})
	s.Apply(1, AppendEntry(nil, 0, [][]byte{AppendOriginOpen(nil, noteOrigin), AppendFeatureLevel(nil, 2)}))
	s.Apply(2, noteEntry(1, "b", "two"))
	s.Apply(3, noteEntry(2, "a", "one"))
	s.Apply(4, noteEntry(3, "", "refused"))
	for name, now := range map[string]string{"command-255-note.put.txt": command.String(), "snapshot.hex": hex.Dump(snapshotBytes(t, s))} {
		file := filepath.Join(nextGoldenDir, name)
		if *update {
			if err := os.MkdirAll(nextGoldenDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != now {
			t.Errorf("%s, %v: now it would be\n%s", file, err, now)
		}
	}
	checkGoldenSection(t, "command-255", strings.TrimSpace(command.String()))
	restored, err := Restore(Options{Check: true}, bytes.NewReader(snapshotBytes(t, s)))
	if err != nil || restored.hash() != s.hash() {
		t.Errorf("restored: %v", err)
	}
}
