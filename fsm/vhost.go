package fsm

import (
	"maps"
	"slices"

	"github.com/triagemq/triagemq/fsm/route"
	"github.com/triagemq/triagemq/fsm/store"
)

// vhost is a name space of exchanges and queues. No operation crosses it.
type vhost struct {
	cold
	serial    uint64
	name      string
	exchanges map[string]*exchange
	queues    map[string]*queue

	// Counts for the views, derived.
	sessions, channels, consumers, bindings int
	meter                                   meter // of the default exchange, too
}

// builtIn are the exchanges of every virtual host but the default one, which is a lookup of queues by name and has no object.
var builtIn = [...]struct {
	name string
	kind route.Kind
}{
	{"amq.direct", route.Direct},
	{"amq.fanout", route.Fanout},
	{"amq.topic", route.Topic},
	{"amq.headers", route.Headers},
	{"amq.match", route.Headers},
}

func (s *State) createVHost(name string) {
	v := &vhost{serial: s.nextSerial(), name: name, exchanges: make(map[string]*exchange), queues: make(map[string]*queue)}
	s.vhosts[name] = v
	s.touch(v)
	for _, b := range builtIn {
		s.addExchange(&exchange{serial: s.nextSerial(), vhost: v, name: b.name, kind: b.kind, durable: true})
	}
}

// applyOperator applies a command of the node itself. Its reply carries the outcome: there is no channel to fail.
func (s *State) applyOperator(o *origin, kind CommandKind, ref Ref, payload []byte) {
	var r *refusal
	switch kind {
	case KindCreateVHost:
		var c CreateVHost
		s.decoded(c.decode(ref, payload))
		if c.Name == "" {
			r = refuse(PreconditionFailed, "a virtual host needs a name")
		} else if s.vhosts[c.Name] == nil {
			s.createVHost(c.Name)
		}
	case KindDeleteVHost:
		var c DeleteVHost
		s.decoded(c.decode(ref, payload))
		if v := s.vhosts[c.Name]; v == nil {
			r = refuse(NotFound, "vhost '%s' not found", c.Name)
		} else {
			s.deleteVHost(v)
		}
	}
	if s.mine != o {
		return
	}
	e := Effect{Kind: Replied, Ref: ref, Command: kind}
	if r != nil {
		e.Code, e.Text = r.code, r.text
	}
	s.emitNode(e)
}

func (s *State) deleteVHost(v *vhost) {
	var ending []*session
	for _, node := range slices.Sorted(maps.Keys(s.origins)) {
		sessions := s.origins[node].sessions
		for _, conn := range slices.Sorted(maps.Keys(sessions)) {
			if ses := sessions[conn]; ses.vhost == v {
				s.emit(ses, Effect{
					Kind: SessionFailed, Ref: ses.ref(), Command: KindDeleteVHost,
					Code: Forced, Text: "vhost '" + v.name + "' is deleted",
				})
				ending = append(ending, ses)
			}
		}
	}
	for _, q := range slices.Backward(bySerial(v.queues)) {
		s.dropQueue(q)
	}
	s.endSessions(ending, store.ReturnConnection)
	for _, x := range slices.Backward(bySerial(v.exchanges)) {
		if !s.isGone(x) { // an auto-delete exchange goes with its last binding
			s.dropExchange(x)
		}
	}
	delete(s.vhosts, v.name)
	s.forget(v)
}

// serialised is an object with a serial number.
type serialised interface{ serialNumber() uint64 }

func (ses *session) serialNumber() uint64 { return ses.serial }
func (v *vhost) serialNumber() uint64     { return v.serial }
func (x *exchange) serialNumber() uint64  { return x.serial }
func (q *queue) serialNumber() uint64     { return q.serial }
func (b *binding) serialNumber() uint64   { return b.serial }
func (c *consumer) serialNumber() uint64  { return c.serial }
func (p *part) serialNumber() uint64      { return p.serial }
func (ch *channel) serialNumber() uint64  { return ch.serial }

func compareSerial[T serialised](object T, serial uint64) int {
	switch n := object.serialNumber(); {
	case n < serial:
		return -1
	case n > serial:
		return 1
	}
	return 0
}

// withoutSerial removes an object from a list in order of serial, if it is there. What ends with very many objects ends the youngest first: each is then the
// last of its lists and costs no move.
func withoutSerial[T serialised](list []T, object T) []T {
	i, ok := slices.BinarySearchFunc(list, object.serialNumber(), compareSerial)
	if !ok {
		return list
	}
	return slices.Delete(list, i, i+1)
}

// bySerial lists objects in order of creation.
func bySerial[K comparable, T serialised](objects map[K]T) []T {
	list := make([]T, 0, len(objects))
	//fsm:unordered sorted below
	for _, o := range objects {
		list = append(list, o)
	}
	return sortBySerial(list)
}

func sortBySerial[T serialised](list []T) []T {
	slices.SortFunc(list, func(a, b T) int { return compareSerial(a, b.serialNumber()) })
	return list
}
