package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Restoring a backup and recovering from a lost quorum are one thing: a state of an old cluster becomes the first snapshot of a new one, whose only member so
// far is this node. The new cluster has an id of its own, so that nothing of the old one can ever merge with it, and the node a server id of its own.
//
// The new parts are made in a folder beside the old ones, which stay as they are until the new are whole and durable; then they change places. A plan, written
// first, says how far that is:
//
//	(no plan) ──plan──▶ building: new parts in refounding/ ──all durable, plan says built──▶ changing places ──plan removed──▶ (no plan)
//	                        ▲     │ interrupted: refounding/ is removed                        ▲      │ interrupted: goes on where it was
//	                        └─────┘                                                            └──────┘
//
// Open refuses a folder with a plan.
const (
	planFile  = "refounding.json"
	newFolder = "refounding"
)

// ErrRefounding is wrapped by Open's error when a restore or a recovery of the data folder did not come to its end.
var ErrRefounding = errors.New("cluster: a restore or recovery of the data folder was interrupted: run that command again")

// ErrNotEmpty is wrapped by RestoreFolder's error.
var ErrNotEmpty = errors.New("cluster: the folder is not empty")

// ErrNothingToRecover is wrapped by RecoverFolder's error.
var ErrNothingToRecover = errors.New("cluster: nothing to recover")

// Replica is a state machine outside a Group, for RestoreFolder and RecoverFolder. One goroutine calls it.
type Replica interface {
	// Restore replaces the state by a Machine's snapshot.
	Restore(r io.Reader) error
	// Apply applies an entry; an error leaves the state unusable.
	Apply(index, term uint64, entry []byte) error
	// Refound makes the state the first one of a new cluster, as if an entry at index had done it.
	Refound(index uint64) error
	// WriteTo writes a Machine's snapshot.
	io.WriterTo
}

// RefoundConfig says which folder becomes the first node of a new cluster.
type RefoundConfig struct {
	DataDir  string
	NodeID   string  // name of the node; RecoverFolder takes the folder's where it is ""
	PeerAddr string  // as others dial it; RecoverFolder takes the one that the old cluster knew where it is ""
	LogStore LogKind // of the new folder; "" is the default
	Logger   hclog.Logger

	interrupt func(step string) error // tests end the process after a step
}

// Refounded is a node that is ready to be started.
type Refounded struct {
	Name    string // --node-id
	Server  string // its new server id
	Cluster string // the new cluster's id
	Index   uint64 // of the new cluster's first snapshot
	Term    uint64
	Aside   string // where the old parts are now; "" where there were none
}

// refoundPlan is planFile's content.
type refoundPlan struct {
	Kind    string `json:"kind"` // restore or recover
	Name    string `json:"name"`
	Server  string `json:"server"`
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	Term    uint64 `json:"term"`
	Aside   string `json:"aside,omitempty"` // folder within the data folder
	Built   bool   `json:"built"`           // the new parts are durable: from here on there is no way back
}

// folderParts are what a data folder consists of, but for its lock, in the order in which new ones take their places: a folder without identity.json is none.
var folderParts = []string{"snapshots", "stable.bolt", "log", "boot", "identity.json"}

// state is where the old cluster's state ends.
type refoundState struct{ index, term uint64 }

// RestoreFolder makes an empty folder the first node of a new cluster. load brings the state of the old one into m and returns the index and term of its last
// entry; it is not called where an earlier RestoreFolder was interrupted after the new parts were whole.
func RestoreFolder(cfg RefoundConfig, m Replica, load func() (index, term uint64, err error)) (Refounded, error) {
	if !validName(cfg.NodeID) {
		return Refounded{}, fmt.Errorf("node-id %q: 1 to 40 of a-z A-Z 0-9 . _ - are allowed", cfg.NodeID)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return Refounded{}, err
	}
	// Before the lock, which makes a file: a folder that is refused stays as it is.
	if err := checkEmpty(cfg.DataDir); err != nil {
		return Refounded{}, err
	}
	return refound(&cfg, "restore", m, func() (refoundState, error) {
		index, term, err := load()
		return refoundState{index, term}, err
	})
}

