package cluster

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/triagemq/triagemq/cluster/guard"
)

// Looking into a data folder from outside: nothing here writes to it, creates anything in it or takes a lock, so that it may be done beside a node that runs. What
// a running node changes meanwhile is seen as it was or as it is; entries that were compacted away while they were to be read are left out, and that is told.

// FolderInfo is what a data folder holds.
type FolderInfo struct {
	Path        string         `json:"path"`
	Name        string         `json:"name"`    // --node-id
	Server      string         `json:"server"`  // raft server id
	Cluster     string         `json:"cluster"` // cluster id, "" before the first contact
	Boot        uint64         `json:"boot"`
	Term        uint64         `json:"term"`      // the highest that this node has seen
	VotedTerm   uint64         `json:"vote_term"` // of its last vote; 0 none
	VotedFor    string         `json:"voted_for"` // its peer address
	LogStore    LogKind        `json:"log_store"`
	Log         LogExtent      `json:"log"`
	Durable     uint64         `json:"durable_index"` // the log was known to be fsynced up to it; it may lag by a second
	Last        EntryID        `json:"last"`          // the last entry that this folder has, in its log or in a snapshot: the greatest term, then index, has the most
	Snapshots   []SnapshotInfo `json:"snapshots"`     // the newest first
	Servers     []ServerInfo   `json:"servers"`       // the latest configuration, committed or not
	Interrupted string         `json:"interrupted,omitempty"`
	Faults      []string       `json:"faults"`
}

// LogExtent is where a log begins and ends. Zero indexes: it is empty.
type LogExtent struct {
	First     uint64 `json:"first_index"`
	Last      uint64 `json:"last_index"`
	LastTerm  uint64 `json:"last_term"`
	Bytes     int64  `json:"bytes"` // of the entries
	Overtaken bool   `json:"overtaken,omitempty"`
}

// EntryID names an entry of the log for ever.
type EntryID struct {
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
}

// SnapshotInfo is a snapshot of raft's.
type SnapshotInfo struct {
	ID       string       `json:"id"`
	Index    uint64       `json:"index"`
	Term     uint64       `json:"term"`
	Bytes    int64        `json:"bytes"`
	Servers  []ServerInfo `json:"servers"`
	Verified bool         `json:"verified"` // its checksum was looked at, and fits
}

// ServerInfo is a member of raft's configuration.
type ServerInfo struct {
	Server string `json:"server"`
	Name   string `json:"name"`
	Peer   string `json:"peer"`
	Voter  bool   `json:"voter"`
}

// LogEntry is an entry of raft's log.
type LogEntry struct {
	Index, Term uint64
	Type        string // command, configuration, no-op, barrier
	Appended    time.Time
	Data        []byte       // of a command: what Machine.Apply takes
	Servers     []ServerInfo // of a configuration
	Fault       error        // it does not match its checksum
}

