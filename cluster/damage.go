package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/hashicorp/raft"

	"github.com/triagemq/triagemq/cluster/guard"
)

// ErrDamaged is wrapped by Open's error when a data folder has lost, or can no longer read, what this node confirmed or voted on the strength of.
var ErrDamaged = errors.New("cluster: the data folder is damaged: never start this node with it again as if nothing had happened; " +
	"set the folder aside and let the node join anew under a new id (a node that is alone needs a backup)")

// judgeDamage tells damage from what the machine refuses for now. Every reader of the folder checks what it reads, and knows the folder's files from its own
// writing; so whatever it does not understand is damage, unless the operating system complains: a disk that is full, a folder that belongs to another user and a
// disk that answers with EIO must not cost a node its identity.
func judgeDamage(err error) error {
	var refused syscall.Errno
	switch {
	case err == nil || errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, guard.ErrDamaged), errors.Is(err, guard.ErrCorrupt), !errors.As(err, &refused),
		errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist): // a file that the others speak of, or speak not of
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// checkParts refuses a folder that was in use and lacks parts. A node that went on without them would take part in elections as if it had never confirmed or
// voted, and two such votes are enough to take confirmed entries away from everybody.
func (d *dataDir) checkParts() error {
	if id, _ := d.identity(); !id.Opened {
		return nil
	}
	var lost []string
	for _, part := range []string{"log", "log/durable-index", "stable.bolt", "snapshots"} {
		// bbolt takes an empty file for a new database.
		if info, err := os.Stat(d.file(part)); errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0 {
			lost = append(lost, part)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s lacks %s", ErrDamaged, d.path, strings.Join(lost, ", "))
}

// checkVote reads term and vote before raft does, which drops the kind of an error, and refuses a term that cannot be: raft writes it before any entry of it.
func (s *stores) checkVote() error {
	term, err := s.stable.GetUint64([]byte("CurrentTerm"))
	if err != nil && !neverSet(err) {
		return fmt.Errorf("reading the term: %w", err)
	}
	if _, err := s.stable.GetUint64([]byte("LastVoteTerm")); err != nil && !neverSet(err) {
		return fmt.Errorf("reading the vote: %w", err)
	}
	last, err := s.logs.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	var l raft.Log
	if err := s.logs.GetLog(last, &l); err != nil {
		return err
	}
	if l.Term > term {
		return fmt.Errorf("%w: the log ends in term %d, and raft's own record says %d", ErrDamaged, l.Term, term)
	}
	return nil
}

// neverSet is how raft, too, recognises a key that was never set.
func neverSet(err error) bool { return err.Error() == "not found" }

// checkSnapshots refuses a log that begins behind what the snapshots cover: raft would apply it to an empty state.
func (s *stores) checkSnapshots() error {
	first, err := s.logs.FirstIndex()
	if err != nil {
		return err
	}
	list, err := s.snapshots.List()
	if err != nil {
		return err
	}
	if first <= 1 && len(list) == 0 {
		return nil
	}
	for _, meta := range list {
		if meta.Index+1 >= first {
			return nil
		}
	}
	return fmt.Errorf("%w: the log begins at %d, and no snapshot reaches up to it", ErrDamaged, first)
}
