package fsm

import (
	"math"
	"slices"
	"strings"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/route"
	"github.com/triagemq/triagemq/fsm/store"
)

// queue is a queue. Its messages lie in the store, in one part as a rule.
type queue struct {
	cold
	serial              uint64
	vhost               *vhost
	name                string
	durable, autoDelete bool
	owner               *session       // of an exclusive queue
	arguments           []byte         // encoded table, as declared
	args                queueArguments // what they mean together with the policies (derived)
	governed

	parts       []*part     // oldest first; the last one takes new messages
	consumers   []*consumer // in order of serial
	exclusive   *consumer   // the only one, by its own wish
	active      *consumer   // with x-single-active-consumer: the one served; nil where there is none
	hadConsumer bool        // auto-delete waits for the first one
	waiting     ring        // consumers that may take a message

	meter      meter
	alarm            // when it may have expired
	usedMillis int64 // when its lease was last renewed, where it has one

	in    bindingSet
	seen  uint64 // the last traversal that met it (not observable)
	woken bool   // in State.woken

	shedding bool // a remainder drops what is beyond its length limit (derived)
}

// part holds messages of a queue in one queue of the store. A purge too big for one entry seals the part that it empties: its ready messages are logically
// gone, new ones go to a new part, and what comes back from consumers meanwhile is parked until the part is empty. Then it is a part as any other, and what
// was parked returns to it, in as many entries as that takes. A deleted queue leaves its parts behind, without a queue, until their messages are gone.
type part struct {
	serial   uint64 // in the store
	messages *store.Queue
	queue    *queue    // nil: deleted, or an exchange's
	exchange *exchange // of a delayed exchange's part
	draining bool      // a remainder is removing the ready messages
	parked   []parked
}

// parked is an entry that is no longer its holder's and that its part has not taken back yet. The store still has it as held.
type parked struct {
	delivery uint64
	entry    store.Entry
	cause    store.ReturnCause // or parkedPurged
}

// parkedPurged marks what another purge found parked.
const parkedPurged store.ReturnCause = 0

// underWay tells that a remainder works on the part.
func (p *part) underWay() bool { return p.draining || len(p.parked) > 0 }

// loose counts what nobody holds: ready messages, and delayed ones.
func (p *part) loose() int { return p.messages.Ready() + p.messages.Delayed() }

// firstLoose is the next message that a drain removes.
func (p *part) firstLoose() (e store.Entry, ok bool) {
	if e, ok = p.messages.Front(); !ok {
		e, ok = p.messages.FirstDelayed()
	}
	return e, ok
}

func (q *queue) newest() *part { return q.parts[len(q.parts)-1] }

// ready is the number of messages that could be delivered.
func (q *queue) ready() int {
	n := 0
	for _, p := range q.parts {
		if !p.draining {
			n += p.messages.Ready()
		}
	}
	return n
}

func (q *queue) held() int {
	n := 0
	for _, p := range q.parts {
		n += p.messages.Held()
	}
	return n
}

// delayed counts the messages that wait for their retry.
func (q *queue) delayed() int {
	n := 0
	for _, p := range q.parts {
		if !p.draining {
			n += p.messages.Delayed()
		}
	}
	return n
}

func (q *queue) bytes() int64 {
	n := int64(0)
	for _, p := range q.parts {
		if !p.draining {
			n += p.messages.Bytes()
		}
	}
	return n
}

// front finds the next message to deliver: priority descending, then age, over all parts.
func (s *State) front(q *queue) (p *part, e store.Entry, ok bool) {
	if len(q.parts) == 1 && !q.parts[0].draining { // by far the most frequent
		e, ok = q.parts[0].messages.Front()
		return q.parts[0], e, ok
	}
	var best store.Info
	for _, candidate := range q.parts {
		front, found := candidate.messages.Front()
		if !found || candidate.draining {
			continue
		}
		if info := s.store.Info(front); !ok || before(&info, &best) {
			p, e, ok, best = candidate, front, true, info
		}
	}
	return p, e, ok
}

// before is the order of delivery.
func before(a, b *store.Info) bool {
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	if a.ID.Index != b.ID.Index {
		return a.ID.Index < b.ID.Index
	}
	return a.ID.Ordinal < b.ID.Ordinal
}

func (s *State) addPart(q *queue, serial uint64) *part {
	p := &part{serial: serial, messages: s.store.Queue(serial), queue: q}
	q.parts = append(q.parts, p)
	s.parts[serial] = p
	return p
}

// trim forgets a part that is no longer needed after an entry of it has gone.
func (s *State) trim(p *part) {
	if p.exchange != nil || p.queue != nil && p.queue.newest() == p {
		return
	}
	if p.draining || p.loose() > 0 || p.messages.Held() > 0 {
		return
	}
	if q := p.queue; q != nil {
		q.parts = slices.DeleteFunc(q.parts, func(other *part) bool { return other == p })
		s.touch(q)
	}
	delete(s.parts, p.serial)
	s.store.DropQueue(p.serial)
}