// InspectFolder reads everything but the states. With verify the snapshots' checksums are compared too. Faults of the content are in the result; an error says that
// this is no data folder, or that it cannot be read.
func InspectFolder(path string, verify bool) (info FolderInfo, err error) {
	d := &dataDir{path: path}
	if d.id, err = readIdentity(path); err != nil {
		return info, fmt.Errorf("%s is not the data folder of a node: %w", path, err)
	}
	info = FolderInfo{Path: path, Name: d.id.Name, Server: d.id.Server, Cluster: d.id.Cluster, Servers: []ServerInfo{}, Snapshots: []SnapshotInfo{}, Faults: []string{}}
	fault := func(what string, err error) {
		if err != nil {
			info.Faults = append(info.Faults, fmt.Sprintf("%s: %v", what, err))
		}
	}
	if exists(d.file(planFile)) {
		info.Interrupted = ErrRefounding.Error()
	}
	raw, err := os.ReadFile(d.file("boot"))
	if err == nil {
		info.Boot, err = strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	fault("boot", err)
	fault("stable.bolt", info.readVote(d.file("stable.bolt")))
	info.Snapshots, err = listSnapshots(d.file("snapshots"), verify)
	fault("snapshots", err)
	info.Durable, err = guard.ReadDurableIndex(d.file("log"))
	fault("log/durable-index", err)
	fault("log", info.readLog(path))
	info.conclude()
	return info, nil
}

// readLog notes the log's extent and the latest configuration.
func (i *FolderInfo) readLog(path string) (err error) {
	if len(i.Snapshots) > 0 {
		i.Servers = i.Snapshots[0].Servers
	}
	i.LogStore = LogWAL
	if exists(filepath.Join(path, "log", "log.bolt")) {
		i.LogStore = LogBolt
	}
	i.Log, err = InspectLog(path, 0, ^uint64(0), func(e *LogEntry) error {
		if e.Fault != nil {
			i.Faults = append(i.Faults, e.Fault.Error())
		}
		if e.Servers != nil && (len(i.Snapshots) == 0 || e.Index > i.Snapshots[0].Index) {
			i.Servers = e.Servers
		}
		return nil
	})
	return err
}

// conclude says where the folder's content ends.
func (i *FolderInfo) conclude() {
	i.Last = EntryID{i.Log.Last, i.Log.LastTerm}
	if len(i.Snapshots) > 0 && i.Snapshots[0].Index > i.Last.Index {
		i.Last = EntryID{i.Snapshots[0].Index, i.Snapshots[0].Term}
	}
	if i.Last.Index < i.Durable && !i.Log.Overtaken {
		i.Faults = append(i.Faults, fmt.Sprintf("log: it ends at %d, and %d was durable: this node must never vote again", i.Last.Index, i.Durable))
	}
}

func (i *FolderInfo) readVote(path string) error {
	return withBoltCopy(path, func(copied string) error {
		inner, err := raftboltdb.New(raftboltdb.Options{Path: copied, BoltOptions: &bbolt.Options{ReadOnly: true}})
		if err != nil {
			return err
		}
		defer inner.Close()
		stable := guard.NewStableStore(inner, time.Minute, func(error) {})
		i.Term, err = stable.GetUint64([]byte("CurrentTerm"))
		if absent(err) {
			return nil
		}
		voted, err2 := stable.Get([]byte("LastVoteCand"))
		if absent(err2) {
			return err
		}
		i.VotedFor = string(voted)
		votedTerm, err3 := stable.GetUint64([]byte("LastVoteTerm"))
		i.VotedTerm = votedTerm
		return errors.Join(err, err2, err3)
	})
}

// absent is how raft's stores say that a key was never set.
func absent(err error) bool { return err != nil && err.Error() == "not found" }

// InspectLog calls each for the entries of a data folder's log from index from to index to, in order; each's error ends it. Entries that do not match their
// checksum come with their Fault.
func InspectLog(path string, from, to uint64, each func(*LogEntry) error) (LogExtent, error) {
	dir := path
	if exists(filepath.Join(path, "log")) {
		dir = filepath.Join(path, "log")
	}
	var x LogExtent
	visit := func(l *raft.Log) error {
		e := logEntry(l)
		if x.First == 0 {
			x.First = l.Index
		}
		x.Last, x.LastTerm, x.Bytes = l.Index, l.Term, x.Bytes+int64(len(l.Data))
		return each(&e)
	}
	var err error
	switch {
	case exists(filepath.Join(dir, "log.bolt")):
		err = inspectBolt(filepath.Join(dir, "log.bolt"), from, to, visit)
	case exists(filepath.Join(dir, "wal-meta.db")):
		x.Overtaken, err = inspectWAL(dir, from, to, visit)
	default:
		err = fmt.Errorf("%s holds no log: %w", dir, fs.ErrNotExist)
	}
	return x, err
}

func logEntry(l *raft.Log) LogEntry {
	e := LogEntry{Index: l.Index, Term: l.Term, Appended: l.AppendedAt, Data: l.Data, Fault: guard.VerifyEntry(l)}
	switch l.Type {
	case raft.LogCommand:
		e.Type = "command"
	case raft.LogNoop:
		e.Type = "no-op"
	case raft.LogBarrier:
		e.Type = "barrier"
	case raft.LogConfiguration:
		e.Type = "configuration"
		if e.Fault == nil { // it panics on what does not decode
			e.Servers = serverInfos(raft.DecodeConfiguration(l.Data))
		}
	default:
		e.Type = fmt.Sprintf("type %d", l.Type)
	}
	return e
}

func serverInfos(c raft.Configuration) []ServerInfo {
	infos := make([]ServerInfo, 0, len(c.Servers))
	for _, s := range c.Servers {
		infos = append(infos, ServerInfo{Server: string(s.ID), Name: nameOf(string(s.ID)), Peer: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	return infos
}

func inspectWAL(dir string, from, to uint64, each func(*raft.Log) error) (overtaken bool, err error) {
	segments, err := walSegments(dir)
	if err != nil {
		return false, err
	}
	var faults []error
	for _, info := range segments {
		if info.BaseIndex > to || info.MaxIndex != 0 && info.MaxIndex < from {
			continue
		}
		_, err := guard.ReadWALSegment(dir, info, from, to, each)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			overtaken = true // compacted since the list was read
		case errors.Is(err, guard.ErrCorrupt):
			faults = append(faults, err)
		case err != nil:
			return overtaken, err
		}
	}
	return overtaken, errors.Join(faults...)
}

func inspectBolt(path string, from, to uint64, each func(*raft.Log) error) error {
	return withBoltCopy(path, func(copied string) error {
		logs, err := raftboltdb.New(raftboltdb.Options{Path: copied, BoltOptions: &bbolt.Options{ReadOnly: true}})
		if err != nil {
			return err
		}
		defer logs.Close()
		first, err1 := logs.FirstIndex()
		last, err2 := logs.LastIndex()
		if err := errors.Join(err1, err2); err != nil || last == 0 {
			return err
		}
		for i := max(first, from); i <= min(last, to); i++ {
			var l raft.Log
			if err := logs.GetLog(i, &l); err != nil {
				return fmt.Errorf("entry %d: %w", i, err)
			}
			if err := each(&l); err != nil {
				return err
			}
		}
		return nil
	})
}

// listSnapshots lists raft's snapshots, the newest first. One that is being reaped has lost files before its folder is gone: the list is then read again.
func listSnapshots(dir string, verify bool) (infos []SnapshotInfo, err error) {
	for range snapshotListTries {
		infos, err = readSnapshots(dir, verify)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		time.Sleep(snapshotListPause)
	}
	return infos, err
}

const (
	snapshotListTries = 10
	snapshotListPause = 20 * time.Millisecond
)

func readSnapshots(dir string, verify bool) ([]SnapshotInfo, error) {
	infos := []SnapshotInfo{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return infos, err
	}
	var faults []error
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		info, err := inspectSnapshot(filepath.Join(dir, e.Name()), verify)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", e.Name(), err))
			continue
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b SnapshotInfo) int {
		return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index), cmp.Compare(b.ID, a.ID))
	})
	return infos, errors.Join(faults...)
}

