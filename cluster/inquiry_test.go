package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestDecide(t *testing.T) {
	at := func(voter string, term, index uint64) statement {
		return statement{voter: voter, testimony: testimony{yes: true, term: 7, lastTerm: term, lastIndex: index}}
	}
	for _, c := range []struct {
		name   string
		voters int
		agreed []statement
		want   finding
	}{
		{"alone of three", 3, []statement{at("b", 7, 9)}, findNothing},
		{"two of three, lowest id of equal logs", 3, []statement{at("b", 7, 9), at("c", 7, 9)}, findSelf},
		{"two of three, the other's id is lower", 3, []statement{at("b", 7, 9), at("a", 7, 9)}, findOther},
		{"two of three, longer log", 3, []statement{at("b", 7, 10), at("a", 7, 9)}, findSelf},
		{"a later term beats a longer log", 3, []statement{at("b", 7, 10), at("c", 8, 2)}, findOther},
		{"two of four are no majority", 4, []statement{at("b", 7, 9), at("c", 7, 9)}, findNothing},
		{"the only one of two", 2, []statement{at("b", 7, 9)}, findNothing},
		{"three of five", 5, []statement{at("b", 7, 9), at("c", 7, 9), at("d", 7, 9)}, findSelf},
	} {
		if got := decide("b", c.voters, c.agreed); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestInquiryWaitsForTheBetterLog: a majority is there, another voter's answer is late and has the better log; one that never answers is not waited for.
func TestInquiryWaitsForTheBetterLog(t *testing.T) {
	for _, c := range []struct {
		late time.Duration
		want finding
	}{{answerGrace / 2, findOther}, {10 * answerGrace, findSelf}} {
		synctest.Test(t, func(t *testing.T) {
			q := inquiry{
				charge: charge{"l", 3}, self: "a", voters: []string{"a", "b", "c", "d", "l"},
				testify: func(context.Context) testimony { return testimony{yes: true, term: 3, lastTerm: 3, lastIndex: 5} },
				ask: func(ctx context.Context, voter string) (testimony, error) {
					answer := testimony{yes: true, term: 3, lastTerm: 3, lastIndex: 5}
					if voter == "d" {
						answer.lastIndex = 6
						select {
						case <-time.After(c.late):
						case <-ctx.Done():
							return answer, ctx.Err()
						}
					}
					return answer, nil
				},
			}
			begin := time.Now()
			if got := q.run(t.Context()); got != c.want {
				t.Errorf("late by %v: %d, want %d", c.late, got, c.want)
			}
			if took := time.Since(begin); took > answerGrace {
				t.Errorf("late by %v: took %v", c.late, took)
			}
		})
	}
}

// TestHealthyLeaderIsNeverDeposed draws clusters in which some voters are refused by the leader's address, or see it in another term, or do not answer, while
// a majority of the voters, the leader among them, is in contact with it. Whoever asks in whatever order, nobody may act.
func TestHealthyLeaderIsNeverDeposed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "voters")
		voters := make([]string, n)
		for i := range voters {
			voters[i] = fmt.Sprintf("v%d", i)
		}
		leader := rapid.SampledFrom(voters).Draw(t, "leader")
		others := rapid.Permutation(without(voters, leader)).Draw(t, "others")
		reached := n / 2 // beside itself: a majority
		world := map[string]testimony{}
		for i, v := range others {
			s := testimony{
				term: 5 + rapid.Uint64Range(0, 2).Draw(t, "term"), lastTerm: rapid.Uint64Range(1, 5).Draw(t, "last term"),
				lastIndex: rapid.Uint64Range(1, 4).Draw(t, "last index"),
			}
			s.yes = i >= reached && rapid.Bool().Draw(t, "finds it gone")
			world[v] = s
		}
		if act := actors(t, voters, leader, world); len(act) > 0 {
			t.Fatalf("%v would depose %s, which reaches a majority: %v", act, leader, world)
		}
	})
}

