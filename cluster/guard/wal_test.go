package guard

import (
	"bufio"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"
)

// TestVersions: these belong together. raft v1.8.0 needs a go-metrics with which this raft-boltdb and raft-wal do not build, and raft-wal v0.4.0, which does,
// cannot read its log after a truncation.
func TestVersions(t *testing.T) {
	want := map[string]string{
		"github.com/hashicorp/raft":           "v1.7.3",
		"github.com/hashicorp/raft-boltdb/v2": "v2.3.1",
		"github.com/hashicorp/raft-wal":       "v0.4.2",
		"github.com/hashicorp/go-metrics":     "v0.5.4",
		"go.etcd.io/bbolt":                    "v1.5.0",
	}
	f, err := os.Open("../../go.mod")
	noError(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(strings.TrimPrefix(lines.Text(), "require "))
		if slices.Contains(fields, "=>") {
			t.Errorf("a module is replaced: %s", lines.Text())
		}
		if len(fields) >= 2 && want[fields[0]] == fields[1] {
			delete(want, fields[0])
		}
	}
	for module, version := range want {
		t.Errorf("go.mod does not require %s %s", module, version)
	}
}

// TestTruncateAndReopen is the sequence after which raft-wal v0.4.0 cannot read its sealed segments.
func TestTruncateAndReopen(t *testing.T) {
	for name, open := range innerStores {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			inner, err := open(dir)
			noError(t, err)
			logs := openStore(t, inner, dir)
			noError(t, logs.StoreLogs(entries("old", 1, 1, 20)))
			noError(t, logs.DeleteRange(11, 20))
			noError(t, logs.StoreLogs(entries("new", 2, 11, 15)))
			noError(t, logs.Close())
			noError(t, inner.Close())

			inner, err = open(dir) // in the same process: v0.4.0 kept the lock
			noError(t, err)
			logs = openStore(t, inner, dir)
			want := append(entries("old", 1, 1, 10), entries("new", 2, 11, 15)...)
			for _, w := range want {
				var got raft.Log
				noError(t, logs.GetLog(w.Index, &got))
				if !sameEntry(&got, w) {
					t.Errorf("entry %d reads %s of term %d", w.Index, got.Data, got.Term)
				}
			}
			noError(t, logs.Close())
			noError(t, inner.Close())
		})
	}
}

// haltingMeta stops noting changes at some point, as a process does that ends.
type haltingMeta struct {
	metadb.BoltMetaDB
	halted atomic.Bool
	tried  chan struct{}
}

func (m *haltingMeta) CommitState(s types.PersistentState) error {
	if m.halted.Load() {
		close(m.tried)
		return errors.New("the process has ended")
	}
	return m.BoltMetaDB.CommitState(s)
}

// TestSealedTail: the process ends after the batch that seals a segment and before that is noted in the metadata.
func TestSealedTail(t *testing.T) {
	dir := t.TempDir()
	meta := &haltingMeta{tried: make(chan struct{})}
	w, err := wal.Open(dir, wal.WithSegmentSize(segmentBytes), wal.WithMetaStore(meta), wal.WithLogger(hclog.NewNullLogger()))
	noError(t, err)
	meta.halted.Store(true)
	last := uint64(0)
	for w.StoreLogs(filler(last+1, last+20)) == nil {
		last += 20
	}
	<-meta.tried
	noError(t, w.Close())

	t.Run("without", func(t *testing.T) {
		w, err := wal.Open(copyFolder(t, dir), wal.WithSegmentSize(segmentBytes))
		noError(t, err)
		defer w.Close()
		if err := w.StoreLogs(filler(last+1, last+1)); !errors.Is(err, wal.ErrSealed) {
			t.Errorf("raft-wal recovers a sealed tail by itself: %v", err)
		}
	})
	t.Run("with", func(t *testing.T) {
		for range 3 { // opening changes the file: it must stand being repeated
			w, err := OpenWAL(dir, segmentBytes, hclog.NewNullLogger())
			noError(t, err)
			if got, _ := w.LastIndex(); got != last {
				t.Fatalf("the log ends at %d instead of %d", got, last)
			}
			noError(t, w.Close())
		}
		w, err := OpenWAL(dir, segmentBytes, hclog.NewNullLogger())
		noError(t, err)
		for range 10 {
			noError(t, w.StoreLogs(filler(last+1, last+20)))
			last += 20
		}
		noError(t, w.Close())
		w, err = OpenWAL(dir, segmentBytes, hclog.NewNullLogger())
		noError(t, err)
		defer w.Close()
		for i := uint64(1); i <= last; i++ {
			var l raft.Log
			noError(t, w.GetLog(i, &l))
			if want := filler(i, i)[0]; !sameEntry(&l, want) {
				t.Fatalf("entry %d is wrong", i)
			}
		}
	})
}