// snapshotMeta is what raft's file store writes beside a state.
type snapshotMeta struct {
	raft.SnapshotMeta
	CRC []byte
}

func inspectSnapshot(dir string, verify bool) (info SnapshotInfo, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil {
		return info, err
	}
	var meta snapshotMeta
	if err := json.Unmarshal(raw, &meta); err != nil {
		return info, fmt.Errorf("meta.json: %w", err)
	}
	info = SnapshotInfo{ID: meta.ID, Index: meta.Index, Term: meta.Term, Bytes: meta.Size, Servers: serverInfos(meta.Configuration)}
	if !verify {
		return info, nil
	}
	f, err := os.Open(filepath.Join(dir, "state.bin"))
	if err != nil {
		return info, err
	}
	defer f.Close()
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	if n, err := io.Copy(sum, f); err != nil {
		return info, err
	} else if n != meta.Size || !slices.Equal(sum.Sum(nil), meta.CRC) {
		return info, fmt.Errorf("%w: the state does not match its checksum (%d bytes, %d were written)", guard.ErrCorrupt, n, meta.Size)
	}
	info.Verified = true
	return info, nil
}

// OpenSnapshotState opens the Machine's bytes of a snapshot: path is a snapshot's folder, or a data folder, of which the newest one is taken.
func OpenSnapshotState(path string) (state io.ReadCloser, info SnapshotInfo, err error) {
	if exists(filepath.Join(path, "snapshots")) {
		list, err := listSnapshots(filepath.Join(path, "snapshots"), false)
		if len(list) == 0 {
			return nil, info, errors.Join(fmt.Errorf("%s holds no snapshot", path), err)
		}
		path = filepath.Join(path, "snapshots", list[0].ID)
	}
	if info, err = inspectSnapshot(path, false); err != nil {
		return nil, info, fmt.Errorf("%s is neither a snapshot nor a data folder: %w", path, err)
	}
	f, err := os.Open(filepath.Join(path, "state.bin"))
	if err != nil {
		return nil, info, err
	}
	r := bufio.NewReaderSize(f, 256<<10)
	if _, err := readSnapshotHeader(r); err != nil {
		return nil, info, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{r, f}, info, nil
}
