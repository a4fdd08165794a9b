package offline

import (
	"fmt"
	"io"

	"github.com/triagemq/triagemq/broker/arena"
	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/fsm"
)

// replica is the state machine outside a node: cluster.Replica.
type replica struct{ state *fsm.State }

var _ cluster.Replica = (*replica)(nil)

func options() fsm.Options { return fsm.Options{Chunks: arena.New()} }

func newReplica() *replica { return &replica{fsm.New(options())} }

// Restore implements cluster.Replica.
func (r *replica) Restore(from io.Reader) error {
	restored, err := fsm.Restore(options(), from)
	if err != nil {
		return err
	}
	r.state.Discard()
	r.state = restored
	return nil
}

// Apply implements cluster.Replica. The state machine panics on what it cannot apply: an entry of a newer program, or a damaged one.
func (r *replica) Apply(index, _ uint64, entry []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("entry %d cannot be applied: %v", index, p)
		}
	}()
	r.state.Apply(index, entry)
	return nil
}

// Refound implements cluster.Replica.
func (r *replica) Refound(index uint64) error {
	r.state.Refound(index)
	return nil
}

// WriteTo implements cluster.Replica.
func (r *replica) WriteTo(w io.Writer) (int64, error) {
	snapshot := r.state.Freeze()
	defer r.state.Thaw(snapshot)
	return snapshot.WriteTo(w)
}
