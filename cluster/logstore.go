package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/triagemq/triagemq/cluster/guard"
)

const snapshotKeep = 2 // the older one serves where the newer one is damaged

// stores is what raft keeps on disk, each behind its guard.
type stores struct {
	logs      *guard.LogStore
	stable    *guard.StableStore
	snapshots *snapshotStore

	closers []func() error // in order of opening
}

// ErrPartsLost is wrapped by Open's error when parts of a data folder that was in use are gone.
var ErrPartsLost = errors.New("cluster: the data folder has lost what this node confirmed or voted; never start it as if it were new: " +
	"set the folder aside and let this node join anew under a new folder")

// openStores opens all of them, or none.
func (g *Group) openStores() (*stores, error) {
	if lost := g.dir.partsLost(); len(lost) > 0 {
		return nil, fmt.Errorf("%w: %s lacks %s", ErrPartsLost, g.dir.path, strings.Join(lost, ", "))
	}
	s := &stores{}
	if err := g.openEach(s); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (g *Group) openEach(s *stores) error {
	inner, err := g.openInnerLog(s)
	if err != nil {
		return fmt.Errorf("opening the raft log: %w", err)
	}
	s.logs, err = guard.OpenLogStore(guard.LogStoreConfig{
		Inner: inner, Dir: g.dir.file("log"), WriteBound: g.cfg.LogWriteBound, CacheBytes: g.cfg.LogCacheBytes, Fatal: g.fatal,
	})
	if err != nil {
		return fmt.Errorf("checking the raft log: %w", err)
	}
	s.closers = append(s.closers, s.logs.Close)
	stable, err := guard.Open(func() (*raftboltdb.BoltStore, error) { return raftboltdb.NewBoltStore(g.dir.file("stable.bolt")) })
	if err != nil {
		return fmt.Errorf("opening raft's vote: %w", adviseOnVote(err))
	}
	s.closers = append(s.closers, stable.Close)
	s.stable = guard.NewStableStore(stable, g.cfg.LogWriteBound, g.fatal)
	if s.snapshots, err = openSnapshots(g.dir.path, newRaftLog(g.cfg.Logger.Named("snapshot"))); err != nil {
		return fmt.Errorf("opening snapshots: %w", err)
	}
	if err := s.checkSnapshots(); err != nil {
		return err
	}
	if err := syncFolder(g.dir.path); err != nil {
		return err
	}
	return g.dir.noteOpened()
}

// checkSnapshots refuses a log that begins behind what the snapshots cover: raft would apply it to an empty state.
func (s *stores) checkSnapshots() error {
	first, err := s.logs.FirstIndex()
	if err != nil || first <= 1 {
		return err
	}
	list, err := s.snapshots.List()
	if err != nil {
		return err
	}
	for _, meta := range list {
		if meta.Index >= first-1 {
			return nil
		}
	}
	return fmt.Errorf("%w: the log begins at %d, and no snapshot reaches up to it", ErrPartsLost, first)
}

// adviseOnVote says what to do about a file that is no database any more. A node that forgot its vote might vote twice.
func adviseOnVote(err error) error {
	for _, damage := range []error{bolterrors.ErrInvalid, bolterrors.ErrVersionMismatch, bolterrors.ErrChecksum} {
		if errors.Is(err, damage) {
			return fmt.Errorf("%w; never vote with it again: set the data folder aside and let the node rejoin under a new id (a node that is alone needs a backup)", err)
		}
	}
	return err
}

// openInnerLog opens the store of the kind that the folder was made with, else of the configured kind.
func (g *Group) openInnerLog(s *stores) (raft.LogStore, error) {
	dir := g.dir.file("log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	kind := g.cfg.LogStore
	if _, err := os.Stat(g.dir.file("log/log.bolt")); err == nil {
		kind = LogBolt
	} else if _, err := os.Stat(g.dir.file("log/wal-meta.db")); err == nil {
		kind = LogWAL
	}
	if kind != g.cfg.LogStore {
		g.log.Warn("the data folder was made with another log store, and keeps it", "log_store", string(kind))
	}
	if kind == LogBolt {
		b, err := guard.Open(func() (*raftboltdb.BoltStore, error) { return raftboltdb.NewBoltStore(g.dir.file("log/log.bolt")) })
		if err == nil {
			s.closers = append(s.closers, b.Close)
		}
		return b, err
	}
	w, err := guard.OpenWAL(dir, g.cfg.LogSegmentBytes, newRaftLog(g.cfg.Logger.Named("wal")))
	if err == nil {
		s.closers = append(s.closers, w.Close)
	}
	return w, err
}

// close closes in reverse order.
func (s *stores) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}
