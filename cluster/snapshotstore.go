package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// snapshotStore is raft's FileSnapshotStore with what that lacks:
//
//   - Its sink fsyncs the files of a snapshot and the folder that it is renamed into, but not the folder that holds the files: after a power loss the snapshot
//     may be there, and empty, with the log behind it already compacted.
//   - It offers a snapshot that cannot be read again and again, to raft at a start and to every follower that needs one. Here a snapshot that failed its
//     checksum once is not listed any more; the older one takes its place.
//   - The description of a snapshot (meta.json: index, term, members) has no checksum. Here one lies beside it, in the file described; a snapshot of a release
//     that wrote none is taken as it is.
//   - Raft is content with any older snapshot, whether the log still reaches back to it or not, and panics at the first entry that is missing. Here such a
//     snapshot does not open.
type snapshotStore struct {
	*raft.FileSnapshotStore
	path   string
	reach  func() (uint64, error) // the log's first index, 0 when it is empty
	log    hclog.Logger
	atRead func() // a snapshot turned out to be damaged

	mu  sync.Mutex       // guards bad
	bad map[string]error // by id, of snapshots that could not be read
}

var _ raft.SnapshotStore = (*snapshotStore)(nil)

func openSnapshots(dir string, log hclog.Logger) (*snapshotStore, error) {
	path := filepath.Join(dir, "snapshots")
	if err := removeUnfinished(path); err != nil {
		return nil, err
	}
	inner, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotKeep, newRaftLog(log))
	return &snapshotStore{
		FileSnapshotStore: inner, path: path, log: log, bad: map[string]error{},
		reach: func() (uint64, error) { return 0, nil }, atRead: func() {},
	}, err
}

// removeUnfinished deletes what a process that died while it wrote a snapshot has left.
func removeUnfinished(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			err = errors.Join(err, os.RemoveAll(filepath.Join(path, e.Name())))
		}
	}
	return err
}

// List is raft.SnapshotStore.
func (s *snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	list, err := s.FileSnapshotStore.List()
	kept := list[:0]
	for _, meta := range list {
		if s.checkDescription(meta.ID) == nil {
			kept = append(kept, meta)
		}
	}
	return kept, err
}

// checkDescription returns what is known to be wrong with a snapshot, its description checked anew.
func (s *snapshotStore) checkDescription(id string) error {
	s.mu.Lock()
	bad := s.bad[id]
	s.mu.Unlock()
	if bad != nil {
		return bad
	}
	sum, err := os.ReadFile(filepath.Join(s.path, id, descriptionSum))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	want, sumErr := s.sumDescription(id)
	if err = errors.Join(err, sumErr); err == nil && string(sum) != want {
		err = errors.New("its description does not match its checksum")
	}
	if err != nil {
		s.condemn(id, err)
	}
	return err
}

// descriptionSum is the file with the CRC32C of meta.json, 8 hexadecimal digits.
const descriptionSum = "described"

func (s *snapshotStore) sumDescription(id string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(s.path, id, "meta.json"))
	return fmt.Sprintf("%08x", crc32.Checksum(raw, crc32.MakeTable(crc32.Castagnoli))), err
}

// condemn keeps a snapshot from being listed in this process.
func (s *snapshotStore) condemn(id string, cause error) {
	s.mu.Lock()
	s.bad[id] = judgeDamage(fmt.Errorf("snapshot %s: %w", id, cause))
	s.mu.Unlock()
	s.log.Error("a snapshot cannot be read: an older one serves where the log reaches back to it", "snapshot", id, "error", cause)
	s.atRead()
}

// Open is raft.SnapshotStore. It reads the snapshot once for its checksum and returns it from the beginning.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, source, err := s.FileSnapshotStore.Open(id)
	if _, gone := os.Stat(filepath.Join(s.path, id)); err != nil && errors.Is(gone, os.ErrNotExist) {
		return nil, nil, err // reaped since it was listed
	}
	if err != nil {
		s.condemn(id, err)
		return nil, nil, err
	}
	first, err := s.reach()
	if err == nil && meta.Index+1 < first {
		err = fmt.Errorf("the log begins at %d and does not reach back to snapshot %s", first, id)
	}
	if err != nil {
		return nil, nil, errors.Join(err, source.Close())
	}
	return meta, source, nil
}

// damage is what kept snapshots from being read.
func (s *snapshotStore) damage() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, err := range s.bad {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeUndescribed deletes snapshots without a description that decodes, which raft neither lists nor reaps; for when the node has started without them. Raft
// runs by then: what is unfinished now may be a snapshot that a leader has begun to send.
func (s *snapshotStore) removeUndescribed() {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return
	}
	for _, e := range entries {
		var meta raft.SnapshotMeta
		raw, err := os.ReadFile(filepath.Join(s.path, e.Name(), "meta.json"))
		if err == nil {
			err = json.Unmarshal(raw, &meta)
		}
		if err != nil && e.IsDir() && !strings.HasSuffix(e.Name(), ".tmp") {
			s.log.Error("removing a snapshot that cannot be read; an older one served", "snapshot", e.Name(), "damage", err, "error", os.RemoveAll(filepath.Join(s.path, e.Name())))
		}
	}
}

// remove deletes a snapshot; one that is being read stays readable.
func (s *snapshotStore) remove(id string) {
	if err := os.RemoveAll(filepath.Join(s.path, id)); err != nil {
		s.log.Warn("cannot remove a snapshot", "snapshot", id, "error", err)
	}
}

// Create is raft.SnapshotStore.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, t raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.FileSnapshotStore.Create(version, index, term, conf, confIndex, t)
	if err != nil {
		return nil, err
	}
	return &syncedSink{sink, s}, nil
}

type syncedSink struct {
	raft.SnapshotSink
	store *snapshotStore
}

// Close makes the snapshot durable; raft compacts the log after it.
func (s *syncedSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	dir := filepath.Join(s.store.path, s.ID())
	sum, err := s.store.sumDescription(s.ID())
	if err == nil {
		err = replaceFile(filepath.Join(dir, descriptionSum), []byte(sum))
	}
	return errors.Join(err, syncFolder(dir), syncFolder(s.store.path))
}
