package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// DiskSnapshot is a snapshot of this node's disk, verified and open for reading. It may be reaped meanwhile: its file stays readable until Close.
type DiskSnapshot struct {
	io.ReadCloser
	Cluster     string
	Index, Term uint64 // of the last entry in it
	SizeBytes   int64
}

// FreshSnapshot opens a snapshot that holds every command up to index, which the Machine must have applied: the newest one that there is, or one that is taken
// now. It disturbs nobody but this node. Taking a snapshot is not given up when ctx ends; the log is compacted behind it as usual.
func (g *Group) FreshSnapshot(ctx context.Context, index uint64) (*DiskSnapshot, error) {
	for attempt := 0; ; attempt++ {
		s, commands, err := g.newestSnapshot()
		if err == nil && commands >= index {
			return s, nil
		}
		if s != nil {
			s.Close()
		}
		// A newer one may have been taken between our look at the list and our opening, and the old one reaped.
		if attempt == 3 {
			return nil, errors.Join(fmt.Errorf("cluster: no snapshot that reaches index %d", index), err)
		}
		if err := g.snapshotNow(ctx); err != nil {
			return nil, err
		}
	}
}

// snapshotNow takes a snapshot on a goroutine of the group.
func (g *Group) snapshotNow(ctx context.Context) error {
	done := make(chan error, 1)
	if err := g.spawn(func() { done <- g.takeSnapshot() }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// newestSnapshot opens the newest one; commands is the index of the last command in it.
func (g *Group) newestSnapshot() (s *DiskSnapshot, commands uint64, err error) {
	list, err := g.stores.snapshots.List()
	if err != nil || len(list) == 0 {
		return nil, 0, err
	}
	meta, rc, err := g.stores.snapshots.Open(list[0].ID)
	if err != nil {
		return nil, 0, err
	}
	var r headReader
	if commands, err = r.open(rc); err != nil {
		return nil, 0, errors.Join(err, rc.Close())
	}
	return diskSnapshot(g.Cluster(), meta, &r), commands, nil
}

func diskSnapshot(cluster string, meta *raft.SnapshotMeta, rc io.ReadCloser) *DiskSnapshot {
	return &DiskSnapshot{ReadCloser: rc, Cluster: cluster, Index: meta.Index, Term: meta.Term, SizeBytes: meta.Size - int64(snapshotHeader)}
}

// headReader is a snapshot behind its header: the Machine's bytes.
type headReader struct{ io.ReadCloser }

func (h *headReader) open(rc io.ReadCloser) (commands uint64, err error) {
	h.ReadCloser = rc
	return readSnapshotHeader(rc)
}
