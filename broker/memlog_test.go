package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/triagemq/triagemq/broker/memory"
	"github.com/triagemq/triagemq/fsm"
)

var (
	errMemNoLeader = errors.New("memlog: no leader")
	errMemOver     = errors.New("memlog: stream over")
)

// memCluster is a replicated log in memory: one committed order, a leader with a queue and entries under way, streams with what is inside them. Every move is a
// step that a test takes, or that pump takes as soon as it can.
type memCluster struct {
	t       testing.TB
	cfg     func(i int) Config
	step    sync.Mutex // one step at a time
	mu      sync.Mutex // guards what follows
	nodes   []*memNode
	log     []memEntry // committed; entry i has index i+1
	flying  []memEntry // proposed, not committed
	queue   []memItem
	leader  int // -1: none
	failed  bool
	term    uint64
	streams []*memStream
	boots   map[string]uint64
	gone    map[string]bool // nodes whose hosts say that nothing listens there
	kick    chan struct{}
	stalled atomic.Bool // the leader commits nothing

	mutant     string
	lastStream [2]uint64 // by mutant StreamOnce: node, term
	highest    map[string]uint64
	onCommit   func(memEntry)
	gossiped   map[int]uint32 // the feature level that gossip tells of a node; 0: nothing
}

type memEntry struct {
	term uint64
	data []byte
}

// memItem is a reference to what Send was given, with its sum: reuse of the memory before it is in the log shows.
type memItem struct {
	bytes []byte
	sum   uint32
}

func (i memItem) check(t testing.TB) {
	if crc32.ChecksumIEEE(i.bytes) != i.sum {
		t.Error("the memory of an item was reused before it was in the log")
	}
}

type memNode struct {
	Membership // none

	c       *memCluster
	i       int
	id      string
	node    *Node
	applied int
	up, cut bool
	changed chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}
	fatal   error
	seen    time.Time

	resident atomic.Int64 // what the node believes to be its memory
}

func (m *memNode) setUp(up bool) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.up = up
}

func (m *memNode) setCut(cut bool) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.cut = cut
}

func (m *memNode) fatalError() error {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.fatal
}

func (c *memCluster) leads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

type memStream struct {
	c     *memCluster
	from  *memNode
	term  uint64
	buf   []memItem
	up    bool // at the origin's end
	lo    bool // at the leader's end
	done  chan struct{}
	moved chan struct{}
}

func newMemCluster(t testing.TB, n int, cfg func(i int) Config) *memCluster {
	c := &memCluster{t: t, cfg: cfg, leader: -1, boots: map[string]uint64{}, gone: map[string]bool{}, kick: make(chan struct{}, 1), highest: map[string]uint64{}}
	for i := range n {
		c.nodes = append(c.nodes, nil)
		c.start(i)
	}
	return c
}

func memConfig(i int) Config {
	cfg := Default()
	cfg.Name = fmt.Sprintf("n%d", i+1)
	cfg.DiskFreeLowBytes = 0
	cfg.MemoryWatermark = memory.Watermark{Bytes: 1 << 50}
	cfg.CheckState = true
	cfg.hashIterations = 1
	return cfg
}

// start begins a process: it replays what is committed, as far as it knows.
func (c *memCluster) start(i int) {
	cfg := c.cfg(i)
	m := &memNode{c: c, i: i, id: fmt.Sprintf("n%d-id", i+1), up: true, changed: make(chan struct{}), done: make(chan struct{})}
	cfg.Fatal = func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		m.fatal = err
	}
	n, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	m.node = n
	n.meter.read = func() measurement {
		return measurement{memory: memory.Usage{LimitBytes: 1 << 51, OwnBytes: m.resident.Load()}, watermarkBytes: 1 << 50, freeBytes: -1}
	}
	c.mu.Lock()
	c.nodes[i] = m
	c.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		n.Run(ctx, m)
	}()
}

// crash ends a process as kill -9 would, but for its goroutines.
func (c *memCluster) crash(i int) {
	m := c.nodes[i]
	if c.leader == i {
		c.depose(0)
	}
	c.mu.Lock()
	m.up = false
	for _, s := range c.streams {
		if s.from == m {
			s.endUp()
		}
	}
	c.mu.Unlock()
	m.cancel()
	<-m.done
}

