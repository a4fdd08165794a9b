package cluster

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/triagemq/triagemq/cluster/guard"
)

// RecoverFolder makes the folder of a survivor of a cluster that has lost its quorum the first node of a new cluster, with everything that this folder has:
// its snapshot and every entry of its log, whether it was committed or not. What was confirmed and is only in the logs of others is lost; so the survivor with the
// greatest term, then index, of its last entry is the one to recover. The old parts are set aside within the folder. Interrupted at any point, it is called
// again with the same folder.
//
// The node must be stopped. Errors wrap ErrFolderInUse, ErrNothingToRecover, ErrDamaged.
func RecoverFolder(cfg RefoundConfig, m Replica) (Refounded, error) {
	if !exists(cfg.DataDir) {
		return Refounded{}, fmt.Errorf("%w: there is no folder %s", ErrNothingToRecover, cfg.DataDir)
	}
	return refound(&cfg, "recover", m, func() (refoundState, error) { return loadFolder(&cfg, m) })
}

// loadFolder replays a folder as a node does at its start.
func loadFolder(cfg *RefoundConfig, m Replica) (end refoundState, err error) {
	// ended: opening the stores would note in a folder of the first release that its boot number is on disk, and write the one that this d does not know. A
	// folder that then turns out to have nothing to recover is started again, with boot numbers that were used before.
	d := &dataDir{path: cfg.DataDir, ended: true}
	if exists(d.file(setAsidePlan)) {
		return end, fmt.Errorf("%w: %s is damaged and on its way to a folder %s… within it: starting the node finishes that, and lets it join anew", ErrNothingToRecover, cfg.DataDir, setAsidePrefix)
	}
	if d.id, err = readIdentity(cfg.DataDir); err != nil {
		return end, fmt.Errorf("%w: %s is not the data folder of a node: %w", ErrNothingToRecover, cfg.DataDir, err)
	}
	cfg.NodeID = cmp.Or(cfg.NodeID, d.id.Name)
	if !d.id.Opened {
		return end, fmt.Errorf("%w: the node of %s never was in a cluster", ErrNothingToRecover, cfg.DataDir)
	}
	if exists(d.file("log/log.bolt")) {
		cfg.LogStore = cmp.Or(cfg.LogStore, LogBolt)
	}
	f := &refounding{RefoundConfig: cfg, m: m}
	err = f.withStores(d, func(s *stores) error {
		r := replay{stores: s, m: m}
		if err := r.run(); err != nil {
			return err
		}
		end = r.end
		return r.address(cfg, d.id.Server)
	})
	return end, err
}

// replay brings what a folder has into a Replica.
type replay struct {
	*stores
	m       Replica
	end     refoundState
	applied uint64             // last command in the state
	conf    raft.Configuration // the latest, committed or not
}

func (r *replay) run() error {
	if err := r.restore(); err != nil {
		return err
	}
	last, err := r.logs.LastIndex()
	if err != nil {
		return err
	}
	for i := r.end.index + 1; i <= last; i++ {
		if err := r.entry(i); err != nil {
			return err
		}
	}
	if r.end.index == 0 {
		return fmt.Errorf("%w: it has neither a snapshot nor a log", ErrNothingToRecover)
	}
	term, err := r.stable.GetUint64([]byte("CurrentTerm"))
	if err != nil {
		return fmt.Errorf("reading raft's term: %w", err)
	}
	r.end.term = max(r.end.term, term)
	return nil
}

// restore takes the newest snapshot that is whole, as raft does.
func (r *replay) restore() error {
	list, err := r.snapshots.List()
	if err != nil {
		return err
	}
	var faults []error
	for _, meta := range list {
		if err := r.restoreOne(meta); err != nil {
			faults = append(faults, fmt.Errorf("snapshot %s: %w", meta.ID, err))
			continue
		}
		r.end, r.conf = refoundState{meta.Index, meta.Term}, meta.Configuration
		break
	}
	if first, err := r.logs.FirstIndex(); err != nil || first > r.end.index+1 {
		return errors.Join(append([]error{err, fmt.Errorf("%w: the log begins at %d, and no whole snapshot reaches up to it", ErrDamaged, first)}, faults...)...)
	}
	return nil
}

func (r *replay) restoreOne(meta *raft.SnapshotMeta) error {
	_, rc, err := r.snapshots.Open(meta.ID)
	if err != nil {
		return err
	}
	defer rc.Close()
	b := bufio.NewReaderSize(rc, 256<<10)
	index, err := readSnapshotHeader(b)
	if err != nil {
		return err
	}
	if err := r.m.Restore(b); err != nil {
		return err
	}
	r.applied = index
	return nil
}

func (r *replay) entry(i uint64) error {
	var l raft.Log
	if err := r.logs.GetLog(i, &l); err != nil {
		return fmt.Errorf("entry %d: %w", i, err)
	}
	if err := guard.VerifyEntry(&l); err != nil {
		return err
	}
	r.end = refoundState{l.Index, l.Term}
	switch {
	case l.Type == raft.LogConfiguration:
		r.conf = raft.DecodeConfiguration(l.Data)
	case l.Type == raft.LogCommand && l.Index > r.applied:
		return r.m.Apply(l.Index, l.Term, l.Data)
	}
	return nil
}

// address fills in where others dial this node, and refuses a node that has no quorum to lose.
func (r *replay) address(cfg *RefoundConfig, server string) error {
	voters := 0
	for _, s := range r.conf.Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
		if string(s.ID) == server && cfg.PeerAddr == "" {
			cfg.PeerAddr = string(s.Address)
		}
	}
	if voters == 1 && r.conf.Servers[0].ID == raft.ServerID(server) {
		return fmt.Errorf("%w: %s is the only voter of its cluster: start it", ErrNothingToRecover, server)
	}
	if cfg.PeerAddr == "" {
		return fmt.Errorf("the old cluster did not know %s: tell its peer address", server)
	}
	return nil
}
