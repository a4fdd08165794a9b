package guard

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// closableStore is a store on files.
type closableStore interface {
	raft.LogStore
	Close() error
}

// segmentBytes makes raft-wal seal segments after a few dozen small entries.
const segmentBytes = 8 << 10

// innerStores opens the stores that a data folder may use.
var innerStores = map[string]func(dir string) (closableStore, error){
	"raft-wal": func(dir string) (closableStore, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		return OpenWAL(dir, segmentBytes, hclog.NewNullLogger())
	},
	"raft-boltdb": func(dir string) (closableStore, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		return raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, "log.db")})
	},
}

func storeConfig(t *testing.T, inner raft.LogStore, dir string) LogStoreConfig {
	return LogStoreConfig{Inner: inner, Dir: dir, WriteBound: time.Minute, CacheBytes: 1 << 20, Fatal: mustNotFail(t)}
}

func openStore(t *testing.T, inner raft.LogStore, dir string) *LogStore {
	t.Helper()
	logs, err := OpenLogStore(storeConfig(t, inner, dir))
	noError(t, err)
	return logs
}

// copyFolder copies the regular files of a flat folder.
func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	names, err := os.ReadDir(from)
	noError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(from, name.Name()))
		noError(t, err)
		noError(t, os.WriteFile(filepath.Join(to, name.Name()), b, 0o600))
	}
	return to
}

// hookedStore lets tests interfere with the writes to a store.
type hookedStore struct {
	raft.LogStore
	before, after func(op string) error // nil: nothing
	reads         atomic.Int64
}

func (s *hookedStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *hookedStore) StoreLogs(logs []*raft.Log) error {
	return s.around("store", func() error { return s.LogStore.StoreLogs(logs) })
}

func (s *hookedStore) DeleteRange(from, to uint64) error {
	return s.around("delete", func() error { return s.LogStore.DeleteRange(from, to) })
}

func (s *hookedStore) GetLog(index uint64, l *raft.Log) error {
	s.reads.Add(1)
	return s.LogStore.GetLog(index, l)
}

func (s *hookedStore) IsMonotonic() bool { return true }

func (s *hookedStore) around(op string, do func() error) error {
	if s.before != nil {
		if err := s.before(op); err != nil {
			return err
		}
	}
	err := do()
	if s.after != nil {
		err = errors.Join(err, s.after(op))
	}
	return err
}

func openBolt(t *testing.T) *raftboltdb.BoltStore {
	t.Helper()
	db, err := raftboltdb.NewBoltStore(filepath.Join(t.TempDir(), "stable.db"))
	noError(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}