// checkEmpty accepts an empty folder, and one in which a restore was interrupted.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		switch e.Name() {
		case planFile:
			return nil
		case "LOCK", "lost+found", planFile + ".tmp":
		default:
			names = append(names, e.Name())
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("%w: %s has %s: restore into a folder of its own", ErrNotEmpty, dir, names[0])
	}
	return nil
}

// refound does it under the folder's lock, or goes on with what was interrupted.
func refound(cfg *RefoundConfig, kind string, m Replica, load func() (refoundState, error)) (Refounded, error) {
	lock, err := lockFolder(cfg.DataDir)
	if err != nil {
		return Refounded{}, err
	}
	defer lock.Close()
	f := &refounding{RefoundConfig: cfg, m: m}
	if err := f.resume(kind); err != nil {
		return Refounded{}, err
	}
	if !f.plan.Built {
		if err := f.prepare(kind, load); err != nil {
			return Refounded{}, err
		}
	}
	if err := f.changePlaces(); err != nil {
		return Refounded{}, err
	}
	done := Refounded{Name: f.plan.Name, Server: f.plan.Server, Cluster: f.plan.Cluster, Index: f.plan.Index, Term: f.plan.Term}
	if f.plan.Aside != "" {
		done.Aside = f.file(f.plan.Aside)
	}
	return done, nil
}

// refounding is the work on one folder.
type refounding struct {
	*RefoundConfig
	m    Replica
	plan refoundPlan
}

func (f *refounding) file(parts ...string) string {
	return filepath.Join(append([]string{f.DataDir}, parts...)...)
}

func (f *refounding) step(name string) error {
	if f.interrupt == nil {
		return nil
	}
	return f.interrupt(name)
}

