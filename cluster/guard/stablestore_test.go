package guard

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var errCut = errors.New("the power is off")

// cuttableStable refuses writes once it has taken some: what the process wrote after the cut never was.
type cuttableStable struct {
	*raft.InmemStore
	left int
}

func (s *cuttableStable) Set(key, val []byte) error {
	if s.left == 0 {
		return errCut
	}
	s.left--
	return s.InmemStore.Set(key, val)
}

func (s *cuttableStable) SetUint64(key []byte, val uint64) error {
	if s.left == 0 {
		return errCut
	}
	s.left--
	return s.InmemStore.SetUint64(key, val)
}

// TestTornVote: a voter with entries up to 5 votes for y in term 3, then for z in term 4, and the process ends within that vote, after each number of writes
// in turn. Afterwards y, whose log ends at 1, asks for its vote in term 4.
func TestTornVote(t *testing.T) {
	run := func(t *testing.T, cut int, wrap func(raft.StableStore) raft.StableStore) (granted bool) {
		f := newFollower(t, plain)
		disk := &cuttableStable{InmemStore: raft.NewInmemStore(), left: 1000}
		f.stable = wrap(disk)
		f.bootstrap(t)
		f.boot(t)
		vote := func(candidate string, term, lastIndex, lastTerm uint64) bool {
			req := &raft.RequestVoteRequest{RPCHeader: header(candidate), Term: term, LastLogIndex: lastIndex, LastLogTerm: lastTerm, LeadershipTransfer: true}
			var resp raft.RequestVoteResponse
			noError(t, f.puppet.RequestVote(f.id, f.addr, req, &resp))
			return resp.Granted
		}
		if !vote("y", 3, 1, 1) {
			t.Fatal("no vote for y in term 3")
		}
		f.mustAppend(t, 3, 1, 1, 5, entries("ok", 3, 2, 5)...)
		disk.left = cut
		if z := vote("z", 4, 5, 3); z != (cut >= voteWrites(f.stable)) {
			t.Fatalf("z got the vote of a voter that could write %d times: %t", cut, z)
		}
		f.stop()

		disk.left = 1000
		f.stable, f.fsm = wrap(disk), &machine{}
		f.boot(t)
		return vote("y", 4, 1, 1)
	}
	t.Run("without", func(t *testing.T) {
		if !run(t, 2, func(s raft.StableStore) raft.StableStore { return s }) {
			t.Error("raft stores its vote whole by itself: the wrapper may go")
		}
	})
	for cut := 1; cut <= 2; cut++ { // a cut before the first write panics in raft, which ends the process as well
		t.Run(fmt.Sprint("with/", cut), func(t *testing.T) {
			if run(t, cut, func(s raft.StableStore) raft.StableStore { return NewStableStore(s, time.Minute, func(error) {}) }) {
				t.Error("the outdated candidate got the vote")
			}
		})
	}
}

// voteWrites is how often the disk is written for a vote in a new term.
func voteWrites(s raft.StableStore) int {
	if _, ok := s.(*StableStore); ok {
		return 2
	}
	return 3
}