// depose ends the reign of the leader; keep of what is under way is committed by its successor.
func (c *memCluster) depose(keep int) {
	c.mu.Lock()
	l := c.leader
	if l < 0 {
		c.mu.Unlock()
		return
	}
	keep = min(keep, len(c.flying))
	c.log = append(c.log, c.flying[:keep]...)
	kept := c.flying[:keep]
	c.flying = nil
	c.leader, c.failed = -1, false
	if c.mutant != "NoClear" {
		c.queue = nil
	}
	c.closeStreams()
	c.changeAll()
	c.mu.Unlock()
	c.committed(kept)
	c.nodes[l].node.Follow()
}

func (c *memCluster) committed(entries []memEntry) {
	if c.onCommit != nil {
		for _, e := range entries {
			c.onCommit(e)
		}
	}
}

// elect makes node i lead, after it has applied everything.
func (c *memCluster) elect(i, keep int) {
	c.depose(keep)
	m := c.nodes[i]
	for m.applyOne() {
	}
	c.mu.Lock()
	c.term++
	term := c.term
	c.mu.Unlock()
	m.node.Lead(term)
	c.mu.Lock()
	c.leader = i
	c.changeAll()
	c.mu.Unlock()
	notify(c.kick)
}

func (c *memCluster) changeAll() {
	for _, m := range c.nodes {
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// closeStreams ends all streams at the leader's end; origins notice by their Done.
func (c *memCluster) closeStreams() {
	for _, s := range c.streams {
		s.lo, s.buf = false, nil
		s.endUp()
	}
	c.streams = nil
}

// endUp is called with c.mu held.
func (s *memStream) endUp() {
	if s.up {
		s.up = false
		close(s.done)
	}
	close(s.moved)
	s.moved = make(chan struct{})
}

// read admits the first item of a stream.
func (c *memCluster) read(s *memStream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leader < 0 || !s.lo || len(s.buf) == 0 || s.term != c.term || len(c.queue) > 16 {
		return false
	}
	it := s.buf[0]
	s.buf = s.buf[1:]
	it.check(c.t)
	if err := fsm.CheckItem(it.bytes); err != nil {
		c.t.Errorf("an item does not decode: %v", err)
	}
	close(s.moved)
	s.moved = make(chan struct{})
	c.queue = append(c.queue, it)
	return true
}

// propose seals up to k items into an entry.
func (c *memCluster) propose(k int) bool {
	c.mu.Lock()
	l := c.leader
	k = min(k, len(c.queue))
	if l < 0 || k == 0 {
		c.mu.Unlock()
		return false
	}
	var items [][]byte
	for _, it := range c.queue[:k] {
		it.check(c.t)
		items = append(items, it.bytes)
	}
	c.queue = slices.Clone(c.queue[k:])
	c.mu.Unlock()
	e := memEntry{term: c.term, data: c.nodes[l].node.Seal(nil, items)}
	c.mu.Lock()
	c.flying = append(c.flying, e)
	c.mu.Unlock()
	return true
}

// commit commits the oldest entry under way.
func (c *memCluster) commit() bool {
	c.mu.Lock()
	if c.leader < 0 || len(c.flying) == 0 {
		c.mu.Unlock()
		return false
	}
	e := c.flying[0]
	c.flying = c.flying[1:]
	c.log = append(c.log, e)
	c.mu.Unlock()
	c.committed([]memEntry{e})
	return true
}

// applyOne is a node's apply of its next committed entry.
func (m *memNode) applyOne() bool {
	m.c.mu.Lock()
	if !m.up || m.cut || m.applied >= len(m.c.log) {
		m.c.mu.Unlock()
		return false
	}
	e := m.c.log[m.applied]
	m.applied++
	index := uint64(m.applied)
	m.c.mu.Unlock()
	if err := m.node.Apply(index, e.term, e.data); err != nil {
		m.c.t.Error(err)
	}
	return true
}

// restore installs the snapshot of another node.
func (c *memCluster) restore(from, to int) bool {
	a, b := c.nodes[from], c.nodes[to]
	if a.applied <= b.applied || !b.up || !a.up {
		return false
	}
	f, err := a.node.Freeze()
	if err != nil {
		c.t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := f.WriteTo(&buf); err != nil {
		c.t.Fatal(err)
	}
	f.Release()
	if c.mutant == "RestoreKeep" {
		swap, err := b.node.replica.restore(&buf)
		if err != nil {
			c.t.Fatal(err)
		}
		b.node.applied.reach(swap())
	} else if err := b.node.Restore(&buf, true); err != nil {
		c.t.Fatal(err)
	}
	b.applied = a.applied
	return true
}

// turn takes every step that can be taken once, and reports whether there was one.
func (c *memCluster) turn() (moved bool) {
	if c.stalled.Load() {
		return false
	}
	c.mu.Lock()
	streams := slices.Clone(c.streams)
	c.mu.Unlock()
	for _, s := range streams {
		for c.read(s) {
			moved = true
		}
	}
	for c.propose(8) {
		moved = true
	}
	for c.commit() {
		moved = true
	}
	for _, m := range c.nodes {
		for m.applyOne() {
			moved = true
		}
	}
	return moved
}

// pump takes steps as soon as they can be taken, until ctx ends.
func (c *memCluster) pump(ctx context.Context) {
	for {
		c.step.Lock()
		for c.turn() {
		}
		c.step.Unlock()
		select {
		case <-c.kick:
		case <-ctx.Done():
			return
		}
	}
}

// live lets the log move by itself, and keep-alives pass every half second, until the function that it returns is called.
func (c *memCluster) live() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { c.pump(ctx) })
	parts.Go(func() {
		ticks := time.NewTicker(500 * time.Millisecond)
		defer ticks.Stop()
		for ctx.Err() == nil {
			c.step.Lock()
			c.beacons()
			c.step.Unlock()
			select {
			case <-ticks.C:
			case <-ctx.Done():
			}
		}
	})
	return func() {
		cancel()
		parts.Wait()
	}
}

// beacons lets every node hear from the leader and the leader from it, as keep-alives would.
func (c *memCluster) beacons() {
	c.mu.Lock()
	l := c.leader
	c.mu.Unlock()
	if l < 0 {
		return
	}
	lead := c.nodes[l]
	for _, m := range c.nodes {
		c.mu.Lock()
		reachable := m != lead && m.up && !m.cut
		c.mu.Unlock()
		if reachable {
			lead.node.Heard(m.id, m.node.Beacon())
			m.node.Heard(lead.id, lead.node.Beacon())
		}
	}
}

func (c *memCluster) close() {
	c.step.Lock()
	defer c.step.Unlock()
	c.depose(0)
	for _, m := range c.nodes {
		m.setUp(false)
		m.cancel()
		<-m.done
	}
}

// memNode as Log.

func (m *memNode) Self() string { return m.id }

func (m *memNode) Leadership() (Leadership, <-chan struct{}) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if m.c.leader < 0 || m.cut {
		return Leadership{Term: m.c.term}, m.changed
	}
	l := m.c.nodes[m.c.leader]
	return Leadership{Node: l.id, Term: m.c.term, Self: l == m}, m.changed
}

