package fsm

import (
	"encoding/binary"
	"maps"
	"slices"
)

// The canonical encodings of objects, for snapshots and digests. Integers are varints, strings carry their length; each object begins with its kind.
// Derived fields are left out. restore.go reads what this file writes, in the same order.

// Kinds of objects in encodings.
const (
	objectHead uint8 = iota + 1
	objectOrigin
	objectVHost
	objectExchange
	objectQueue
	objectBinding
	objectSession
	objectChannel
	objectConsumer
	objectUser
	objectPermission
	objectTopicPermission
	objectPolicy
	objectParameter
)

// Kinds of remainders in encodings.
const (
	remainderPart uint8 = iota + 1
	remainderEvict
	remainderSettle
	remainderShed
)

func putUint(dst []byte, n uint64) []byte { return binary.AppendUvarint(dst, n) }

func putInt(dst []byte, n int64) []byte { return binary.AppendVarint(dst, n) }

func putText[S string | []byte](dst []byte, s S) []byte {
	return append(putUint(dst, uint64(len(s))), s...)
}

func putTexts(dst []byte, list []string) []byte {
	dst = putUint(dst, uint64(len(list)))
	for _, s := range list {
		dst = putText(dst, s)
	}
	return dst
}

// encodeObjects writes the whole state but for the messages.
func (s *State) encodeObjects(dst []byte) []byte {
	dst = putUint(dst, s.applied)
	dst = s.encodeHead(dst)
	origins := make([]*origin, 0, len(s.origins))
	for _, node := range slices.Sorted(maps.Keys(s.origins)) {
		origins = append(origins, s.origins[node])
	}
	dst = encodeAll(dst, origins)
	dst = encodeAll(dst, bySerial(s.vhosts))
	dst = s.encodeUsers(dst)
	dst = encodeAll(dst, s.sortedPolicies())
	dst = encodeAll(dst, s.sortedParameters())
	all := s.gather()
	dst = encodeAll(dst, all.sessions)
	dst = encodeAll(dst, all.exchanges)
	dst = encodeAll(dst, all.queues)
	dst = encodeAll(dst, all.bindings)
	dst = encodeAll(dst, all.channels)
	dst = encodeAll(dst, all.consumers)
	return s.encodeNext(dst)
}

func encodeAll[T object](dst []byte, objects []T) []byte {
	dst = putUint(dst, uint64(len(objects)))
	for _, o := range objects {
		dst = o.encode(dst)
	}
	return dst
}

// everything is all objects, each kind in order of serial.
type everything struct {
	sessions  []*session
	exchanges []*exchange
	queues    []*queue
	bindings  []*binding
	channels  []*channel
	consumers []*consumer
}

func (s *State) gather() (all everything) {
	//fsm:unordered sorted by serial below
	for _, o := range s.origins {
		all.sessions = append(all.sessions, bySerial(o.sessions)...)
	}
	for _, v := range bySerial(s.vhosts) {
		all.exchanges = append(all.exchanges, bySerial(v.exchanges)...)
		all.queues = append(all.queues, bySerial(v.queues)...)
	}
	for _, x := range all.exchanges {
		all.bindings = append(all.bindings, bySerial(x.out)...)
	}
	for _, ses := range all.sessions {
		all.channels = append(all.channels, bySerial(ses.channels)...)
	}
	for _, q := range all.queues {
		all.consumers = append(all.consumers, q.consumers...)
	}
	sortBySerial(all.sessions)
	sortBySerial(all.exchanges)
	sortBySerial(all.queues)
	sortBySerial(all.bindings)
	sortBySerial(all.channels)
	sortBySerial(all.consumers)
	return all
}

