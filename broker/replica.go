package broker

import (
	"io"
	"sync"

	"github.com/triagemq/triagemq/fsm"
)

// compactBytes is what one entry's apply may copy of sparse body memory.
const compactBytes = 64 << 10

// replica owns the State and says who may touch it.
type replica struct {
	options fsm.Options

	mu    sync.RWMutex // guards what follows: Apply, Freeze, Thaw and Restore write, views and probes read
	state *fsm.State
	local fsm.Origin
}

func newReplica(options fsm.Options) *replica {
	return &replica{options: options, state: fsm.New(options)}
}

// apply applies an entry; effects go to the sink meanwhile. It returns the state's earliest deadline.
func (r *replica) apply(index uint64, entry []byte) (deadlineMillis int64, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Apply(index, entry)
	r.state.Compact(compactBytes)
	return r.state.NextDeadline()
}

// memoryBytes is what the messages of the state take.
func (r *replica) memoryBytes() (sizeBytes int64) {
	r.view(func(s *fsm.State) { sizeBytes = s.MemoryBytes() })
	return sizeBytes
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

// empty gives the state's memory back before a snapshot takes its place.
func (r *replica) empty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Discard() // a snapshot that is still being written stays readable
	r.state = fsm.New(r.options)
	r.state.SetLocal(r.local)
}

// restore builds a State from a snapshot aside; swap then puts it in the place of the old one.
func (r *replica) restore(from io.Reader) (swap func() uint64, err error) {
	state, err := fsm.Restore(r.options, from)
	if err != nil {
		return nil, err
	}
	return func() uint64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.state.Discard() // a snapshot that is still being written stays readable
		r.state = state
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
	state    *fsm.State // of the snapshot: a restore may have replaced the replica's meanwhile
	snapshot *fsm.Snapshot
}

func (r *replica) freeze() *frozenState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &frozenState{replica: r, state: r.state, snapshot: r.state.Freeze()}
}

// WriteTo implements io.WriterTo; it runs beside Apply.
func (f *frozenState) WriteTo(w io.Writer) (int64, error) { return f.snapshot.WriteTo(w) }

// Release implements Frozen.
func (f *frozenState) Release() {
	f.replica.mu.Lock()
	defer f.replica.mu.Unlock()
	f.state.Thaw(f.snapshot)
}
