package fsm

import (
	"cmp"
	"maps"
	"slices"
)

// Views copy what they return.

// QueueView is a queue as operators see it.
type QueueView struct {
	VHost, Name                    string
	Serial                         uint64
	Durable, Exclusive, AutoDelete bool
	Arguments                      []byte // encoded table
	Ready, Held                    int
	Delayed                        int // wait for their retry, neither ready nor held
	Bytes                          int64
	Consumers                      int
	Owner                          string // connection name of an exclusive queue
	Policy                         AppliedPolicy
}

// SessionView is a connection in the replicated state.
type SessionView struct {
	Origin            Origin
	Conn              uint32
	VHost, User, Name string
	Details           []byte // encoded table, as the door filled it; nil is empty
	Channels          int
}

// Counts are totals for overviews.
type Counts struct {
	VHosts, Exchanges, Queues, Bindings, Sessions, Channels, Consumers int
	Ready, Held                                                        int
}

// Queues lists the queues of a virtual host by name ("" = all, by virtual host and name).
func (s *State) Queues(vhost string) []QueueView {
	var views []QueueView
	for _, name := range slices.Sorted(maps.Keys(s.vhosts)) {
		if vhost != "" && vhost != name {
			continue
		}
		queues := s.vhosts[name].queues
		for _, name := range slices.Sorted(maps.Keys(queues)) {
			views = append(views, queues[name].view())
		}
	}
	return views
}

// Queue returns one.
func (s *State) Queue(vhost, name string) (QueueView, bool) {
	v := s.vhosts[vhost]
	if v == nil || v.queues[name] == nil {
		return QueueView{}, false
	}
	return v.queues[name].view(), true
}

func (q *queue) view() QueueView {
	view := QueueView{
		VHost: q.vhost.name, Name: q.name, Serial: q.serial, Durable: q.durable, Exclusive: q.owner != nil, AutoDelete: q.autoDelete,
		Arguments: slices.Clone(q.arguments), Ready: q.ready(), Held: q.held(), Delayed: q.delayed(), Bytes: q.bytes(), Consumers: len(q.consumers),
		Policy: q.applied(),
	}
	if q.owner != nil {
		view.Owner = q.owner.name
	}
	return view
}

// Sessions lists the sessions of all origins, by node and connection.
func (s *State) Sessions() []SessionView {
	var views []SessionView
	//fsm:unordered sorted below
	for _, o := range s.origins {
		//fsm:unordered sorted below
		for _, ses := range o.sessions {
			views = append(views, SessionView{
				Origin: o.name(), Conn: ses.conn, VHost: ses.vhost.name, User: ses.user, Name: ses.name,
				Details: slices.Clone(ses.details), Channels: len(ses.channels),
			})
		}
	}
	slices.SortFunc(views, func(a, b SessionView) int {
		return cmp.Or(cmp.Compare(a.Origin.Node, b.Origin.Node), cmp.Compare(a.Conn, b.Conn))
	})
	return views
}

// Counts returns totals. O(virtual hosts). Messages that a purge or deletion has left to remainders are not counted as ready.
func (s *State) Counts() Counts {
	stats := s.store.Stats()
	c := Counts{VHosts: len(s.vhosts), Ready: stats.Entries - stats.Held - stats.Delayed, Held: stats.Held}
	//fsm:unordered a sum
	for _, v := range s.vhosts {
		c.Exchanges += len(v.exchanges) + 1 // the default one has no object
		c.Queues += len(v.queues)
		c.Bindings += v.bindings
		c.Sessions += v.sessions
		c.Channels += v.channels
		c.Consumers += v.consumers
	}
	for _, r := range s.remainders {
		if r.part != nil && r.part.draining {
			c.Ready -= r.part.messages.Ready()
		}
	}
	return c
}