func (m *memNode) OpenStream(context.Context) (Stream, error) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	c := m.c
	if c.leader < 0 || !m.up || m.cut {
		return nil, errMemNoLeader
	}
	for _, s := range c.streams {
		if s.from == m && s.up {
			c.t.Error("two streams of one origin at once")
		}
	}
	if at := [2]uint64{uint64(m.i) + 1, c.term}; c.mutant == "StreamOnce" {
		if c.lastStream == at {
			return nil, errMemNoLeader
		}
		c.lastStream = at
	}
	s := &memStream{c: c, from: m, term: c.term, up: true, lo: true, done: make(chan struct{}), moved: make(chan struct{})}
	c.streams = append(c.streams, s)
	return s, nil
}

const memStreamItems = 3

func (s *memStream) Send(item []byte) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.swallows(s, item) {
		return nil
	}
	for s.up && s.lo && len(s.buf) >= memStreamItems {
		moved := s.moved
		c.mu.Unlock()
		<-moved
		c.mu.Lock()
	}
	if !s.up {
		return errMemOver
	}
	if s.lo {
		s.buf = append(s.buf, memItem{bytes: item, sum: crc32.ChecksumIEEE(item)})
	}
	notify(c.kick)
	return nil
}

// swallows is where mutants of the protocol lose items. Called with c.mu held.
func (c *memCluster) swallows(s *memStream, item []byte) bool {
	o, seq, isBatch := fsm.BatchOrigin(item)
	key := fmt.Sprint(s.from.id, c.boots[s.from.id])
	switch c.mutant {
	case "NoResend":
		if isBatch {
			key = fmt.Sprint(o)
			if seq <= c.highest[key] {
				return true
			}
			c.highest[key] = seq
		}
	case "OpenOnce":
		if !isBatch {
			c.highest[key]++
			return c.highest[key] > 1
		}
	case "DropOpen":
		return isBatch && len(s.buf) >= memStreamItems-1
	}
	return false
}