// encodeHead writes what belongs to no object: counters and work left over.
func (s *State) encodeHead(dst []byte) []byte {
	dst = append(dst, objectHead)
	dst = putInt(dst, s.nowMillis)
	dst = putUint(dst, uint64(s.level))
	dst = putUint(dst, s.lastSerial)
	dst = putUint(dst, s.lastDelivery)
	dst = append(dst, bits(s.usersInitialised))
	var orphans []*part
	//fsm:unordered sorted by serial below
	for _, p := range s.parts {
		if p.queue == nil && p.exchange == nil {
			orphans = append(orphans, p)
		}
	}
	dst = encodeParts(dst, sortBySerial(orphans))
	dst = putUint(dst, uint64(len(s.remainders)))
	for _, r := range s.remainders {
		dst = r.encode(dst)
	}
	return s.encodeNextHead(dst)
}

func (r *remainder) encode(dst []byte) []byte {
	switch {
	case r.part != nil:
		return putUint(append(dst, remainderPart), r.part.serial)
	case r.evicted != 0:
		return putUint(putUint(append(dst, remainderEvict), r.channelSerial), r.evicted)
	case r.crowdedSerial != 0:
		return putUint(append(dst, remainderShed), r.crowdedSerial)
	}
	dst = putUint(append(dst, remainderSettle), r.channelSerial)
	return append(putUint(dst, r.upTo), uint8(r.how))
}

func encodeParts(dst []byte, parts []*part) []byte {
	dst = putUint(dst, uint64(len(parts)))
	for _, p := range parts {
		dst = putUint(dst, p.serial)
		dst = append(dst, bits(p.draining))
		dst = putUint(dst, uint64(len(p.parked)))
		for _, e := range p.parked {
			dst = append(putUint(dst, e.delivery), uint8(e.cause))
		}
	}
	return dst
}

func (o *origin) encode(dst []byte) []byte {
	dst = append(dst, objectOrigin)
	dst = putText(dst, o.node)
	dst = putUint(dst, o.boot)
	dst = append(dst, bits(o.open))
	return putUint(dst, o.last)
}

func (v *vhost) encode(dst []byte) []byte {
	dst = putText(putUint(append(dst, objectVHost), v.serial), v.name)
	dst = putText(dst, v.description)
	dst = putText(dst, v.defaultQueueType)
	dst = putTexts(dst, v.tags)
	return putInt(putInt(dst, v.connectionsMax), v.queuesMax)
}

// encodeUsers writes the users, then their permissions, each kind in order of serial.
func (s *State) encodeUsers(dst []byte) []byte {
	users := bySerial(s.users)
	var permissions []*permission
	var topics []*topicPermission
	for _, u := range users {
		permissions = append(permissions, bySerial(u.permissions)...)
		//fsm:unordered sorted by serial below
		for _, byExchange := range u.topics {
			topics = append(topics, bySerial(byExchange)...)
		}
	}
	dst = encodeAll(dst, users)
	dst = encodeAll(dst, sortBySerial(permissions))
	return encodeAll(dst, sortBySerial(topics))
}

func (u *user) encode(dst []byte) []byte {
	dst = putText(putUint(append(dst, objectUser), u.serial), u.name)
	dst = putText(putText(dst, u.hash), u.algorithm)
	dst = putTexts(dst, u.tags)
	return putInt(putInt(dst, u.connectionsMax), u.channelsMax)
}

func (p *permission) encode(dst []byte) []byte {
	dst = putUint(append(dst, objectPermission), p.serial)
	dst = putText(putText(dst, p.user.name), p.vhost.name)
	return putText(putText(putText(dst, p.configure.source), p.write.source), p.read.source)
}

func (t *topicPermission) encode(dst []byte) []byte {
	dst = putUint(append(dst, objectTopicPermission), t.serial)
	dst = putText(putText(putText(dst, t.user.name), t.vhost.name), t.exchange)
	return putText(putText(dst, t.writeSource), t.readSource)
}

func (p *policy) encode(dst []byte) []byte {
	dst = putText(append(dst, objectPolicy), p.vhost.name)
	dst = putText(append(dst, uint8(p.flavour), uint8(p.subjects)), p.name)
	dst = putText(dst, p.source)
	dst = putInt(dst, p.priority)
	return putText(dst, p.encoded)
}

