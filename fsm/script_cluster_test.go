package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// scriptCluster runs every entry on three replicas for each origin of the script and fails the test where they differ in effects, digest, deadline or
// snapshot bytes. Invariants are checked after every entry.
type scriptCluster struct {
	t            *testing.T
	at           string // file:line, for failures
	index        uint64
	nowMillis    int64
	replicas     []*scriptReplica
	origins      []Origin
	lastSeq      map[Origin]uint64
	incarnations map[channelOf]uint32 // of the channels in use
	lastOf       map[channelOf]uint32 // of a connection: the last incarnation given (channel 0)
	lastEntry    []byte
	lastSnapshot []byte
	limits       limits
}

// channelOf is a channel number of a connection.
type channelOf struct {
	origin  Origin
	conn    uint32
	channel uint16
}

// replicaStyle is what happens to a replica between entries, which must not show.
type replicaStyle int

const (
	stylePlain    replicaStyle = iota
	styleRestored              // replaced by what Restore makes of its snapshot, after every entry
	styleFrozen                // a snapshot is taken before each entry and written out after it
	styles
)

type scriptReplica struct {
	style   replicaStyle
	origin  Origin
	state   *State
	effects []string
	lastSeq uint64 // of BatchApplied
}

// Emit implements Sink. That a batch was applied is not worth a line: checkLastSeq holds it against the state.
func (r *scriptReplica) Emit(e *Effect) {
	if e.Kind == BatchApplied {
		r.lastSeq = e.Seq
		return
	}
	r.effects = append(r.effects, describeEffect(e))
}

func (r *scriptReplica) options() Options { return Options{Sink: r, Check: true} }

func (r *scriptReplica) name() string {
	return fmt.Sprintf("replica %d of %s/%d", r.style, r.origin.Node, r.origin.Boot)
}

const scriptStartMillis = 1_000_000

func newScriptCluster(t *testing.T, origins []Origin) *scriptCluster {
	c := &scriptCluster{
		t: t, nowMillis: scriptStartMillis, origins: origins,
		lastSeq: map[Origin]uint64{}, incarnations: map[channelOf]uint32{}, lastOf: map[channelOf]uint32{}, limits: defaultLimits(),
	}
	for _, o := range origins {
		for style := range styles {
			r := &scriptReplica{style: style, origin: o}
			r.state = New(r.options())
			r.state.SetLocal(o)
			c.replicas = append(c.replicas, r)
		}
	}
	return c
}

// apply applies an entry everywhere and returns the effects, origin by origin in the order of their opening, each origin's in their own order.
func (c *scriptCluster) apply(entry []byte) (output string) {
	c.index++
	for _, r := range c.replicas {
		c.applyOn(r, c.index, entry)
	}
	for _, o := range c.origins {
		of := c.replicasOf(o)
		for _, r := range of[1:] {
			if !slices.Equal(r.effects, of[0].effects) {
				c.t.Fatalf("%s: %s has other effects than %s:\n%s\n\n%s", c.at, r.name(), of[0].name(),
					strings.Join(r.effects, "\n"), strings.Join(of[0].effects, "\n"))
			}
		}
		for _, line := range of[0].effects {
			output += originName(o) + ": " + line + "\n"
		}
	}
	c.compare()
	return output
}

func (c *scriptCluster) applyOn(r *scriptReplica, index uint64, entry []byte) {
	r.effects = nil
	if r.style != styleFrozen {
		r.state.Apply(index, entry)
		return
	}
	snapshot := r.state.Freeze()
	r.state.Apply(index, entry)
	if written := c.write(snapshot); c.lastSnapshot != nil && !bytes.Equal(written, c.lastSnapshot) {
		c.t.Fatalf("%s: a snapshot taken before the entry was written after it and shows something of it", c.at)
	}
	r.state.Thaw(snapshot)
}

// compare holds all replicas against the first.
func (c *scriptCluster) compare() {
	c.index++
	mark := AppendEntry(nil, c.nowMillis, [][]byte{AppendMark(nil)})
	first := c.replicas[0].state
	var firstSnapshot []byte
	for i, r := range c.replicas {
		effects := r.effects
		r.state.Apply(c.index, mark)
		r.effects = effects
		if r.state.Applied() != c.index {
			c.t.Fatalf("%s: %s applied %d, not %d", c.at, r.name(), r.state.Applied(), c.index)
		}
		snapshot := c.snapshot(r.state)
		if i == 0 {
			firstSnapshot = snapshot
		}
		c.compareOne(r, first, snapshot, firstSnapshot)
		c.checkLastSeq(r)
		if r.style == styleRestored {
			c.restore(r, snapshot)
		}
	}
	c.lastSnapshot = firstSnapshot
}

func (c *scriptCluster) compareOne(r *scriptReplica, first *State, snapshot, firstSnapshot []byte) {
	_, hash := r.state.Marked()
	if _, want := first.Marked(); hash != want {
		c.t.Fatalf("%s: %s has digest %x, the first %x", c.at, r.name(), hash, want)
	}
	if !bytes.Equal(snapshot, firstSnapshot) {
		c.t.Fatalf("%s: %s writes another snapshot than the first (%d and %d bytes, differing from %d)", c.at, r.name(),
			len(snapshot), len(firstSnapshot), firstDifference(snapshot, firstSnapshot))
	}
	deadline, due := r.state.NextDeadline()
	if want, wantDue := first.NextDeadline(); deadline != want || due != wantDue {
		c.t.Fatalf("%s: %s is due at %d %v, the first at %d %v", c.at, r.name(), deadline, due, want, wantDue)
	}
	if r.state.NowMillis() != first.NowMillis() {
		c.t.Fatalf("%s: %s has time %d, the first %d", c.at, r.name(), r.state.NowMillis(), first.NowMillis())
	}
}

// checkLastSeq: the origin was told of every batch of its own that the state applied.
func (c *scriptCluster) checkLastSeq(r *scriptReplica) {
	info, ok := r.state.Origin(r.origin.Node)
	if ok && info.Boot == r.origin.Boot && info.Last != r.lastSeq {
		c.t.Fatalf("%s: %s was told of batch %d, the state applied %d", c.at, r.name(), r.lastSeq, info.Last)
	}
}

func (c *scriptCluster) restore(r *scriptReplica, snapshot []byte) {
	restored, err := Restore(r.options(), bytes.NewReader(snapshot))
	if err != nil {
		c.t.Fatalf("%s: restore: %v", c.at, err)
	}
	if err := restored.Check(); err != nil {
		c.t.Fatalf("%s: restored: %v", c.at, err)
	}
	restored.limits = c.limits
	restored.SetLocal(r.origin)
	restored.marked = r.state.marked // a restored replica does not vouch for an older Mark; this one computed it
	r.state = restored
}

func (c *scriptCluster) snapshot(s *State) []byte {
	snapshot := s.Freeze()
	defer s.Thaw(snapshot)
	return c.write(snapshot)
}

func (c *scriptCluster) write(snapshot *Snapshot) []byte {
	var b bytes.Buffer
	n, err := snapshot.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		c.t.Fatalf("%s: the snapshot says it wrote %d of %d bytes, error %v", c.at, n, b.Len(), err)
	}
	return b.Bytes()
}

func (c *scriptCluster) replicasOf(o Origin) (of []*scriptReplica) {
	for _, r := range c.replicas {
		if r.origin == o {
			of = append(of, r)
		}
	}
	return of
}

// originName is the node alone for its first boot.
func originName(o Origin) string {
	if o.Boot == 1 {
		return o.Node
	}
	return fmt.Sprintf("%s/%d", o.Node, o.Boot)
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
