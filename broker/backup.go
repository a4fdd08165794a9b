package broker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/triagemq/triagemq/broker/backup"
	"github.com/triagemq/triagemq/fsm"
)

// LogSnapshot is a snapshot that the log keeps on this node's disk, open for reading.
type LogSnapshot struct {
	io.ReadCloser        // what the State wrote
	Cluster       string // id
	Index, Term   uint64 // of the last entry in it
	SizeBytes     int64
}

const (
	backupsMax  = 2                // under way at once on a node: each keeps a snapshot's file
	freshBound  = 15 * time.Second // until a leader is found and its commit index is applied here
	freshRetry  = 250 * time.Millisecond
	headPeek    = 4 << 10
	backupChunk = 256 << 10
)

// Backup is a state of the broker on its way out. Close it.
type Backup struct {
	Header    backup.Header
	SizeBytes int64 // of the state; the file is a little larger

	snapshot LogSnapshot
	in       *bufio.Reader
	leave    func()
}

// OpenBackup prepares a backup of everything that was confirmed, anywhere, before the call. The state comes from a snapshot of this node's disk, taken now unless there
// is a fresh one: neither the leader nor the memory is burdened, and what is applied later does not change it. ErrBusy when two are under way here; any other
// error says that this node cannot give one now. Any goroutine.
func (n *Node) OpenBackup(ctx context.Context) (*Backup, error) {
	if !n.isAttached() {
		return nil, errNotRunning
	}
	select {
	case n.backups <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	leave := sync.OnceFunc(func() { <-n.backups })
	b, err := n.openBackup(ctx)
	if err != nil {
		leave()
		return nil, err
	}
	b.leave = leave
	n.logger.Info("backup begun", "index", b.Header.Index, "bytes", b.SizeBytes)
	return b, nil
}

func (n *Node) openBackup(ctx context.Context) (*Backup, error) {
	index, err := n.catchUpFully(ctx)
	if err != nil {
		return nil, err
	}
	s, err := n.log.FreshSnapshot(ctx, index)
	if err != nil {
		return nil, fmt.Errorf("broker: a snapshot for the backup: %w", err)
	}
	b := &Backup{snapshot: s, SizeBytes: s.SizeBytes, in: bufio.NewReaderSize(s, backupChunk)}
	head, err := b.in.Peek(headPeek)
	if err == nil || errors.Is(err, io.EOF) {
		var level uint32
		if level, err = fsm.SnapshotLevel(head); err == nil {
			b.Header = backup.Header{
				Cluster: s.Cluster, Node: n.cfg.Name, Index: s.Index, Term: s.Term, FeatureLevel: level, Product: n.cfg.Version, Created: time.Now().UTC(),
			}
			return b, nil
		}
	}
	return nil, errors.Join(err, s.Close())
}

// catchUpFully waits until this node has applied what was committed when it was called, through a change of leader if need be.
func (n *Node) catchUpFully(ctx context.Context) (index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, freshBound)
	defer cancel()
	for {
		_, changed := n.log.Leadership()
		if index, err = n.log.ReadIndex(ctx); err == nil {
			return index, n.applied.wait(ctx, index, nil)
		}
		select {
		case <-changed:
		case <-time.After(freshRetry):
		case <-ctx.Done():
			return 0, fmt.Errorf("broker: no leader confirms what is committed: %w", err)
		}
	}
}

// WriteTo writes the backup whole, once, in bounded memory.
func (b *Backup) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	out, err := backup.NewWriter(counted, b.Header)
	if err != nil {
		return counted.n, err
	}
	if _, err := io.Copy(out, b.in); err != nil {
		return counted.n, err
	}
	return counted.n, out.Close()
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// Close lets the snapshot go.
func (b *Backup) Close() error {
	defer b.leave()
	return b.snapshot.Close()
}
