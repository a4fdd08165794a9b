package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/triagemq/triagemq/cluster/guard"
)

// machineFSM lets raft drive the Machine. Raft calls Apply, Snapshot and Restore from one goroutine at a time.
//
// The Machine sees commands only; raft's own entries (no-ops, barriers, configurations) have indexes of their own in between. applied is the last index
// that the Machine has seen, or that its restored state covers, and it never goes back: a raft instance that was started again in this process restores and
// replays what the Machine already has, and that is skipped.
type machineFSM struct {
	machine Machine
	fatal   func(error)
	ctx     context.Context // ends with the Group; a snapshot being written is given up

	applied atomic.Uint64
	live    atomic.Bool  // raft has started: a restore is an install from a leader
	paused  atomic.Int64 // nanoseconds for which the last snapshot held up Apply, with its Freeze and its Release
	damaged bool         // apply goroutine only
	ahead   error        // why a snapshot was refused that only a newer program can read; apply goroutine only, once it runs

	level     uint32                   // apply goroutine only: what is noted in the data folder
	noteLevel func(level uint32) error // durably; the folder is opened after this is built
	usage     logUsage
}

// Apply returns the entry's term, so that the proposer can tell in which reign its entry went in.
func (f *machineFSM) Apply(l *raft.Log) any {
	if l.Type != raft.LogCommand || l.Index <= f.applied.Load() || f.damaged {
		return l.Term
	}
	if err := guard.VerifyEntry(l); err != nil {
		f.damaged = true // nothing may be applied after a hole, should fatal return
		f.fatal(fmt.Errorf("applying: %w", err))
		return l.Term
	}
	if err := f.machine.Apply(l.Index, l.Term, l.Data); err != nil {
		f.damaged = true
		f.fatal(f.needs(err))
		return l.Term
	}
	f.applied.Store(l.Index)
	f.followLevel()
	f.usage.add(l.Index, len(l.Data), time.Now(), f.machine.LiveBytes)
	return l.Term
}

// Snapshot captures the state.
func (f *machineFSM) Snapshot() (raft.FSMSnapshot, error) {
	if f.damaged {
		return nil, errors.New("the state is behind a damaged entry")
	}
	began := time.Now()
	frozen, err := f.machine.Freeze()
	if err != nil {
		return nil, err
	}
	f.paused.Store(int64(time.Since(began)))
	f.usage.frozen(f.machine.LiveBytes())
	return &frozenFSM{ctx: f.ctx, frozen: frozen, index: f.applied.Load(), paused: &f.paused}, nil
}

// A snapshot begins with
//
//	"TMQS"  magic, 4 bytes
//	uint8   version, 1
//	uint64  index of the last command in it, big-endian
//
// and the Machine's own bytes follow. Raft checks a CRC over all of it.
const (
	snapshotMagic   = "TMQS"
	snapshotVersion = 1
	snapshotHeader  = len(snapshotMagic) + 1 + 8
)

// Restore replaces the state, unless the Machine is already there or further.
func (f *machineFSM) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	r := bufio.NewReaderSize(rc, 256<<10)
	index, err := readSnapshotHeader(r)
	if err != nil {
		return err
	}
	if f.live.Load() && index <= f.applied.Load() {
		return nil
	}
	if err := f.restoreMachine(r); err != nil {
		return err
	}
	f.applied.Store(index)
	f.followLevel()
	f.usage.frozen(f.machine.LiveBytes())
	return nil
}

// readSnapshotHeader reads what precedes the Machine's bytes: the index of the last command in them.
func readSnapshotHeader(r io.Reader) (index uint64, err error) {
	var head [snapshotHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, fmt.Errorf("reading a snapshot's header: %w", err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic || head[len(snapshotMagic)] != snapshotVersion {
		return 0, fmt.Errorf("not a snapshot of this version: header %x", head)
	}
	return binary.BigEndian.Uint64(head[len(snapshotMagic)+1:]), nil
}

// frozenFSM is a captured state on its way to disk.
type frozenFSM struct {
	ctx    context.Context
	frozen Frozen
	index  uint64
	paused *atomic.Int64
	once   sync.Once
}

// Persist writes the snapshot. Raft cancels the sink on error.
func (s *frozenFSM) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(endingWriter{s.ctx, sink}, 256<<10)
	head := append([]byte(snapshotMagic), snapshotVersion)
	if _, err := w.Write(binary.BigEndian.AppendUint64(head, s.index)); err != nil {
		return err
	}
	if _, err := s.frozen.WriteTo(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return sink.Close()
}

// Release lets the captured state go.
func (s *frozenFSM) Release() {
	s.once.Do(func() {
		began := time.Now()
		s.frozen.Release()
		s.paused.Store(max(s.paused.Load(), int64(time.Since(began))))
	})
}

// endingWriter fails once its context has ended, so that a large snapshot does not hold up the end of the process.
type endingWriter struct {
	ctx context.Context
	w   io.Writer
}

func (e endingWriter) Write(b []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.w.Write(b)
}
