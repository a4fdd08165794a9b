package fsm

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/route"
	"github.com/triagemq/triagemq/fsm/store"
)

var (
	errSnapshotShort     = errors.New("an object ends early")
	errSnapshotReference = errors.New("an object refers to what is not there")
	errSnapshotValue     = errors.New("a value is out of its range")
)

// snapshotReader reads what encode.go writes. After the first fault every field reads as zero.
type snapshotReader struct {
	b   []byte
	err error
}

func (r *snapshotReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *snapshotReader) uint(high uint64) uint64 {
	n, size := binary.Uvarint(r.b)
	if r.err != nil || size <= 0 {
		r.fail(errSnapshotShort)
		return 0
	}
	r.b = r.b[size:]
	if n > high {
		r.fail(errSnapshotValue)
		return 0
	}
	return n
}

func (r *snapshotReader) int() int64 {
	n, size := binary.Varint(r.b)
	if r.err != nil || size <= 0 {
		r.fail(errSnapshotShort)
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *snapshotReader) uint8() uint8 {
	if r.err != nil || len(r.b) == 0 {
		r.fail(errSnapshotShort)
		return 0
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b
}

func (r *snapshotReader) kind(want uint8) {
	if r.uint8() != want {
		r.fail(errSnapshotValue)
	}
}

// bool is a flag of a byte that bits wrote.
func (r *snapshotReader) flags() func(bit int) bool {
	b := r.uint8()
	return func(bit int) bool { return b>>bit&1 != 0 }
}

func (r *snapshotReader) bytes() []byte {
	n := r.uint(uint64(len(r.b)))
	if r.err != nil || n > uint64(len(r.b)) {
		r.fail(errSnapshotShort)
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// texts reads a list of strings; the empty one is nil.
func (r *snapshotReader) texts() []string {
	var list []string
	for n := r.count(); n > 0 && r.err == nil; n-- {
		list = append(list, r.text())
	}
	return list
}

func (r *snapshotReader) text() string { return string(r.bytes()) }

// table reads an encoded field table, nil where it is empty.
func (r *snapshotReader) table() []byte {
	b := slices.Clone(r.bytes())
	if len(b) == 0 {
		return nil
	}
	if _, rest, err := content.DecodeTable(b); err != nil || len(rest) > 0 {
		r.fail(errSnapshotValue)
		return nil
	}
	return b
}

// count reads the length of a list; each element has a byte at least, so that what is allocated for it is bounded by what is there.
func (r *snapshotReader) count() int { return int(r.uint(uint64(len(r.b)))) }

// tags reads delivery tags, which ascend and have been given out.
func (r *snapshotReader) tags(last uint64) []uint64 {
	tags := r.uints()
	for i, tag := range tags {
		if tag == 0 || tag > last || i > 0 && tag <= tags[i-1] {
			r.fail(errSnapshotValue)
		}
	}
	return tags
}

func (r *snapshotReader) uints() []uint64 {
	var numbers []uint64
	for n := r.count(); n > 0 && r.err == nil; n-- {
		numbers = append(numbers, r.uint(math.MaxUint64))
	}
	return numbers
}

// restorer builds a State from its objects. Objects come after what they refer to.
type restorer struct {
	snapshotReader
	s         *State
	vhosts    map[string]*vhost
	sessions  map[uint64]*session
	channels  map[uint64]*channel
	consumers map[uint64]*consumer
	rings     map[*queue][]uint64 // consumers waiting, not yet read
	exclusive map[*queue]uint64
	active    map[*queue]uint64
	voids     map[*channel][]uint64
	parked    map[uint64]*parked // by delivery id
	settling  map[uint64][]*remainder
}

func (s *State) restoreObjects(b []byte) error {
	r := &restorer{
		snapshotReader: snapshotReader{b: b}, s: s, vhosts: s.vhosts, sessions: make(map[uint64]*session), channels: make(map[uint64]*channel),
		consumers: make(map[uint64]*consumer), rings: make(map[*queue][]uint64), exclusive: make(map[*queue]uint64), active: make(map[*queue]uint64),
		voids: make(map[*channel][]uint64), parked: make(map[uint64]*parked), settling: make(map[uint64][]*remainder),
	}
	s.applied = r.uint(math.MaxUint64)
	remainders := r.head()
	r.each(r.origin)
	r.each(r.vhost)
	r.each(r.user)
	r.each(r.permission)
	r.each(r.topicPermission)
	r.each(r.policy)
	r.each(r.parameter)
	r.each(r.session)
	r.each(r.exchange)
	r.each(r.queue)
	r.each(r.binding)
	r.each(r.channel)
	r.each(r.consumer)
	r.next()
	if len(r.b) > 0 {
		r.fail(errTrailing)
	}
	if r.err == nil {
		r.link(remainders)
	}
	if r.err == nil {
		r.takeHolds()
	}
	return r.err
}

func (r *restorer) each(read func()) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		read()
	}
}

// remainderRecord is a remainder as read; what it refers to comes later.
type remainderRecord struct {
	kind      uint8
	serial, n uint64
	how       settlement
}

func (r *restorer) head() []remainderRecord {
	s := r.s
	r.kind(objectHead)
	s.nowMillis = r.int()
	s.level = uint32(r.uint(math.MaxUint32))
	if s.level < 1 {
		r.fail(errSnapshotValue)
	}
	if s.level > FeatureLevelMax {
		r.fail(&LevelError{Level: s.level})
	}
	s.lastSerial = r.uint(math.MaxUint64)
	s.lastDelivery = r.uint(math.MaxUint64)
	s.usersInitialised = r.flags()(0)
	r.parts(nil)
	var records []remainderRecord
	r.each(func() {
		record := remainderRecord{kind: r.uint8(), serial: r.uint(math.MaxUint64)}
		if record.kind != remainderPart && record.kind != remainderShed {
			record.n = r.uint(math.MaxUint64)
		}
		if record.kind == remainderSettle {
			record.how = settlement(r.uint8())
		}
		records = append(records, record)
	})
	r.nextHead()
	return records
}

func (r *restorer) parts(q *queue) {
	r.each(func() {
		serial := r.uint(r.s.lastSerial)
		if r.err != nil || serial == 0 || r.s.parts[serial] != nil {
			r.fail(errSnapshotReference)
			return
		}
		p := &part{serial: serial, messages: r.s.store.Queue(serial), queue: q}
		r.s.parts[serial] = p
		if q != nil {
			q.parts = append(q.parts, p)
		}
		p.draining = r.flags()(0)
		n := r.count()
		p.parked = make([]parked, 0, n) // never grows below: r.parked points into it
		for ; n > 0 && r.err == nil; n-- {
			e := parked{delivery: r.uint(r.s.lastDelivery), cause: store.ReturnCause(r.uint8())}
			if e.cause > store.ReturnNode {
				r.fail(errSnapshotValue)
			}
			p.parked = append(p.parked, e)
			r.parked[e.delivery] = &p.parked[len(p.parked)-1]
		}
	})
}

func (r *restorer) serial() uint64 {
	n := r.uint(r.s.lastSerial)
	if n == 0 {
		r.fail(errSnapshotValue)
	}
	return n
}

func (r *restorer) origin() {
	r.kind(objectOrigin)
	o := &origin{node: r.text(), boot: r.uint(math.MaxUint64)}
	o.open = r.flags()(0)
	o.last = r.uint(math.MaxUint64)
	o.sessions = make(map[uint32]*session)
	r.s.origins[o.node] = o
	r.s.touch(o)
}

func (r *restorer) vhost() {
	r.kind(objectVHost)
	v := newVHost(r.serial(), r.text())
	v.description, v.defaultQueueType, v.tags = r.text(), r.text(), r.texts()
	v.connectionsMax, v.queuesMax = r.limit(), r.limit()
	r.s.vhosts[v.name] = v
	r.s.touch(v)
}

// limit reads a number, or NoLimit.
func (r *restorer) limit() int64 {
	n := r.int()
	if n < NoLimit {
		r.fail(errSnapshotValue)
	}
	return n
}

func (r *restorer) user() {
	r.kind(objectUser)
	u := newUser(r.serial(), r.text())
	u.hash, u.algorithm, u.tags = r.text(), r.text(), r.texts()
	u.connectionsMax, u.channelsMax = r.limit(), r.limit()
	r.s.users[u.name] = u
	r.s.touch(u)
}

func (r *restorer) userNamed() *user {
	u := r.s.users[r.text()]
	if u == nil {
		r.fail(errSnapshotReference)
	}
	return u
}

func (r *restorer) permission() {
	r.kind(objectPermission)
	p, refused := newPermission(r.serial(), r.userNamed(), r.vhostNamed(), r.text(), r.text(), r.text())
	if r.err != nil || refused != nil {
		r.fail(errSnapshotValue)
		return
	}
	p.user.permissions[p.vhost.name] = p
	r.s.touch(p)
}

func (r *restorer) topicPermission() {
	r.kind(objectTopicPermission)
	serial, u, v := r.serial(), r.userNamed(), r.vhostNamed()
	exchange, write, read := r.text(), r.text(), r.text()
	if r.err != nil {
		return
	}
	t, refused := newTopicPermission(u, v, exchange, write, read)
	if refused != nil {
		r.fail(errSnapshotValue)
		return
	}
	t.serial = serial
	t.attach()
	r.s.touch(t)
}

// policy comes before what it governs.
func (r *restorer) policy() {
	r.kind(objectPolicy)
	v := r.vhostNamed()
	flavour, subjects := policyFlavour(r.uint8()), subjects(r.uint8())
	c := PutPolicy{Operator: flavour == operatorPolicy, Name: r.text(), Pattern: r.text(), Priority: r.int(), Definition: r.table()}
	if r.err != nil || flavour >= policyFlavours || v.policyNamed(flavour, c.Name) != nil {
		r.fail(errSnapshotReference)
		return
	}
	p, refused := newPolicy(v, &c)
	if p.subjects = subjects; refused != nil || p.applyTo() == "" {
		r.fail(errSnapshotValue)
		return
	}
	r.s.addPolicy(p)
}

func (r *restorer) parameter() {
	r.kind(objectParameter)
	p := &parameter{parameterKey: parameterKey{vhost: r.text(), component: r.text(), name: r.text()}, value: slices.Clone(r.bytes())}
	if r.err != nil || p.vhost != "" && r.vhosts[p.vhost] == nil {
		r.fail(errSnapshotReference)
		return
	}
	r.s.addParameter(p)
}

func (r *restorer) vhostNamed() *vhost {
	v := r.vhosts[r.text()]
	if v == nil {
		r.fail(errSnapshotReference)
	}
	return v
}

func (r *restorer) session() {
	r.kind(objectSession)
	ses := &session{serial: r.serial(), origin: r.s.origins[r.text()], conn: uint32(r.uint(math.MaxUint32)), vhost: r.vhostNamed()}
	ses.user, ses.name, ses.details = r.text(), r.text(), r.table()
	ses.cancelNotify = r.flags()(0)
	ses.channels = make(map[uint16]*channel)
	if r.err != nil || ses.origin == nil {
		r.fail(errSnapshotReference)
		return
	}
	ses.origin.sessions[ses.conn] = ses
	ses.vhost.sessions++
	r.s.attach(ses)
	r.sessions[ses.serial] = ses
	r.s.touch(ses)
}

func (r *restorer) exchange() {
	r.kind(objectExchange)
	x := &exchange{serial: r.serial(), vhost: r.vhostNamed(), name: r.text(), kind: route.Kind(r.uint8())}
	flag := r.flags()
	x.durable, x.autoDelete, x.internal = flag(0), flag(1), flag(2)
	x.arguments = r.table()
	if x.kind < route.Direct || x.kind > route.Headers {
		r.fail(errSnapshotValue)
	}
	if r.err == nil && flag(3) {
		if r.s.parts[x.serial] != nil {
			r.fail(errSnapshotReference)
			return
		}
		r.s.addDelayed(x)
	}
	if r.err == nil {
		r.s.addExchange(x)
	}
}

func (r *restorer) queue() {
	r.kind(objectQueue)
	q := &queue{serial: r.serial(), vhost: r.vhostNamed(), name: r.text()}
	flag := r.flags()
	q.durable, q.autoDelete, q.hadConsumer = flag(0), flag(1), flag(2)
	owner := r.uint(r.s.lastSerial)
	q.arguments = r.table()
	q.usedMillis, q.deadlineMillis = r.int(), r.int()
	r.parts(q)
	r.exclusive[q] = r.uint(r.s.lastSerial)
	r.active[q] = r.uint(r.s.lastSerial)
	for c := r.uint(r.s.lastSerial); c != 0; c = r.uint(r.s.lastSerial) {
		r.rings[q] = append(r.rings[q], c)
	}
	if r.err != nil {
		return
	}
	args, refused := parseQueueArguments(tableOf(q.arguments), q.name)
	if q.owner = r.sessions[owner]; refused != nil || len(q.parts) == 0 || owner != 0 && q.owner == nil {
		r.fail(errSnapshotReference)
		return
	}
	q.args = args
	if q.owner != nil {
		q.owner.exclusive = append(q.owner.exclusive, q)
	}
	q.vhost.queues[q.name] = q
	r.s.targets[route.Dest(q.serial)] = target{queue: q}
	if q.deadlineMillis != 0 {
		r.s.schedule(q)
	}
	q.govern()
	r.s.touch(q)
}

func (r *restorer) binding() {
	r.kind(objectBinding)
	b := &binding{serial: r.serial(), source: r.s.targets[route.Dest(r.serial())].exchange, dest: r.s.targets[route.Dest(r.serial())]}
	b.key, b.arguments = r.text(), r.table()
	if r.err != nil || b.source == nil || b.dest == (target{}) {
		r.fail(errSnapshotReference)
		return
	}
	b.table = tableOf(b.arguments)
	r.s.addBinding(b)
}

func (r *restorer) channel() {
	r.kind(objectChannel)
	ch := &channel{serial: r.serial(), session: r.sessions[r.serial()]}
	ch.number, ch.incarnation = uint16(r.uint(math.MaxUint16)), uint32(r.uint(math.MaxUint32))
	ch.failed = r.flags()(0)
	ch.lastTag = r.uint(math.MaxUint64)
	ch.limitEach, ch.limitShared = uint16(r.uint(math.MaxUint16)), uint16(r.uint(math.MaxUint16))
	ch.turn = r.uint(r.s.lastSerial)
	ch.deadlineMillis = r.int()
	ch.evicting = r.uints()
	r.voids[ch] = r.tags(ch.lastTag)
	if r.err != nil || ch.session == nil {
		r.fail(errSnapshotReference)
		return
	}
	ch.session.channels[ch.number] = ch
	ch.session.countChannels(1)
	r.channels[ch.serial] = ch
	if ch.deadlineMillis != 0 {
		r.s.schedule(ch)
	}
	r.s.touch(ch)
}

func (r *restorer) consumer() {
	r.kind(objectConsumer)
	c := &consumer{serial: r.serial(), channel: r.channels[r.serial()], queue: r.s.targets[route.Dest(r.serial())].queue}
	c.tag = r.text()
	flag := r.flags()
	c.noAck, c.ownTimeout = flag(0), flag(1)
	c.priority = r.int()
	c.limit = uint16(r.uint(math.MaxUint16))
	c.grantMessages, c.grantBytes, c.timeoutMillis = r.int(), r.int(), r.int()
	if r.err != nil || c.channel == nil || c.queue == nil {
		r.fail(errSnapshotReference)
		return
	}
	c.attach()
	r.consumers[c.serial] = c
	r.s.touch(c)
}

// link resolves what refers to objects that come later.
func (r *restorer) link(remainders []remainderRecord) {
	s := r.s
	//fsm:unordered queues do not affect one another
	for q, serials := range r.rings {
		for _, serial := range serials {
			c := r.consumers[serial]
			if c == nil || c.queue != q || c.waiting {
				r.fail(errSnapshotReference)
				return
			}
			q.waiting.push(c)
		}
	}
	//fsm:unordered queues do not affect one another
	for q, serial := range r.exclusive {
		if q.exclusive = r.consumers[serial]; serial != 0 && (q.exclusive == nil || q.exclusive.queue != q) {
			r.fail(errSnapshotReference)
			return
		}
	}
	//fsm:unordered queues do not affect one another
	for q, serial := range r.active {
		q.active = r.consumers[serial]
		if (q.active != nil) != (q.args.singleActive && len(q.consumers) > 0) || q.active != nil && q.active.queue != q {
			r.fail(errSnapshotReference)
			return
		}
		q.standBy()
	}
	for _, record := range remainders {
		r.remainder(&record)
	}
	s.findMine()
}

func (r *restorer) remainder(record *remainderRecord) {
	rest := &remainder{}
	switch record.kind {
	case remainderPart:
		if rest.part = r.s.parts[record.serial]; rest.part == nil {
			r.fail(errSnapshotReference)
		}
	case remainderEvict:
		rest.channelSerial, rest.channel, rest.evicted = record.serial, r.channels[record.serial], record.n
		if rest.evicted == 0 {
			r.fail(errSnapshotValue)
		}
	case remainderSettle:
		rest.channelSerial, rest.channel, rest.upTo, rest.how = record.serial, r.channels[record.serial], record.n, record.how
		if rest.how < acked || rest.how > lostByNode {
			r.fail(errSnapshotValue)
		}
		r.settling[record.serial] = append(r.settling[record.serial], rest)
	case remainderShed:
		rest.crowdedSerial = record.serial
		if rest.crowdedSerial == 0 {
			r.fail(errSnapshotValue)
		}
		if rest.crowded = r.s.targets[route.Dest(record.serial)].queue; rest.crowded != nil {
			rest.crowded.shedding = true
		}
	default:
		r.fail(errSnapshotValue)
	}
	r.s.remainders = append(r.s.remainders, rest)
}

// takeHolds gives every held entry of the store to who has it: a channel, a remainder, or a part that parks it.
func (r *restorer) takeHolds() {
	s := r.s
	s.store.EachHeld(func(e store.Entry, info store.Info) {
		h := &info.Hold
		if parked := r.parked[h.Delivery]; parked != nil {
			parked.entry = e
			delete(r.parked, h.Delivery)
			return
		}
		ch := r.channels[h.Channel]
		if rest := r.settlingOf(h); rest != nil {
			rest.held.Add(h.Tag, e)
		} else if ch != nil && !ch.failed && h.Tag <= ch.lastTag && r.addVoids(ch, h.Tag) {
			ch.unacked.Add(h.Tag, e)
		} else {
			r.fail(errSnapshotReference)
		}
		ch.count(h.Consumer, 1)
	})
	//fsm:unordered channels do not affect one another
	for _, ch := range r.channels {
		r.addVoids(ch, math.MaxUint64)
	}
	if len(r.parked) > 0 {
		r.fail(errSnapshotReference)
	}
	entries := 0
	//fsm:unordered a sum
	for _, p := range s.parts {
		entries += p.loose() + p.messages.Held()
	}
	if entries != s.store.Stats().Entries {
		r.fail(errSnapshotReference)
	}
}

func (r *restorer) settlingOf(h *store.Hold) *remainder {
	for _, rest := range r.settling[h.Channel] { // in order of upTo
		if h.Tag <= rest.upTo {
			return rest
		}
	}
	return nil
}

// addVoids brings back the void tags of a channel below a tag, which must not be void itself.
func (r *restorer) addVoids(ch *channel, below uint64) (ok bool) {
	voids := r.voids[ch]
	for len(voids) > 0 && voids[0] < below {
		ch.unacked.Add(voids[0], 0)
		ch.unacked.Void(voids[0])
		voids = voids[1:]
	}
	r.voids[ch] = voids
	return len(voids) == 0 || voids[0] > below
}