// resume reads the plan of an earlier attempt and removes what is of no use any more.
func (f *refounding) resume(kind string) error {
	raw, err := os.ReadFile(f.file(planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var plan refoundPlan
	if err := json.Unmarshal(raw, &plan); err != nil {
		return fmt.Errorf("%s is damaged: %w", f.file(planFile), err)
	}
	if plan.Kind != kind {
		return fmt.Errorf("%w: it was a %s, not a %s", ErrRefounding, plan.Kind, kind)
	}
	if plan.Built && f.NodeID != "" && plan.Name != f.NodeID {
		return fmt.Errorf("%w: it was for node %q, not for %q", ErrRefounding, plan.Name, f.NodeID)
	}
	if plan.Built {
		f.plan = plan
		return nil
	}
	return os.RemoveAll(f.file(newFolder))
}

// prepare loads the state, and makes the new parts from it.
func (f *refounding) prepare(kind string, load func() (refoundState, error)) error {
	// Nothing is written before the source has been read whole: a backup may be damaged at its end.
	state, err := load()
	if err != nil {
		return err
	}
	f.plan = refoundPlan{
		Kind: kind, Name: f.NodeID, Server: f.NodeID + "-" + randomHex(4), Cluster: randomHex(16), Index: state.index + 1, Term: max(state.term, 1),
	}
	if kind == "recover" {
		f.plan.Aside = "before-recovery-" + time.Now().UTC().Format("20060102T150405Z")
	}
	if err := f.m.Refound(f.plan.Index); err != nil {
		return err
	}
	if err := f.savePlan(); err != nil {
		return err
	}
	if err := errors.Join(f.step("planned"), f.build()); err != nil {
		return err
	}
	f.plan.Built = true
	return errors.Join(f.savePlan(), f.step("built"))
}

func (f *refounding) savePlan() error {
	raw, err := json.MarshalIndent(f.plan, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(f.file(planFile), append(raw, '\n'))
}

// build makes the new parts, through the stores that a node opens them with.
func (f *refounding) build() error {
	dir := f.file(newFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	d := &dataDir{path: dir, id: folderIdentity{Name: f.plan.Name, Server: f.plan.Server, Cluster: f.plan.Cluster, Drawn: true}}
	if err := replaceFile(d.file("boot"), []byte("0\n")); err != nil {
		return err
	}
	err := f.withStores(d, func(s *stores) error {
		if err := s.stable.SetUint64([]byte("CurrentTerm"), f.plan.Term); err != nil { // raft's key
			return err
		}
		return f.writeSnapshot(s.snapshots)
	})
	return errors.Join(err, syncFolder(dir), syncFolder(f.DataDir))
}

func (f *refounding) writeSnapshot(to raft.SnapshotStore) error {
	_, transport := raft.NewInmemTransport(raft.ServerAddress(f.PeerAddr)) // Create asks one to encode addresses
	defer transport.Close()
	conf := raft.Configuration{Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(f.plan.Server), Address: raft.ServerAddress(f.PeerAddr)}}}
	sink, err := to.Create(raft.SnapshotVersionMax, f.plan.Index, f.plan.Term, conf, f.plan.Index, transport)
	if err != nil {
		return err
	}
	frozen := &frozenFSM{ctx: context.Background(), frozen: unfrozen{f.m}, index: f.plan.Index}
	if err := frozen.Persist(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return nil
}

// unfrozen is a Replica that nobody changes meanwhile.
type unfrozen struct{ io.WriterTo }

func (unfrozen) Release() {}

// withStores opens the stores of a folder that this process has for itself.
func (f *refounding) withStores(d *dataDir, use func(*stores) error) error {
	cfg := Default()
	cfg.DataDir, cfg.NodeID, cfg.Logger = d.path, d.id.Name, f.Logger
	if f.LogStore != "" {
		cfg.LogStore = f.LogStore
	}
	cfg.Fatal = func(error) {} // the store that calls it fails the call, and every later one
	g := newGroup(cfg, nil)
	defer g.cancel()
	g.dir = d
	s, err := g.openStores()
	if err != nil {
		return err
	}
	return errors.Join(use(s), s.close())
}

// changePlaces sets the old parts aside and puts the new ones in their places. A part whose new one is still in newFolder has not been replaced: what is in its
// place is the old one.
func (f *refounding) changePlaces() error {
	if f.plan.Aside != "" {
		if err := os.MkdirAll(f.file(f.plan.Aside), 0o700); err != nil {
			return err
		}
	}
	for _, part := range slices.Backward(folderParts) { // identity.json goes first: without it no program takes this for a node's folder
		if !exists(f.file(newFolder, part)) || !exists(f.file(part)) {
			continue
		}
		if f.plan.Aside == "" {
			return fmt.Errorf("%w: %s was made meanwhile", ErrNotEmpty, f.file(part))
		}
		if err := errors.Join(os.Rename(f.file(part), f.file(f.plan.Aside, part)), f.step("aside "+part)); err != nil {
			return err
		}
	}
	if f.plan.Aside != "" {
		if err := errors.Join(syncFolder(f.file(f.plan.Aside)), syncFolder(f.DataDir)); err != nil {
			return err
		}
	}
	for _, part := range folderParts {
		if !exists(f.file(newFolder, part)) {
			continue
		}
		if err := errors.Join(os.Rename(f.file(newFolder, part), f.file(part)), f.step("new "+part)); err != nil {
			return err
		}
	}
	if err := errors.Join(os.RemoveAll(f.file(newFolder)), syncFolder(f.DataDir), f.step("in place")); err != nil {
		return err
	}
	return errors.Join(os.Remove(f.file(planFile)), syncFolder(f.DataDir))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// readIdentity reads who a folder's node is.
func readIdentity(dir string) (id folderIdentity, err error) {
	path := filepath.Join(dir, "identity.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return id, err
	}
	if err := json.Unmarshal(raw, &id); err != nil || id.Server == "" {
		return id, fmt.Errorf("%s is damaged: %v", path, err)
	}
	return id, nil
}
