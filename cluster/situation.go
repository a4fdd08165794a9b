package cluster

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// situation is what the pilot sees; next decides from it alone.
type situation struct {
	servers   []situated // of the configuration, the leader included
	newcomers []situated
	deadAfter time.Duration // 0: never
}

// situated is a server as the leader sees it.
type situated struct {
	id, name, address string
	voter             bool
	alive             bool          // heard of just now
	silent            time.Duration // since it was heard of; 0 while alive
	gossips           bool          // gossip has it alive: that spares it, and proves nothing
	stable            bool          // a non-voter that has kept up long enough
	moved             string        // the address that the configuration should have instead; "" none
	held              bool          // a step for it failed just now
}

// step is one change of the configuration.
type step struct {
	do      stepKind
	server  string
	address string
	voter   bool
	silent  time.Duration
}

type stepKind string

const (
	doNothing stepKind = ""
	doReplace stepKind = "remove replaced" // another server has its name
	doPromote stepKind = "promote"
	doAdd     stepKind = "add"
	doMove    stepKind = "move" // its address
	doClean   stepKind = "remove dead"
)

// fits tells whether a step to place a server is one in this configuration.
func (st step) fits(servers []raft.Server) bool {
	i := slices.IndexFunc(servers, func(s raft.Server) bool { return string(s.ID) == st.server })
	switch {
	case st.do == doAdd:
		return i < 0
	case i < 0:
		return false
	case st.do == doPromote:
		return servers[i].Suffrage == raft.Nonvoter
	}
	return (servers[i].Suffrage == raft.Voter) == st.voter
}

// next is the most urgent step. A replaced server goes before anything else: that gives back a failure that the cluster survives. Then votes, then newcomers, then
// addresses, which are for the day when gossip is down.
func (s situation) next() step {
	for _, decide := range []func(situated) step{s.replace, s.promote} {
		if st := first(s.servers, decide); st.do != doNothing {
			return st
		}
	}
	if st := first(s.newcomers, s.add); st.do != doNothing {
		return st
	}
	for _, decide := range []func(situated) step{s.move, s.clean} {
		if st := first(s.servers, decide); st.do != doNothing {
			return st
		}
	}
	return step{}
}

func first(servers []situated, decide func(situated) step) step {
	for _, x := range servers {
		if x.held {
			continue
		}
		if st := decide(x); st.do != doNothing {
			return st
		}
	}
	return step{}
}

// replace removes a server whose name another one has: a voter once the other one votes too, a non-voter at once.
func (s situation) replace(x situated) step {
	if x.alive || x.gossips || x.silent < replaceAfter {
		return step{}
	}
	heir := slices.ContainsFunc(s.servers, func(y situated) bool { return y.id != x.id && y.name == x.name && y.alive && (y.voter || !x.voter) })
	if !heir {
		return step{}
	}
	return step{do: doReplace, server: x.id, silent: x.silent}
}

func (s situation) promote(x situated) step {
	if x.voter || !x.stable {
		return step{}
	}
	return step{do: doPromote, server: x.id, address: x.address, voter: true}
}

// add takes a newcomer in, unless a member that lives has its name.
func (s situation) add(x situated) step {
	if len(s.servers) >= serversMax || s.hasNamesake(x) {
		return step{}
	}
	return step{do: doAdd, server: x.id, address: x.address}
}

func (s situation) hasNamesake(x situated) bool {
	return slices.ContainsFunc(s.servers, func(y situated) bool { return y.name == x.name && (y.alive || y.gossips) })
}

func (s situation) move(x situated) step {
	if x.moved == "" {
		return step{}
	}
	return step{do: doMove, server: x.id, address: x.moved, voter: x.voter}
}

// clean removes a server that has been silent for very long.
func (s situation) clean(x situated) step {
	if s.deadAfter == 0 || x.alive || x.gossips || x.silent < s.deadAfter {
		return step{}
	}
	voters := 0
	for _, y := range s.servers {
		if y.voter {
			voters++
		}
	}
	if x.voter && voters <= votersKept {
		return step{}
	}
	return step{do: doClean, server: x.id, silent: x.silent}
}
