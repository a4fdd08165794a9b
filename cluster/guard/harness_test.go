package guard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const awaitMax = 20 * time.Second

// await polls until cond holds. Raft offers no signal for most of what tests wait for.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if !within(awaitMax, cond) {
		t.Fatalf("waited %v for: %s", awaitMax, what)
	}
}

func within(d time.Duration, cond func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); time.Now().Before(deadline); <-tick.C {
		if cond() {
			return true
		}
	}
	return cond()
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustNotFail is a Fatal function for stores that are expected to stay whole.
func mustNotFail(t *testing.T) func(error) {
	return func(err error) { t.Errorf("unexpected fatal error: %v", err) }
}

// machine is a state machine that remembers the commands it applied, its state being just that list.
type machine struct {
	mu       sync.Mutex // guards what follows
	applied  []string
	restores int
}

func (m *machine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = append(m.applied, string(l.Data))
	return nil
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return image(m.String()), nil }

func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = strings.Fields(string(b))
	m.restores++
	return nil
}

func (m *machine) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.applied, " ")
}

func (m *machine) restored() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.restores
}

type image string

func (i image) Persist(sink raft.SnapshotSink) error {
	_, err := io.WriteString(sink, string(i))
	return errors.Join(err, sink.Close())
}
func (i image) Release() {}

// monotonicStore is an in-memory store that behaves as raft-wal does towards raft.
type monotonicStore struct{ *raft.InmemStore }

func (monotonicStore) IsMonotonic() bool { return true }

// sealingStore seals entries and does nothing else of what LogStore does.
type sealingStore struct{ raft.LogStore }

func (s sealingStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }
func (s sealingStore) StoreLogs(logs []*raft.Log) error {
	return errors.Join(seal(logs), s.LogStore.StoreLogs(logs))
}

// node is one raft instance and what it lives on. The stores outlive a restart.
type node struct {
	id     raft.ServerID
	fsm    *machine
	logs   raft.LogStore
	stable raft.StableStore
	snaps  raft.SnapshotStore
	trans  raft.Transport
	config *raft.Config
	raft   *raft.Raft
}

// newNode makes a node on memory. Replace what a test is about before start.
func newNode(id raft.ServerID) *node {
	config := raft.DefaultConfig()
	Configure(config)
	config.LocalID = id
	config.Logger = hclog.NewNullLogger()
	config.HeartbeatTimeout = 150 * time.Millisecond
	config.ElectionTimeout = 150 * time.Millisecond
	config.LeaderLeaseTimeout = 100 * time.Millisecond
	config.CommitTimeout = 10 * time.Millisecond
	config.SnapshotThreshold = 1 << 40
	return &node{
		id: id, fsm: &machine{}, config: config,
		logs: sealingStore{raft.NewInmemStore()}, stable: raft.NewInmemStore(), snaps: raft.NewInmemSnapshotStore(),
	}
}

func (n *node) start(t *testing.T) {
	t.Helper()
	r, err := raft.NewRaft(n.config, n.fsm, n.logs, n.stable, n.snaps, n.trans)
	noError(t, err)
	n.raft = r
}

func (n *node) stop() {
	if n.raft != nil {
		n.raft.Shutdown().Error()
		n.raft = nil
	}
}

// follower is a node that never campaigns, driven by hand-written requests of a puppet that acts as its peers y and z.
type follower struct {
	*node
	addr   raft.ServerAddress
	puppet *raft.InmemTransport
	wrap   func(Inner) raft.Transport
}

func newFollower(t *testing.T, wrap func(Inner) raft.Transport) *follower {
	_, puppet := raft.NewInmemTransportWithTimeout("puppet", awaitMax)
	f := &follower{node: newNode("x"), addr: "x", puppet: puppet, wrap: wrap}
	f.config.HeartbeatTimeout, f.config.ElectionTimeout = time.Hour, time.Hour
	t.Cleanup(f.stop)
	t.Cleanup(func() { puppet.Close() })
	return f
}

// bootstrap stores the first entry of the log, term 1.
func (f *follower) bootstrap(t *testing.T) {
	t.Helper()
	_, trans := raft.NewInmemTransport(f.addr)
	noError(t, raft.BootstrapCluster(f.config, f.logs, f.stable, f.snaps, trans, threeServers()))
}

// boot starts raft with a transport of its own.
func (f *follower) boot(t *testing.T) {
	t.Helper()
	_, trans := raft.NewInmemTransport(f.addr)
	f.trans = f.wrap(trans)
	f.puppet.Connect(f.addr, trans)
	f.start(t)
}

func threeServers() raft.Configuration {
	return raft.Configuration{Servers: []raft.Server{{ID: "x", Address: "x"}, {ID: "y", Address: "y"}, {ID: "z", Address: "z"}}}
}

func header(from string) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: protocolVersion, ID: []byte(from), Addr: []byte(from)}
}

// append sends entries of one term to the follower, as that term's leader.
func (f *follower) append(t *testing.T, term, prev, prevTerm, commit uint64, entries ...*raft.Log) bool {
	t.Helper()
	req := &raft.AppendEntriesRequest{
		RPCHeader: header("y"), Term: term, PrevLogEntry: prev, PrevLogTerm: prevTerm, Entries: entries, LeaderCommitIndex: commit,
	}
	var resp raft.AppendEntriesResponse
	noError(t, f.puppet.AppendEntries(f.id, f.addr, req, &resp))
	return resp.Success
}

func (f *follower) mustAppend(t *testing.T, term, prev, prevTerm, commit uint64, entries ...*raft.Log) {
	t.Helper()
	if !f.append(t, term, prev, prevTerm, commit, entries...) {
		t.Fatalf("append of term %d after %d was refused", term, prev)
	}
}

// install sends a snapshot.
func (f *follower) install(term, index, indexTerm uint64, state string) (bool, error) {
	req := &raft.InstallSnapshotRequest{
		RPCHeader: header("y"), SnapshotVersion: raft.SnapshotVersionMax, Term: term, LastLogIndex: index, LastLogTerm: indexTerm,
		Configuration: raft.EncodeConfiguration(threeServers()), ConfigurationIndex: 1, Size: int64(len(state)),
	}
	var resp raft.InstallSnapshotResponse
	err := f.puppet.InstallSnapshot(f.id, f.addr, req, &resp, strings.NewReader(state))
	return resp.Success, err
}

// entries makes sealed commands "name<index>" of one term.
func entries(name string, term, from, to uint64) []*raft.Log {
	var logs []*raft.Log
	for i := from; i <= to; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: fmt.Appendf(nil, "%s%d", name, i)})
	}
	if err := seal(logs); err != nil {
		panic(err)
	}
	return logs
}

func plain(tr Inner) raft.Transport   { return tr }
func guarded(tr Inner) raft.Transport { return NewTransport(tr, Hooks{}) }

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && bytes.Equal(a.Data, b.Data)
}
