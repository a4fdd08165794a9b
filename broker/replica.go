package broker

import (
	"io"
	"sync"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/store"
)

// compactBytes is what one entry's apply may copy of sparse body memory.
const compactBytes = 64 << 10

// replica owns the State and says who may touch it.
type replica struct {
	options fsm.Options // Chunks is replaced for each State

	mu     sync.RWMutex // guards what follows: Apply, Freeze, Thaw and Restore write, views and probes read
	state  *fsm.State
	bodies *bodies // of state
	local  fsm.Origin
}

func newReplica(options fsm.Options) *replica {
	r := &replica{options: options}
	r.bodies = newBodies(options.Chunks)
	r.state = fsm.New(r.with(r.bodies))
	return r
}

func (r *replica) with(a *bodies) fsm.Options {
	o := r.options
	o.Chunks = a
	return o
}

// apply applies an entry; effects go to the sink meanwhile. It returns the state's earliest deadline.
func (r *replica) apply(index uint64, entry []byte) (deadlineMillis int64, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Apply(index, entry)
	r.state.Compact(compactBytes)
	return r.state.NextDeadline()
}

func (r *replica) view(f func(*fsm.State)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	f(r.state)
}

func (r *replica) setLocal(o fsm.Origin) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.local = o
	r.state.SetLocal(o)
}

// restore builds a State from a snapshot aside and then puts it in the place of the old one.
func (r *replica) restore(from io.Reader) (swap func() uint64, err error) {
	a := newBodies(r.options.Chunks)
	state, err := fsm.Restore(r.with(a), from)
	if err != nil {
		a.retire()
		return nil, err
	}
	return func() uint64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bodies.retire()
		r.state, r.bodies = state, a
		r.state.SetLocal(r.local)
		return r.state.Applied()
	}, nil
}

// Frozen is a captured state; Release once, after WriteTo.
type Frozen interface {
	io.WriterTo
	Release()
}

type frozenState struct {
	replica  *replica
	state    *fsm.State
	bodies   *bodies
	snapshot *fsm.Snapshot
}

func (r *replica) freeze() *frozenState {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies.pins++
	return &frozenState{replica: r, state: r.state, bodies: r.bodies, snapshot: r.state.Freeze()}
}

// WriteTo implements io.WriterTo; it runs beside Apply.
func (f *frozenState) WriteTo(w io.Writer) (int64, error) { return f.snapshot.WriteTo(w) }

// Release implements Frozen. The State may have been replaced meanwhile: its memory stays until here.
func (f *frozenState) Release() {
	f.replica.mu.Lock()
	defer f.replica.mu.Unlock()
	f.state.Thaw(f.snapshot)
	f.bodies.unpin()
}

// bodies is the body memory of one State, so that it can be given back when a restore replaces the State: it may lie outside the Go heap. Guarded by
// replica.mu, but while its State is being built.
type bodies struct {
	from    store.Chunks
	chunks  map[*byte][]byte
	pins    int // frozen views that may still read
	retired bool
}

func newBodies(from store.Chunks) *bodies { return &bodies{from: from, chunks: map[*byte][]byte{}} }

// Alloc implements store.Chunks.
func (a *bodies) Alloc(sizeBytes int) []byte {
	c := a.from.Alloc(sizeBytes)
	if len(c) > 0 {
		a.chunks[&c[0]] = c
	}
	return c
}

// Free implements store.Chunks.
func (a *bodies) Free(chunk []byte) {
	if len(chunk) > 0 {
		delete(a.chunks, &chunk[0])
	}
	a.from.Free(chunk)
}

func (a *bodies) retire() {
	a.retired = true
	a.freeAll()
}

func (a *bodies) unpin() {
	a.pins--
	a.freeAll()
}

func (a *bodies) freeAll() {
	if !a.retired || a.pins > 0 {
		return
	}
	for _, c := range a.chunks {
		a.from.Free(c)
	}
	clear(a.chunks)
}
