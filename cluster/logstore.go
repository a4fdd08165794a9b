package cluster

import (
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

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

// openStores opens all of them, or none.
func (g *Group) openStores() (*stores, error) {
	if err := g.dir.checkParts(); err != nil {
		return nil, err
	}
	s := &stores{}
	if err := g.openEach(s); err != nil {
		return nil, errors.Join(judgeDamage(err), s.close())
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
		return fmt.Errorf("opening raft's vote: %w", err)
	}
	s.closers = append(s.closers, stable.Close)
	s.stable = guard.NewStableStore(stable, g.cfg.LogWriteBound, g.fatal)
	if s.snapshots, err = openSnapshots(g.dir.path, g.cfg.Logger.Named("snapshot")); err != nil {
		return fmt.Errorf("opening snapshots: %w", err)
	}
	s.snapshots.reach, s.snapshots.atRead = s.logs.FirstIndex, g.fsm.usage.ask
	if err := errors.Join(s.checkVote(), s.checkSnapshots()); err != nil {
		return err
	}
	if err := syncFolder(g.dir.path); err != nil {
		return err
	}
	return g.dir.noteOpened()
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