func TestStableStore(t *testing.T) {
	for name, inner := range map[string]raft.StableStore{"memory": raft.NewInmemStore(), "raft-boltdb": openBolt(t)} {
		t.Run(name, func(t *testing.T) {
			s := NewStableStore(inner, time.Minute, mustNotFail(t))
			expectInt := func(key string, want uint64) {
				t.Helper()
				if got, err := s.GetUint64([]byte(key)); got != want || (err != nil && err.Error() != "not found") || (err == nil) != (want != 0 || name == "memory") {
					t.Errorf("%s is %d, %v", key, got, err)
				}
			}
			expectInt("CurrentTerm", 0)
			expectInt(keyVoteTerm, 0)
			if _, err := s.Get([]byte(keyVoteCandidate)); err == nil || err.Error() != "not found" {
				t.Errorf("no vote: %v", err)
			}
			if s.Set([]byte(keyVoteCandidate), []byte("y")) == nil {
				t.Error("a candidate without a term was stored")
			}
			noError(t, s.SetUint64([]byte("CurrentTerm"), 7))
			noError(t, s.SetUint64([]byte(keyVoteTerm), 7))
			expectInt(keyVoteTerm, 0) // not stored yet
			noError(t, s.Set([]byte(keyVoteCandidate), []byte("y")))
			noError(t, s.Set([]byte("other"), []byte("value")))
			s = NewStableStore(inner, time.Minute, mustNotFail(t))
			expectInt("CurrentTerm", 7)
			expectInt(keyVoteTerm, 7)
			for key, want := range map[string]string{keyVoteCandidate: "y", "other": "value"} {
				if got, err := s.Get([]byte(key)); err != nil || string(got) != want {
					t.Errorf("%s is %q, %v", key, got, err)
				}
			}
		})
	}
}

// TestStableStoreReadsUnsealed: what raft stored before the wrapper came counts until it is replaced.
func TestStableStoreReadsUnsealed(t *testing.T) {
	inner := openBolt(t)
	noError(t, inner.SetUint64([]byte("CurrentTerm"), 6))
	noError(t, inner.SetUint64([]byte(keyVoteTerm), 6))
	noError(t, inner.Set([]byte(keyVoteCandidate), []byte("z")))
	s := NewStableStore(inner, time.Minute, mustNotFail(t))
	state := func() string {
		term, err1 := s.GetUint64([]byte("CurrentTerm"))
		voteTerm, err2 := s.GetUint64([]byte(keyVoteTerm))
		candidate, err3 := s.Get([]byte(keyVoteCandidate))
		noError(t, errors.Join(err1, err2, err3))
		return fmt.Sprintf("%d %d %s", term, voteTerm, candidate)
	}
	if got := state(); got != "6 6 z" {
		t.Errorf("read %s", got)
	}
	noError(t, s.SetUint64([]byte(keyVoteTerm), 8))
	noError(t, s.Set([]byte(keyVoteCandidate), []byte("y")))
	if got := state(); got != "6 8 y" {
		t.Errorf("read %s after a vote", got)
	}
}

func TestStableStoreDamage(t *testing.T) {
	inner := raft.NewInmemStore()
	s := NewStableStore(inner, time.Minute, mustNotFail(t))
	noError(t, s.SetUint64([]byte("CurrentTerm"), 7))
	noError(t, s.SetUint64([]byte(keyVoteTerm), 7))
	noError(t, s.Set([]byte(keyVoteCandidate), []byte("y")))
	for innerKey, read := range map[string]func() error{
		sealedPrefix + "CurrentTerm": func() error { _, err := s.GetUint64([]byte("CurrentTerm")); return err },
		sealedVote: func() error {
			_, err := s.GetUint64([]byte(keyVoteTerm))
			if _, candidateErr := s.Get([]byte(keyVoteCandidate)); (err == nil) != (candidateErr == nil) {
				t.Error("term and candidate disagree")
			}
			return err
		},
	} {
		good, err := inner.Get([]byte(innerKey))
		noError(t, err)
		for i := range good {
			for _, bad := range [][]byte{flipped(good, i), good[:max(i, 1)]} {
				noError(t, inner.Set([]byte(innerKey), bad))
				if err := read(); !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s damaged at %d: %v", innerKey, i, err)
				}
			}
		}
		noError(t, inner.Set([]byte(innerKey), good))
		noError(t, read())
	}
	// A value in the place of another is as wrong as a flipped bit.
	vote, _ := inner.Get([]byte(sealedVote))
	noError(t, inner.Set([]byte(sealedPrefix+"CurrentTerm"), vote))
	if _, err := s.GetUint64([]byte("CurrentTerm")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the vote was read as the term: %v", err)
	}
}

func flipped(b []byte, at int) []byte {
	c := append([]byte(nil), b...)
	c[at] ^= 1 << (at % 8)
	return c
}
