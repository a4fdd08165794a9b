package guard

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

var (
	// ErrInstallConflict refuses a snapshot whose last entry contradicts the log: TruncateConflict first, with raft stopped.
	ErrInstallConflict = errors.New("guard: the snapshot contradicts the log")
	// ErrInstallHeld tells Transport to acknowledge a snapshot without installing it: the log already holds what it holds.
	ErrInstallHeld = errors.New("guard: the log already holds what the snapshot holds")
)

// CheckInstall is for Hooks.BeforeInstall. index and term are LastLogIndex and LastLogTerm of the request.
//
// Raft takes every snapshot that a leader sends. It restores it, deletes the log (all of it where the store is monotonic) and keeps its idea of the log's last
// entry. If that idea reaches to the snapshot's index or beyond it, raft compares the leader's next request with a log that is not there, rejects it, and gets
// the same snapshot again, hundreds of times in a few seconds, each a full restore. Two cases lead there:
//
//   - The log contradicts the snapshot: entries of a deposed leader stand where the cluster committed others. ErrInstallConflict: stop raft, call
//     TruncateConflict, start raft again; the leader's next attempt finds a log that ends before the snapshot.
//   - The log agrees with it, or was compacted past it: a repeated or delayed request. Installing would take the state back and delete what was committed
//     since. ErrInstallHeld.
//
// Otherwise the log ends before the snapshot and raft handles it well: nil.
func CheckInstall(logs raft.LogStore, index, term uint64) error {
	first, err := logs.FirstIndex()
	if err != nil {
		return err
	}
	if first != 0 && index < first {
		return ErrInstallHeld // compacted under a snapshot of our own that reaches further
	}
	own, held, err := termAt(logs, index)
	switch {
	case err != nil:
		return err
	case !held:
		return nil
	case own != term:
		return fmt.Errorf("%w: entry %d has term %d, the snapshot %d", ErrInstallConflict, index, own, term)
	}
	return ErrInstallHeld
}

// ConflictsAt reports whether the log holds, at a snapshot's last index, an entry of another term. What a snapshot covers is committed, so such an entry
// never was, nor any after it.
func ConflictsAt(logs raft.LogStore, index, term uint64) (bool, error) {
	own, held, err := termAt(logs, index)
	return held && own != term, err
}

// TruncateConflict deletes the log from index on if its entry there contradicts a snapshot that ends with (index, term), and does nothing otherwise. Only
// those entries are superseded. Earlier ones may be committed, and a voter must not forget them while the install is still to come.
//
// Raft must not run: it remembers the log's last entry, and would claim it in elections and append behind it.
func TruncateConflict(logs raft.LogStore, index, term uint64) error {
	conflict, err := ConflictsAt(logs, index, term)
	if err != nil || !conflict {
		return err
	}
	last, err := logs.LastIndex()
	if err != nil {
		return err
	}
	return logs.DeleteRange(index, last)
}

// termAt is the term of entry index, and whether the log has it.
func termAt(logs raft.LogStore, index uint64) (term uint64, held bool, err error) {
	var l raft.Log
	switch err := logs.GetLog(index, &l); {
	case errors.Is(err, raft.ErrLogNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	return l.Term, true, nil
}