func (s *memStream) Done() <-chan struct{} { return s.done }

func (s *memStream) Close() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.endUp()
}

func (m *memNode) Propose(_ context.Context, item []byte) error {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if m.c.leader != m.i {
		return errMemNoLeader
	}
	m.c.queue = append(m.c.queue, memItem{bytes: item, sum: crc32.ChecksumIEEE(item)})
	notify(m.c.kick)
	return nil
}

func (m *memNode) ReadIndex(context.Context) (uint64, error) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	if m.c.leader < 0 || m.cut {
		return 0, errMemNoLeader
	}
	return uint64(len(m.c.log)), nil
}

func (m *memNode) Call(ctx context.Context, node string, request []byte) ([]byte, error) {
	for _, other := range m.c.nodes {
		m.c.mu.Lock()
		reachable := other.id == node && other.up && !other.cut && !m.cut
		m.c.mu.Unlock()
		if reachable {
			return other.node.Answer(ctx, m.id, request)
		}
	}
	return nil, errMemNoLeader
}

func (m *memNode) Post(_ context.Context, node string, datagram []byte) error {
	for _, other := range m.c.nodes {
		m.c.mu.Lock()
		reachable := other.id == node && other.up && !other.cut && !m.cut
		m.c.mu.Unlock()
		if reachable {
			other.node.Posted(m.id, datagram)
			return nil
		}
	}
	return errMemNoLeader
}

func (m *memNode) Members() []Member {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	var out []Member
	for _, x := range m.c.nodes {
		out = append(out, Member{Node: x.id, Name: fmt.Sprintf("n%d", x.i+1), Voter: true, Boot: m.c.boots[x.id], FeatureLevel: m.c.gossiped[x.i]})
	}
	return out
}

func (m *memNode) LastHeard(node string) time.Time {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	for _, x := range m.c.nodes {
		if x.id == node {
			if x.up && !x.cut {
				x.seen = time.Now()
			}
			return x.seen
		}
	}
	return time.Time{}
}

func (m *memNode) Gone(_ context.Context, node string) bool {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return m.c.gone[node]
}

func (m *memNode) NextBoot() (uint64, error) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	m.c.boots[m.id]++
	return m.c.boots[m.id], nil
}

func (m *memNode) CommitIndex() uint64 {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	return uint64(len(m.c.log))
}

// FreshSnapshot makes one in memory.
func (m *memNode) FreshSnapshot(_ context.Context, index uint64) (LogSnapshot, error) {
	if applied := m.node.applied.get(); applied < index {
		return LogSnapshot{}, fmt.Errorf("memlog: a snapshot up to %d, applied is %d", index, applied)
	}
	f := m.node.replica.freeze()
	defer f.Release()
	var b bytes.Buffer
	_, err := f.WriteTo(&b)
	return LogSnapshot{ReadCloser: io.NopCloser(&b), Cluster: "mem", Index: f.snapshot.Index(), Term: 1, SizeBytes: int64(b.Len())}, err
}

// TransferLeadership elects the next node that is up.
func (m *memNode) TransferLeadership(ctx context.Context) error {
	m.c.mu.Lock()
	leads := m.c.leader == m.i
	m.c.mu.Unlock()
	if !leads {
		return nil
	}
	done := make(chan error, 1)
	go func() {
		m.c.step.Lock()
		defer m.c.step.Unlock()
		for k := range m.c.nodes {
			i := (m.i + 1 + k) % len(m.c.nodes)
			if x := m.c.nodes[i]; i != m.i && x.up && !x.cut {
				m.c.elect(i, 1<<30)
				done <- nil
				return
			}
		}
		done <- errMemNoLeader
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