func (p *parameter) encode(dst []byte) []byte {
	dst = putText(append(dst, objectParameter), p.vhost)
	dst = putText(dst, p.component)
	dst = putText(dst, p.name)
	return putText(dst, p.value)
}

func (x *exchange) encode(dst []byte) []byte {
	dst = putUint(append(dst, objectExchange), x.serial)
	dst = putText(dst, x.vhost.name)
	dst = putText(dst, x.name)
	dst = append(dst, uint8(x.kind), bits(x.durable, x.autoDelete, x.internal, x.delayed != nil))
	return putText(dst, x.arguments)
}

func (q *queue) encode(dst []byte) []byte {
	dst = putUint(append(dst, objectQueue), q.serial)
	dst = putText(dst, q.vhost.name)
	dst = putText(dst, q.name)
	dst = append(dst, bits(q.durable, q.autoDelete, q.hadConsumer))
	dst = putUint(dst, q.owner.serialOrZero())
	dst = putText(dst, q.arguments)
	dst = putInt(dst, q.usedMillis)
	dst = putInt(dst, q.deadlineMillis)
	dst = encodeParts(dst, q.parts)
	exclusive := uint64(0)
	if q.exclusive != nil {
		exclusive = q.exclusive.serial
	}
	dst = putUint(dst, exclusive)
	active := uint64(0)
	if q.active != nil {
		active = q.active.serial
	}
	dst = putUint(dst, active)
	for c := q.waiting.first; c != nil; c = c.next {
		dst = putUint(dst, c.serial)
	}
	return putUint(dst, 0) // no consumer's serial: the end of the ring
}

func (ses *session) serialOrZero() uint64 {
	if ses == nil {
		return 0
	}
	return ses.serial
}

func (b *binding) encode(dst []byte) []byte {
	dst = putUint(append(dst, objectBinding), b.serial)
	dst = putUint(dst, b.source.serial)
	dst = putUint(dst, uint64(b.dest.dest()))
	dst = putText(dst, b.key)
	return putText(dst, b.arguments)
}

func (ses *session) encode(dst []byte) []byte {
	dst = putUint(append(dst, objectSession), ses.serial)
	dst = putText(dst, ses.origin.node)
	dst = putUint(dst, uint64(ses.conn))
	dst = putText(dst, ses.vhost.name)
	dst = putText(dst, ses.user)
	dst = putText(dst, ses.name)
	dst = putText(dst, ses.details)
	return append(dst, bits(ses.cancelNotify))
}

func (ch *channel) encode(dst []byte) []byte {
	dst = putUint(append(dst, objectChannel), ch.serial)
	dst = putUint(dst, ch.session.serial)
	dst = putUint(dst, uint64(ch.number))
	dst = putUint(dst, uint64(ch.incarnation))
	dst = append(dst, bits(ch.failed))
	dst = putUint(dst, ch.lastTag)
	dst = putUint(dst, uint64(ch.limitEach))
	dst = putUint(dst, uint64(ch.limitShared))
	dst = putUint(dst, ch.turn)
	dst = putInt(dst, ch.deadlineMillis)
	dst = encodeUints(dst, ch.evicting)
	return encodeUints(dst, ch.unacked.Voids())
}

func encodeUints(dst []byte, numbers []uint64) []byte {
	dst = putUint(dst, uint64(len(numbers)))
	for _, n := range numbers {
		dst = putUint(dst, n)
	}
	return dst
}

func (c *consumer) encode(dst []byte) []byte {
	dst = putUint(append(dst, objectConsumer), c.serial)
	dst = putUint(dst, c.channel.serial)
	dst = putUint(dst, c.queue.serial)
	dst = putText(dst, c.tag)
	dst = append(dst, bits(c.noAck, c.ownTimeout))
	dst = putInt(dst, c.priority)
	dst = putUint(dst, uint64(c.limit))
	dst = putInt(dst, c.grantMessages)
	dst = putInt(dst, c.grantBytes)
	return putInt(dst, c.timeoutMillis)
}
