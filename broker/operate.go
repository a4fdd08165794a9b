package broker

import (
	"context"
	"errors"
	"sync"

	"github.com/triagemq/triagemq/fsm"
)

// operatorCallsMax bounds the calls under way at one node.
const operatorCallsMax = 64

// ErrBusy says that too many operators' calls are under way.
var ErrBusy = errors.New("broker: too many calls are under way")

// operators are the calls that come from people rather than connections: commands with Ref.Conn 0, told apart by the number in Ref.Incarnation.
type operators struct {
	lane lane // guarded by pipeline.mu

	mu    sync.Mutex
	last  uint32
	calls map[uint32]chan operatorReply // capacity 1
}

type operatorReply struct {
	effect fsm.Effect
	err    error
}

func newOperators() *operators { return &operators{calls: map[uint32]chan operatorReply{}} }

// Operate carries an operator's command through the log and returns its reply; content fields of the reply are not set. build gets the Ref to use. A refusal
// is a *Refusal; ErrNotAccepting and ErrBusy say that nothing was asked; with ErrOutcomeUnknown or ctx's error it may yet happen. Any goroutine.
func (n *Node) Operate(ctx context.Context, build func(ref fsm.Ref) fsm.Command) (fsm.Effect, error) {
	number, reply, err := n.beginCall(build)
	if err != nil {
		return fsm.Effect{}, err
	}
	defer n.operators.forget(number)
	select {
	case r := <-reply:
		return r.effect, r.err
	case <-ctx.Done():
		return fsm.Effect{}, ctx.Err()
	}
}

func (n *Node) beginCall(build func(ref fsm.Ref) fsm.Command) (uint32, <-chan operatorReply, error) {
	n.applyMu.Lock() // or the boot could end between the check and the push
	defer n.applyMu.Unlock()
	if n.phase() != phaseLive {
		return 0, nil, ErrNotAccepting
	}
	number, reply, err := n.operators.begin()
	if err != nil {
		return 0, nil, err
	}
	command := build(fsm.Ref{Incarnation: number}).Append(nil)
	if err := n.early(command); err != nil {
		n.operators.forget(number)
		return 0, nil, err
	}
	n.pipe.push(&n.operators.lane, command)
	return number, reply, nil
}

func (o *operators) begin() (uint32, <-chan operatorReply, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.calls) >= operatorCallsMax {
		return 0, nil, ErrBusy
	}
	o.last++
	c := make(chan operatorReply, 1)
	o.calls[o.last] = c
	return o.last, c, nil
}

func (o *operators) forget(number uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.calls, number)
}

// settle hands a reply to its call.
func (o *operators) settle(e *fsm.Effect) {
	r := operatorReply{effect: *e}
	r.effect.Exchange, r.effect.RoutingKey, r.effect.Properties, r.effect.Body = nil, nil, nil, nil
	if e.Code != fsm.OK {
		r.err = &Refusal{Code: e.Code, Text: e.Text}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.calls[e.Ref.Incarnation]; ok {
		delete(o.calls, e.Ref.Incarnation)
		c <- r
	}
}

// lost ends all calls: the boot that carried them is over.
func (o *operators) lost() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for number, c := range o.calls {
		delete(o.calls, number)
		c <- operatorReply{err: ErrOutcomeUnknown}
	}
}
