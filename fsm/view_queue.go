package fsm

import (
	"maps"
	"slices"
)

// ObjectName names a queue among all that there were.
type ObjectName struct {
	VHost, Name string
	Serial      uint64
}

// QueueNames appends the names of the queues of a virtual host ("" = all), in no order: who wants thousands of queues asks for names first and then for
// QueueDetail, some at a time, so as not to hold up Apply for long.
func (s *State) QueueNames(vhost string, into []ObjectName) []ObjectName {
	//fsm:unordered said so
	for _, v := range s.vhosts {
		if vhost != "" && vhost != v.name {
			continue
		}
		//fsm:unordered said so
		for _, q := range v.queues {
			into = append(into, ObjectName{VHost: v.name, Name: q.name, Serial: q.serial})
		}
	}
	return into
}

// QueueDetail is a queue with what is known of it beyond the replicated state.
type QueueDetail struct {
	QueueView
	Meter             MeterView
	Quorum            bool       // declared with x-queue-type quorum
	ExclusiveConsumer string     // tag
	ActiveConsumer    string     // tag of the single active one
	OwnerSession      SessionKey // of an exclusive queue
}

// QueueDetail returns one; it must still have the serial, unless that is 0.
func (s *State) QueueDetail(name ObjectName) (QueueDetail, bool) {
	v := s.vhosts[name.VHost]
	if v == nil {
		return QueueDetail{}, false
	}
	q := v.queues[name.Name]
	if q == nil || name.Serial != 0 && q.serial != name.Serial {
		return QueueDetail{}, false
	}
	d := QueueDetail{QueueView: q.view(), Meter: q.meter.view(), Quorum: q.isQuorum()}
	if q.exclusive != nil {
		d.ExclusiveConsumer = q.exclusive.tag
	}
	if q.active != nil {
		d.ActiveConsumer = q.active.tag
	}
	if q.owner != nil {
		d.OwnerSession = q.owner.key()
	}
	return d, true
}

func (q *queue) isQuorum() bool {
	kind, _ := tableOf(q.arguments).Get(argQueueType)
	return kind == queueTypeQuorum
}

// VHostCounts are the totals of one virtual host.
type VHostCounts struct {
	Name string
	Counts
	Meter MeterView
}

// VHostCounts returns the totals of a virtual host. O(queues).
func (s *State) VHostCounts(vhost string) (VHostCounts, bool) {
	v := s.vhosts[vhost]
	if v == nil {
		return VHostCounts{}, false
	}
	c := VHostCounts{Name: v.name, Meter: v.meter.view(), Counts: v.objects()}
	//fsm:unordered a sum
	for _, q := range v.queues {
		c.Ready += q.ready()
		c.Held += q.held()
	}
	return c, true
}

func (v *vhost) objects() Counts {
	return Counts{
		VHosts: 1, Exchanges: len(v.exchanges) + 1, Queues: len(v.queues), Bindings: v.bindings, // the default exchange has no object
		Sessions: v.sessions, Channels: v.channels, Consumers: v.consumers,
	}
}

// VHostNames lists all virtual hosts by name.
func (s *State) VHostNames() []string { return slices.Sorted(maps.Keys(s.vhosts)) }