// TestOneSucceeds: where the leader is gone and everybody who can answer says so, exactly one acts, with a log that no other's is better than.
func TestOneSucceeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 9).Draw(t, "voters")
		voters := make([]string, n)
		for i := range voters {
			voters[i] = fmt.Sprintf("v%d", i)
		}
		leader := rapid.SampledFrom(voters).Draw(t, "leader")
		world := map[string]testimony{}
		for _, v := range without(voters, leader) {
			world[v] = testimony{
				yes: true, term: 5, lastTerm: rapid.Uint64Range(1, 5).Draw(t, "last term"), lastIndex: rapid.Uint64Range(1, 4).Draw(t, "last index"),
			}
		}
		act := actors(t, voters, leader, world)
		if len(act) != 1 {
			t.Fatalf("%v act: %v", act, world)
		}
		for v, s := range world {
			if mine := world[act[0]]; s.lastTerm > mine.lastTerm || s.lastTerm == mine.lastTerm && s.lastIndex > mine.lastIndex {
				t.Fatalf("%s acts, %s has the better log: %v", act[0], v, world)
			}
		}
	})
}

// actors are those that would hand themselves a TimeoutNow.
func actors(t *rapid.T, voters []string, leader string, world map[string]testimony) (act []string) {
	silent := rapid.SampledFrom(append([]string{""}, voters...)).Draw(t, "silent")
	if len(world) < 3 {
		silent = ""
	}
	for v, mine := range world {
		q := inquiry{
			charge: charge{leader, 5}, self: v, voters: voters,
			testify: func(context.Context) testimony { return mine },
			ask: func(_ context.Context, other string) (testimony, error) {
				s, ok := world[other]
				if !ok || !s.yes && other == silent {
					return testimony{}, errors.New("silent")
				}
				return s, nil
			},
		}
		if q.run(context.Background()) == findSelf {
			act = append(act, v)
		}
	}
	return act
}

// TestConvictions: a process that is found gone in term after term is alive, and is left alone for longer and longer; one that was restarted has no record.
func TestConvictions(t *testing.T) {
	c, now := convictions{}, time.Unix(1000, 0)
	try := func(term, nonce uint64, after time.Duration, want bool) {
		t.Helper()
		now = now.Add(after)
		what := charge{"l", term}
		if got := c.allows(what, nonce, now); got != want {
			t.Errorf("term %d, nonce %d, %v later: %v, want %v", term, nonce, after, got, want)
		}
		if want {
			c.note(what, nonce, now)
		}
	}
	try(1, 11, 0, true)
	try(1, 11, time.Millisecond, true) // the same question
	try(2, 11, time.Millisecond, false)
	try(2, 0, time.Millisecond, false) // not learned which process it is
	try(3, 11, holdOffFirst, true)
	try(4, 11, holdOffFirst, false)
	try(4, 11, holdOffFirst, true)
	try(5, 12, 0, true) // restarted
	try(6, 13, 0, true)
	try(7, 13, holdOffFirst, true)
	for term := uint64(8); term < 40; term++ {
		try(term, 13, holdOffMax, true)
	}
	try(50, 13, holdOffMax-1, false)
	try(50, 13, forgetAfter+holdOffMax, true)
	c.note(charge{"m", 1}, 1, now.Add(forgetAfter+1))
	if len(c) != 1 {
		t.Errorf("%d records, want the recent one", len(c))
	}
}

func TestSightCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := question{what: rapid.Byte().Draw(t, "what"), term: rapid.Uint64().Draw(t, "term"), server: rapid.StringN(0, 40, 100).Draw(t, "server")}
		a := testimony{
			yes: rapid.Bool().Draw(t, "yes"), term: rapid.Uint64().Draw(t, "t"), lastTerm: rapid.Uint64().Draw(t, "lt"),
			lastIndex: rapid.Uint64().Draw(t, "li"), nonce: rapid.Uint64().Draw(t, "inc"),
		}
		tail := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "tail") // of a later version
		if got, err := decodeQuestion(append(q.encode(), tail...)); err != nil || got != q {
			t.Fatalf("%+v, %v; want %+v", got, err, q)
		}
		if got, err := decodeTestimony(append(a.encode(), tail...)); err != nil || got != a {
			t.Fatalf("%+v, %v; want %+v", got, err, a)
		}
		for k := range len(q.encode()) {
			if _, err := decodeQuestion(q.encode()[:k]); err == nil {
				t.Fatalf("%d bytes of a question decode", k)
			}
		}
		for k := range testimonySize {
			if _, err := decodeTestimony(a.encode()[:k]); err == nil {
				t.Fatalf("%d bytes of an answer decode", k)
			}
		}
	})
}