// queue finds a queue that a session may use.
func (ses *session) queue(name string) (*queue, *refusal) {
	name = withoutLineBreaks(name)
	q := ses.vhost.queues[name]
	if q == nil {
		return nil, noQueue(name, ses.vhost)
	}
	return q, ses.mayUse(q)
}

func (ses *session) mayUse(q *queue) *refusal {
	if q.owner == nil || q.owner == ses {
		return nil
	}
	return refuse(ResourceLocked, "cannot obtain exclusive access to locked %s. It could be originally declared on another connection or the exclusive "+
		"property value does not match that of the original declaration.", queueLabel(q.name, q.vhost))
}

func (s *State) declareQueue(ch *channel, c *DeclareQueue) *refusal {
	c.Name = withoutLineBreaks(c.Name)
	q, args, r := s.checkDeclareQueue(ch.session, c)
	if r != nil {
		return r
	}
	if q == nil {
		q = &queue{
			vhost: ch.session.vhost, name: c.Name, durable: c.Durable && !c.Exclusive, autoDelete: c.AutoDelete,
			arguments: c.Arguments, args: args,
		}
		if c.Exclusive {
			q.owner = ch.session
			ch.session.exclusive = append(ch.session.exclusive, q)
		}
		s.addQueue(q)
		ch.session.origin.churn.QueuesCreated++
	}
	s.use(q)
	if !c.Passive {
		ch.session.origin.churn.QueuesDeclared++
	}
	ch.reply(s, KindDeclareQueue, c.NoWait, q.declared())
	return nil
}

func (q *queue) declared() Effect {
	return Effect{Queue: q.name, Count: countOf(q.ready()), Consumers: countOf(len(q.consumers))}
}

func countOf(n int) uint32 { return uint32(min(n, math.MaxUint32)) }

func (s *State) addQueue(q *queue) {
	q.serial = s.nextSerial()
	s.addPart(q, q.serial)
	q.vhost.queues[q.name] = q
	s.targets[route.Dest(q.serial)] = target{queue: q}
	q.govern()
	s.touch(q)
	s.use(q)
}

// checkDeclareQueue decides a declaration without changing anything; q is nil where the queue would be created.
func (s *State) checkDeclareQueue(ses *session, c *DeclareQueue) (q *queue, args queueArguments, r *refusal) {
	q = ses.vhost.queues[c.Name]
	if c.Passive {
		if q == nil {
			return nil, args, noQueue(c.Name, ses.vhost)
		}
		return q, args, ses.mayUse(q)
	}
	if strings.HasPrefix(c.Name, "amq.") && !c.ServerNamed {
		return nil, args, reservedName("queue", c.Name, "amq.*")
	}
	if strings.HasPrefix(c.Name, ownPrefix) && q == nil {
		return nil, args, reservedName("queue", c.Name, ownPrefix+"*")
	}
	if c.Name == "" {
		return nil, args, refuse(PreconditionFailed, "a queue needs a name")
	}
	if r := ses.mayQueue(configure, c.Name); r != nil {
		return nil, args, r
	}
	label := queueLabel(c.Name, ses.vhost)
	if r := ses.vhost.fillQueueType(c, label); r != nil {
		return nil, args, r
	}
	if q != nil {
		return q, args, q.equivalent(ses, c, label)
	}
	if limit := ses.vhost.queuesMax; reached(limit, len(ses.vhost.queues)) {
		return nil, args, refuse(PreconditionFailed, "cannot declare queue '%s': queue limit in vhost '%s' (%d) is reached", c.Name, ses.vhost.name, limit)
	}
	if args, r = parseQueueArguments(tableOf(c.Arguments), label); r == nil && args.quorum {
		r = checkQuorum(c, label)
	}
	if r == nil && args.deadLetter {
		r = ses.mayDeadLetter(c.Name, args.deadExchange)
	}
	return nil, args, r
}

// fillQueueType gives a declaration without a type its virtual host's default, where such a queue can have it.
// Arguments that have no room for one more are refused: with it they would not decode.
func (v *vhost) fillQueueType(c *DeclareQueue, label string) *refusal {
	quorum := v.defaultQueueType == queueTypeQuorum
	if v.defaultQueueType == "" || quorum && (!c.Durable || c.Exclusive || c.AutoDelete) {
		return nil
	}
	arguments := tableOf(c.Arguments)
	if _, has := arguments.Get(argQueueType); has {
		return nil
	}
	if len(arguments) >= content.EntriesMax {
		return refuse(PreconditionFailed, "%s has %d arguments and none is %s", label, len(arguments), argQueueType)
	}
	c.Arguments = arguments.With(argQueueType, v.defaultQueueType).Append(nil)
	return nil
}

// mayDeadLetter checks the dead-letter exchange of a new queue: dead letters are read from the one and written to the other.
func (ses *session) mayDeadLetter(queue, exchange string) *refusal {
	if r := ses.mayQueue(read, queue); r != nil {
		return r
	}
	return ses.mayExchange(write, exchange)
}

