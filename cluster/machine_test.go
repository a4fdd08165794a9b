package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
)

// testMachine is a state machine that applies numbered items of origins, each if and only if it is the next, and remembers their payloads.
type testMachine struct {
	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	state    testState
	reigns   []uint64 // Lead adds the term, Follow a zero
	heard    map[string]int
	lost     []string
	restores []bool // live
	gate     chan struct{}
	follow   func()            // called by Follow; nil: nothing
	gaps     map[string]uint64 // origin: next number at its last gap
	departs  []string          // servers, as Depart was called

	known  uint32                             // the newest feature level that it can apply; 0: every one
	level  atomic.Uint32                      // FeatureLevel, at least 1
	posted func(from string, datagram []byte) // nil: nothing
}

type testState struct {
	Index, Term uint64
	Last        map[string]uint64 // origin: number of its last item
	Items       []string          // payloads in order; "level N" raises the feature level
	Level       uint32            // feature level, 0 before it was raised
}

func newTestMachine() *testMachine {
	return &testMachine{changed: make(chan struct{}), state: testState{Last: map[string]uint64{}}, heard: map[string]int{}, gaps: map[string]uint64{}}
}

// testItem encodes an item: 'I', uint8 length of the origin, origin, uint64 number, payload.
func testItem(origin string, number uint64, payload string) []byte {
	b := append([]byte{'I', byte(len(origin))}, origin...)
	return append(binary.BigEndian.AppendUint64(b, number), payload...)
}

func (m *testMachine) CheckItem(item []byte) error {
	if len(item) < 2 || item[0] != 'I' || len(item) < 10+int(item[1]) {
		return errors.New("not an item")
	}
	return nil
}

func (m *testMachine) Seal(dst []byte, items [][]byte) []byte {
	for _, it := range items {
		dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(it))), it...)
	}
	return dst
}

func (m *testMachine) Apply(index, term uint64, entry []byte) error {
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if index <= m.state.Index {
		panic(fmt.Sprintf("entry %d applied after %d", index, m.state.Index))
	}
	if level := raisedTo(entry); m.known > 0 && level > m.known {
		return testLevelError(level)
	}
	m.state.Index, m.state.Term = index, term
	m.setLevel(raisedTo(entry))
	for len(entry) > 0 {
		n := binary.BigEndian.Uint32(entry)
		m.applyItem(entry[4 : 4+n])
		entry = entry[4+n:]
	}
	m.announce()
	return nil
}

// raisedTo finds "level N" in an entry.
func raisedTo(entry []byte) uint32 {
	_, text, _ := bytes.Cut(entry, []byte("level "))
	n, _ := strconv.ParseUint(string(text), 10, 32)
	return uint32(n)
}

func (m *testMachine) setLevel(level uint32) {
	m.state.Level = max(m.state.Level, level)
	m.level.Store(m.state.Level)
}

// testLevelError is a levelError.
type testLevelError uint32

func (e testLevelError) Error() string      { return fmt.Sprintf("level %d is needed", uint32(e)) }
func (e testLevelError) NeedsLevel() uint32 { return uint32(e) }

func (m *testMachine) FeatureLevel() uint32 { return max(1, m.level.Load()) }

func (m *testMachine) applyItem(it []byte) {
	origin, rest := string(it[2:2+it[1]]), it[2+it[1]:]
	number := binary.BigEndian.Uint64(rest)
	switch last := m.state.Last[origin]; {
	case number == last+1:
		m.state.Last[origin] = number
		m.state.Items = append(m.state.Items, string(rest[8:]))
	case number > last+1:
		m.gaps[origin] = last + 1
	}
}

func (m *testMachine) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

type frozenTest struct{ b []byte }

func (f frozenTest) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(f.b)
	return int64(n), err
}
func (frozenTest) Release() {}

func (m *testMachine) Freeze() (Frozen, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := json.Marshal(m.state)
	return frozenTest{b}, err
}

func (m *testMachine) Restore(r io.Reader, live bool) error {
	var s testState
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known > 0 && s.Level > m.known {
		return fmt.Errorf("restoring: %w", testLevelError(s.Level))
	}
	m.state, m.restores = s, append(m.restores, live)
	m.setLevel(s.Level)
	m.announce()
	return nil
}

func (m *testMachine) LiveBytes() int64 { return 1 }

func (m *testMachine) Lead(term uint64) { m.reign(term) }

func (m *testMachine) Follow() {
	m.mu.Lock()
	follow := m.follow
	m.mu.Unlock()
	if follow != nil {
		follow()
	}
	m.reign(0)
}

func (m *testMachine) reign(term uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reigns = append(m.reigns, term)
	m.announce()
}

func (m *testMachine) Beacon() []byte { return []byte("beacon") }

func (m *testMachine) Heard(node string, beacon []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if bytes.Equal(beacon, []byte("beacon")) {
		m.heard[node]++
		m.announce()
	}
}

func (m *testMachine) Lost(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = append(m.lost, node)
	m.announce()
}

func (m *testMachine) Answer(_ context.Context, from string, request []byte) ([]byte, error) {
	if string(request) == "fail" {
		return nil, errors.New("as you wished")
	}
	return []byte(from + " asked " + string(request)), nil
}

func (m *testMachine) Posted(from string, datagram []byte) {
	m.mu.Lock()
	take := m.posted
	m.mu.Unlock()
	if take != nil {
		take(from, datagram)
	}
}

func (m *testMachine) PostsLost(string) {}

func (m *testMachine) Depart(_ context.Context, server string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.departs = append(m.departs, server)
	return nil
}

// Known holds every server that has an item in the state; testItem's origins are names.
func (m *testMachine) Known(server string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.state.Last[nameOf(server)]
	return ok
}

// view returns a copy of the state.
func (m *testMachine) view() testState {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.state
	s.Last, s.Items = maps.Clone(s.Last), append([]string(nil), s.Items...)
	return s
}
