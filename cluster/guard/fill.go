package guard

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// A request is filled up to so many bytes of data, and so many entries.
const (
	fillBytes   = 1 << 20
	fillEntries = 1024
)

// fill adds to a request the entries that follow in the log, until it holds about fillBytes. Raft bounds a request by a number of entries, and reads them all
// before anybody can count bytes: what is safe for the largest entry, AppendEntriesMax, makes thousands of round trips and of fsyncs out of the small ones that
// a follower missed in a few seconds. Raft takes what its request holds after the call for what the follower has; if it did not, the follower would get
// entries twice, which it recognises.
//
// It also keeps a request from leaving after the term that it is of. Raft's replication does not end with its term at once, and reads entry by entry:
//
//	A leads term 5, with an entry 8 of term 3 that one follower has too. A's replication reads 8 as the entry before those to send, and is held up. A hears of
//	the leader of term 6, which replaces 8 by one of term 2, and 9 follows, of term 4. The replication reads on, and sends 9 of term 4 as the successor of 8 of
//	term 3. The follower, if it has not heard of term 6, stores what no log contained, and the leader of term 6, which asks for 9 of term 4, finds it there.
//
// Raft lets a leader's log only grow, and stops leading before it lets another leader change it: whoever leads the term after reading has read one log.
func (t *Transport) fill(req *raft.AppendEntriesRequest) error {
	if t.hooks.Leads == nil || t.hooks.Log == nil {
		return nil
	}
	last, _ := t.hooks.Leads(req.Term)
	made := req.Entries
	req.Entries = t.following(made, last)
	if _, leads := t.hooks.Leads(req.Term); !leads {
		req.Entries = made
		return fmt.Errorf("guard: term %d is over here", req.Term)
	}
	return nil
}

// following returns entries with those behind them, up to last. It expects of each that it is as large as the one before it: an entry that turns out too large
// is read in vain, at most one each time.
func (t *Transport) following(entries []*raft.Log, last uint64) []*raft.Log {
	if len(entries) == 0 {
		return entries
	}
	bytes := 0
	for _, l := range entries {
		bytes += len(l.Data)
	}
	for newest := entries[len(entries)-1]; newest.Index < last && len(entries) < fillEntries && bytes+len(newest.Data) <= fillBytes; {
		next := new(raft.Log)
		if err := t.hooks.Log(newest.Index+1, next); err != nil || bytes+len(next.Data) > fillBytes {
			break // compacted meanwhile, or too large: raft's next request deals with it
		}
		entries, newest, bytes = append(entries, next), next, bytes+len(next.Data)
	}
	return entries
}
