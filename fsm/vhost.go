package fsm

import (
	"slices"

	"github.com/triagemq/triagemq/fsm/route"
	"github.com/triagemq/triagemq/fsm/store"
)

// vhost is a name space of exchanges and queues. No operation crosses it.
type vhost struct {
	cold
	serial                        uint64
	name                          string
	description, defaultQueueType string
	tags                          []string
	connectionsMax, queuesMax     int64 // NoLimit: none
	exchanges                     map[string]*exchange
	queues                        map[string]*queue
	policies                      [policyFlavours][]*policy // each in the order in which they are tried

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

func newVHost(serial uint64, name string) *vhost {
	return &vhost{
		serial: serial, name: name, connectionsMax: NoLimit, queuesMax: NoLimit,
		exchanges: make(map[string]*exchange), queues: make(map[string]*queue),
	}
}

func (s *State) createVHost(name string) *vhost {
	v := newVHost(s.nextSerial(), name)
	s.vhosts[name] = v
	s.touch(v)
	for _, b := range builtIn {
		s.addExchange(&exchange{serial: s.nextSerial(), vhost: v, name: b.name, kind: b.kind, durable: true})
	}
	return v
}

// putVHost creates a virtual host or changes what is known about it.
func (s *State) putVHost(c *PutVHost) *refusal {
	if c.Name == "" {
		return refuse(PreconditionFailed, "a virtual host needs a name")
	}
	if t := c.DefaultQueueType; t != "" && t != queueTypeClassic && t != queueTypeQuorum {
		return refuse(PreconditionFailed, "unsupported default queue type '%s'", t)
	}
	v := s.vhosts[c.Name]
	if v == nil {
		v = s.createVHost(c.Name)
		if u := s.users[c.Creator]; u != nil {
			s.allowAll(u, v)
		}
	}
	v.description, v.defaultQueueType, v.tags = c.Description, c.DefaultQueueType, c.Tags
	s.touch(v)
	return nil
}

func (s *State) putVHostLimits(c *PutVHostLimits) *refusal {
	v := s.vhosts[c.VHost]
	if v == nil {
		return noVHost(c.VHost)
	}
	v.connectionsMax, v.queuesMax = max(c.MaxConnections, NoLimit), max(c.MaxQueues, NoLimit)
	s.touch(v)
	return nil
}

func noVHost(name string) *refusal { return refuse(NotFound, "vhost '%s' not found", name) }

func (s *State) deleteVHost(c *DeleteVHost) *refusal {
	v := s.vhosts[c.Name]
	if v == nil {
		return noVHost(c.Name)
	}
	ending := s.sessionsWhere(func(ses *session) bool { return ses.vhost == v })
	for _, ses := range ending {
		s.emit(ses, Effect{
			Kind: SessionFailed, Ref: ses.ref(), Command: KindDeleteVHost,
			Code: Forced, Text: "vhost '" + v.name + "' is deleted",
		})
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
	s.forgetPermissions(v)
	s.forgetPolicies(v)
	s.forgetParameters(v)
	delete(s.vhosts, v.name)
	s.forget(v)
	return nil
}

// serialised is an object with a serial number.
type serialised interface{ serialNumber() uint64 }

func (ses *session) serialNumber() uint64       { return ses.serial }
func (v *vhost) serialNumber() uint64           { return v.serial }
func (u *user) serialNumber() uint64            { return u.serial }
func (p *permission) serialNumber() uint64      { return p.serial }
func (t *topicPermission) serialNumber() uint64 { return t.serial }
func (x *exchange) serialNumber() uint64        { return x.serial }
func (q *queue) serialNumber() uint64           { return q.serial }
func (b *binding) serialNumber() uint64         { return b.serial }
func (c *consumer) serialNumber() uint64        { return c.serial }
func (p *part) serialNumber() uint64            { return p.serial }
func (ch *channel) serialNumber() uint64        { return ch.serial }

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
