package cluster

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func voter(id string, silent time.Duration) situated {
	return situated{id: id, name: nameOf(id), address: id + ":1", voter: true, alive: silent == 0, silent: silent, gossips: silent == 0}
}

func nonVoter(id string, silent time.Duration, stable bool) situated {
	x := voter(id, silent)
	x.voter, x.stable = false, stable
	return x
}

func TestNextStep(t *testing.T) {
	day := 24 * time.Hour
	old, fresh := voter("n3-a", time.Minute), nonVoter("n3-b", 0, false)
	stable, moved := nonVoter("n3-b", 0, true), voter("n2-a", 0)
	moved.moved = "n2-a:2"
	gossiping := old
	gossiping.gossips = true
	held := stable
	held.held = true
	for _, test := range []struct {
		name      string
		servers   []situated
		newcomers []situated
		do        stepKind
		server    string
	}{
		{"all is well", []situated{voter("n1-a", 0), voter("n2-a", 0), voter("n3-a", 0)}, nil, doNothing, ""},
		{"a newcomer", []situated{voter("n1-a", 0)}, []situated{fresh}, doAdd, "n3-b"},
		{"a newcomer with the name of a member that lives", []situated{voter("n1-a", 0), voter("n3-a", 0)}, []situated{fresh}, doNothing, ""},
		{"a newcomer in the place of a dead member", []situated{voter("n1-a", 0), voter("n2-a", 0), old}, []situated{fresh}, doAdd, "n3-b"},
		{"a non-voter that does not keep up yet", []situated{voter("n1-a", 0), fresh}, nil, doNothing, ""},
		{"one that does", []situated{voter("n1-a", 0), stable}, nil, doPromote, "n3-b"},
		{"one that does, after a failure", []situated{voter("n1-a", 0), held}, nil, doNothing, ""},
		{"replaced by a non-voter", []situated{voter("n1-a", 0), voter("n2-a", 0), old, fresh}, nil, doNothing, ""},
		{"replaced by a voter", []situated{voter("n1-a", 0), voter("n2-a", 0), old, voter("n3-b", 0)}, nil, doReplace, "n3-a"},
		{"replaced, but gossip has it", []situated{voter("n1-a", 0), voter("n2-a", 0), gossiping, voter("n3-b", 0)}, nil, doNothing, ""},
		{"a non-voter that lost its disk twice", []situated{voter("n1-a", 0), nonVoter("n3-a", time.Minute, false), fresh}, nil, doReplace, "n3-a"},
		{"moved", []situated{voter("n1-a", 0), moved}, nil, doMove, "n2-a"},
		{"dead for a day, three voters", []situated{voter("n1-a", 0), voter("n2-a", 0), voter("n3-a", day)}, nil, doNothing, ""},
		{"dead for a day, four voters", []situated{voter("n1-a", 0), voter("n2-a", 0), voter("n4-a", 0), voter("n3-a", day)}, nil, doClean, "n3-a"},
		{"a non-voter dead for a day", []situated{voter("n1-a", 0), nonVoter("n3-a", day, false)}, nil, doClean, "n3-a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := situation{servers: test.servers, newcomers: test.newcomers, deadAfter: day}.next()
			if got.do != test.do || got.server != test.server {
				t.Errorf("%q %s, want %q %s", got.do, got.server, test.do, test.server)
			}
		})
	}
}

// tolerance is how many failures of live voters are survived; below zero there is no quorum.
func tolerance(servers []situated) int {
	live, votes := 0, 0
	for _, x := range servers {
		if x.voter {
			votes++
			if x.alive {
				live++
			}
		}
	}
	return live - (votes/2 + 1)
}

// TestStepsKeepTheQuorum follows the steps of random clusters to their end: no step lowers the number of failures that are survived, and the dead are not
// cleaned up below three voters.
func TestStepsKeepTheQuorum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := situation{deadAfter: time.Hour}
		s.servers = append(s.servers, voter("n0-leader", 0))
		silences := []time.Duration{0, 0, 0, time.Second, time.Minute, 2 * time.Hour}
		for i := range rapid.IntRange(0, 8).Draw(t, "servers") {
			id := fmt.Sprintf("n%d-%d", rapid.IntRange(0, 5).Draw(t, "name"), i)
			x := voter(id, rapid.SampledFrom(silences).Draw(t, "silent"))
			if x.voter = rapid.Bool().Draw(t, "voter"); !x.voter {
				x.stable = x.alive && rapid.Bool().Draw(t, "stable")
			}
			s.servers = append(s.servers, x)
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "newcomers") {
			x := nonVoter(fmt.Sprintf("n%d-new%d", rapid.IntRange(0, 5).Draw(t, "name"), i), 0, false)
			s.newcomers = append(s.newcomers, x)
		}
		for steps := 0; ; steps++ {
			if steps > 100 {
				t.Fatal("the steps do not end")
			}
			before := tolerance(s.servers)
			st := s.next()
			if st.do == doNothing {
				return
			}
			s = s.after(st)
			if after := tolerance(s.servers); after < before {
				t.Fatalf("%+v: %d failures were survived, now %d", st, before, after)
			}
		}
	})
}

// after is the situation once a step is taken, and a newcomer keeps up.
func (s situation) after(st step) situation {
	var servers, newcomers []situated
	for _, x := range s.servers {
		switch {
		case x.id != st.server:
		case st.do == doReplace || st.do == doClean:
			continue
		case st.do == doPromote:
			x.voter, x.stable = true, false
		}
		servers = append(servers, x)
	}
	for _, x := range s.newcomers {
		if x.id == st.server {
			x.stable = true
			servers = append(servers, x)
			continue
		}
		newcomers = append(newcomers, x)
	}
	s.servers, s.newcomers = servers, newcomers
	return s
}