// equivalent compares a declaration with the queue that is there. Exclusive queues count as transient, whatever was asked.
func (q *queue) equivalent(ses *session, c *DeclareQueue, label string) *refusal {
	if r := ses.mayUse(q); r != nil {
		return r
	}
	if c.Exclusive != (q.owner != nil) {
		return refuse(ResourceLocked, "cannot obtain exclusive access to locked %s. It could be originally declared on another connection or the exclusive "+
			"property value does not match that of the original declaration.", label)
	}
	r := firstInequivalent(label, [...]boolProperty{
		{"durable", c.Durable && !c.Exclusive, q.durable},
		{"auto_delete", c.AutoDelete, q.autoDelete},
		{},
	})
	if r != nil {
		return r
	}
	received := tableOf(c.Arguments)
	if r := checkUnsupported(unsupportedQueueArguments[:], received, label); r != nil {
		return r
	}
	return equivalentArguments(comparedQueueArguments[:], tableOf(q.arguments), received, label)
}

func (s *State) deleteQueue(ch *channel, c *DeleteQueue) *refusal {
	if r := ch.session.mayQueue(configure, withoutLineBreaks(c.Name)); r != nil {
		return r
	}
	count := 0
	q, r := ch.session.queue(c.Name)
	switch {
	case q == nil: // deleting what is not there is no error
	case r != nil:
		return r
	case c.IfUnused && len(q.consumers) > 0:
		return refuse(PreconditionFailed, "%s in use", queueLabel(q.name, q.vhost))
	case c.IfEmpty && q.ready()+q.delayed() > 0:
		return refuse(PreconditionFailed, "%s not empty", queueLabel(q.name, q.vhost))
	default:
		count = q.ready() + q.delayed()
		s.dropQueue(q)
		ch.session.origin.churn.QueuesDeleted++
	}
	ch.reply(s, KindDeleteQueue, c.NoWait, Effect{Count: countOf(count)})
	return nil
}

// dropQueue removes a queue: its name is free at once, its messages go now or in remainders. What consumers hold stays under their tags, so that acking
// it is no error, and does nothing.
func (s *State) dropQueue(q *queue) {
	delete(q.vhost.queues, q.name)
	delete(s.targets, route.Dest(q.serial))
	s.disarm(q)
	s.forget(q)
	if ses := q.owner; ses != nil {
		ses.exclusive = withoutSerial(ses.exclusive, q)
	}
	for _, c := range slices.Backward(slices.Clone(q.consumers)) {
		s.serverCancel(c)
	}
	s.removeInbound(&q.in)
	s.topologyChanged()
	for _, p := range slices.Clone(q.parts) {
		p.queue = nil
		s.drain(p)
	}
}

func (s *State) purgeQueue(ch *channel, c *PurgeQueue) *refusal {
	q, r := ch.session.queueFor(read, c.Name)
	if r != nil {
		return r
	}
	count := q.ready() + q.delayed() + q.parked()
	s.purge(q)
	ch.reply(s, KindPurgeQueue, c.NoWait, Effect{Count: countOf(count)})
	return nil
}

func (s *State) purge(q *queue) {
	if q.newest().loose() > max(s.budget, 0) {
		s.addPart(q, s.nextSerial())
		s.touch(q)
	}
	// The newest first, because it takes new messages and must not be left half empty; older ones have ready messages where some were returned to them.
	for _, p := range slices.Backward(slices.Clone(q.parts)) {
		if p.underWay() || p.loose() > 0 {
			s.drain(p)
		}
	}
}

// parked is the number of messages that will be ready once a purge that they came back from is through.
func (q *queue) parked() int {
	n := 0
	for _, p := range q.parts {
		for _, e := range p.parked {
			if e.cause != parkedPurged {
				n++
			}
		}
	}
	return n
}

// drain removes what is ready in a part, and what is parked, now as far as the budget goes and the rest in a remainder.
func (s *State) drain(p *part) {
	if p.queue != nil {
		s.touch(p.queue)
	}
	underWay := p.underWay()
	p.draining = true
	for i := range p.parked {
		p.parked[i].cause = parkedPurged
	}
	switch {
	case underWay: // the same remainder goes on
	case s.drainSome(p):
		s.trim(p)
	default:
		s.remainders = append(s.remainders, &remainder{part: p})
	}
}

// drainSome spends the budget on a part and reports whether nothing is left to do. Once nothing is ready the part drains no longer: what returns to it from
// then on must stay.
func (s *State) drainSome(p *part) (done bool) {
	if p.queue != nil {
		s.touch(p.queue)
	}
	for ; p.draining && s.budget > 0; s.budget-- {
		e, ok := p.firstLoose()
		if !ok {
			break
		}
		p.messages.Remove(e)
	}
	p.draining = p.draining && p.loose() > 0
	for ; !p.draining && s.budget > 0 && len(p.parked) > 0; s.budget-- {
		s.unpark(p)
	}
	if p.queue != nil && !p.draining {
		s.wake(p.queue)
	}
	return !p.underWay()
}
