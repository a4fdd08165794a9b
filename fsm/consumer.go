package fsm

import (
	"math"
	"slices"

	"github.com/triagemq/triagemq/fsm/content"
)

// consumer takes messages of one queue for one channel.
type consumer struct {
	cold
	serial        uint64
	channel       *channel
	queue         *queue
	tag           string
	noAck         bool
	priority      int64  // x-priority: higher ones are served first while they can take
	limit         uint16 // qos; 0 = none
	grantMessages int64  // what the socket still has room for
	grantBytes    int64  // may be below 0 by one message
	timeoutMillis int64  // how long it may hold a message; 0 = for ever
	ownTimeout    bool   // by its own argument; otherwise it is the queue's and changes with it
	held          int    // derived
	standsBy      bool   // another one of its queue is the only one served, or is to be (derived)

	// In the queue's ring while waiting.
	waiting    bool
	next, prev *consumer
}

// canTake reports whether a message may be delivered now. Limits may have been lowered below what is held: credit is then negative.
func (c *consumer) canTake() bool {
	if c.standsBy || c.grantMessages <= 0 || c.grantBytes <= 0 {
		return false
	}
	// A channel at its shared limit is served nothing more, what needs no ack included, as in RabbitMQ; that only does not count itself.
	if ch := c.channel; ch.limitShared != 0 && ch.held >= int(ch.limitShared) {
		return false
	}
	return c.noAck || c.limit == 0 || c.held < int(c.limit)
}

// ring is the order in which the consumers of a queue are served: by priority, and round robin within one. Only those that may have room are in it, so
// that the others cost an enqueue nothing. It is replicated state.
type ring struct{ first, last *consumer }

func (r *ring) push(c *consumer) {
	after := r.last
	for after != nil && after.priority < c.priority {
		after = after.prev
	}
	c.waiting, c.prev = true, after
	if after == nil {
		c.next, r.first = r.first, c
	} else {
		c.next, after.next = after.next, c
	}
	if c.next == nil {
		r.last = c
	} else {
		c.next.prev = c
	}
}

func (r *ring) remove(c *consumer) {
	if c.prev == nil {
		r.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		r.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.waiting, c.next, c.prev = false, nil, nil
}

// offer puts a consumer that may have gained room into its queue's ring.
func (s *State) offer(c *consumer) {
	if !c.waiting && c.canTake() {
		c.queue.waiting.push(c)
		s.touch(c.queue)
		s.wake(c.queue)
	}
}

func (s *State) consume(ch *channel, c *Consume) *refusal {
	q, timeoutMillis, priority, r := ch.checkConsume(c)
	if r != nil {
		return r
	}
	n := &consumer{
		serial: s.nextSerial(), channel: ch, queue: q, tag: c.Tag, noAck: c.NoAck, priority: priority, limit: ch.limitEach,
		grantMessages: int64(c.GrantMessages), grantBytes: int64(c.GrantBytes), timeoutMillis: timeoutMillis,
	}
	_, n.ownTimeout = tableOf(c.Arguments).Get(argConsumerTimeout)
	n.attach()
	q.hadConsumer = true
	if c.Exclusive {
		q.exclusive = n
	}
	s.touch(n)
	s.touch(q)
	ch.reply(s, KindConsume, c.NoWait, Effect{Consumer: c.Tag})
	s.chooseActive(q)
	s.offer(n)
	return nil
}

// attach makes a consumer known to its channel and its queue.
func (c *consumer) attach() {
	ch, q := c.channel, c.queue
	if ch.byTag == nil {
		ch.byTag = make(map[string]*consumer)
	}
	ch.byTag[c.tag] = c
	ch.consumers = append(ch.consumers, c)
	q.consumers = append(q.consumers, c)
	q.vhost.consumers++
}

func (ch *channel) checkConsume(c *Consume) (q *queue, timeoutMillis, priority int64, r *refusal) {
	if q, r = ch.session.queueFor(read, c.Queue); r != nil {
		return nil, 0, 0, r
	}
	label := queueLabel(q.name, q.vhost)
	switch {
	case c.Tag == "":
		return nil, 0, 0, refuse(PreconditionFailed, "a consumer needs a tag")
	case ch.byTag[c.Tag] != nil:
		return nil, 0, 0, refuseSession(NotAllowed, "attempt to reuse consumer tag '%s'", c.Tag)
	case q.exclusive != nil, c.Exclusive && (len(q.consumers) > 0 || q.args.singleActive):
		return nil, 0, 0, refuse(AccessRefused, "%s in exclusive use", label)
	}
	timeoutMillis, priority, r = parseConsumeArguments(tableOf(c.Arguments), q, label)
	return q, timeoutMillis, priority, r
}

func parseConsumeArguments(t content.Table, q *queue, label string) (timeoutMillis, priority int64, r *refusal) {
	p := argumentParser{table: t, label: label}
	timeoutMillis = p.integer(argConsumerTimeout, 0, maxMillis, q.args.consumerTimeout)
	priority = p.integer(argPriority, math.MinInt64, math.MaxInt64, 0)
	return timeoutMillis, priority, p.refusal
}

// cancel is the client's. Deliveries that apply ordered before it are in the channel's output before its reply.
func (s *State) cancel(ch *channel, c *Cancel) {
	if consumer := ch.byTag[c.Tag]; consumer != nil {
		s.removeConsumer(consumer)
		s.deleteIfUnused(consumer.queue)
	}
	ch.reply(s, KindCancel, c.NoWait, Effect{Consumer: c.Tag})
}

// serverCancel is the broker's: a client that did not ask to be told is not.
func (s *State) serverCancel(c *consumer) {
	ch := c.channel
	if ch.session.cancelNotify {
		s.emit(ch.session, Effect{Kind: ConsumerCancelled, Ref: ch.ref(), Consumer: c.tag, Queue: c.queue.name})
	}
	s.removeConsumer(c)
}

// removeConsumers removes all of a channel, and the auto-delete queues of which they were the last ones.
func (s *State) removeConsumers(ch *channel) {
	for _, c := range slices.Backward(slices.Clone(ch.consumers)) {
		s.removeConsumer(c)
		s.deleteIfUnused(c.queue)
	}
}

// removeConsumer takes a consumer away. What it holds stays its channel's.
func (s *State) removeConsumer(c *consumer) {
	ch, q := c.channel, c.queue
	if c.waiting {
		q.waiting.remove(c)
	}
	if q.exclusive == c {
		q.exclusive = nil
	}
	q.consumers = withoutSerial(q.consumers, c)
	ch.consumers = withoutSerial(ch.consumers, c)
	delete(ch.byTag, c.tag)
	q.vhost.consumers--
	s.touch(q)
	s.forget(c)
	s.leaveLine(c)
	if len(q.consumers) == 0 {
		s.use(q)
	}
	if span := q.args.consumerTimeout; c.held > 0 && span > 0 && (c.timeoutMillis == 0 || c.timeoutMillis > span) {
		s.arm(ch, s.nowMillis) // from here on the queue's shorter time-out counts for what it held
	}
}

func (s *State) deleteIfUnused(q *queue) {
	if q.autoDelete && q.hadConsumer && len(q.consumers) == 0 && !s.isGone(q) {
		s.dropQueue(q)
	}
}

func (s *State) setQos(ch *channel, c *SetQos) {
	s.touch(ch)
	if c.Global {
		ch.limitShared = c.Count
	} else {
		ch.limitEach = c.Count
		for _, consumer := range ch.consumers {
			consumer.limit = c.Count
			s.touch(consumer)
		}
	}
	s.offerAll(ch)
	ch.reply(s, KindSetQos, false, Effect{})
}

// offerAll offers the consumers of a channel after its shared limit gave way, beginning behind the one served last: in a fixed order the first one would
// starve the others.
func (s *State) offerAll(ch *channel) {
	first, _ := slices.BinarySearchFunc(ch.consumers, ch.turn+1, compareSerial)
	for i := range ch.consumers {
		s.offer(ch.consumers[(first+i)%len(ch.consumers)])
	}
}

// grantMax keeps sums of grants far from overflow.
const grantMax = 1 << 40

func (s *State) applyGrant(ch *channel, c *Grant) {
	consumer := ch.byTag[c.Tag]
	if consumer == nil {
		return // cancelled meanwhile
	}
	consumer.grantMessages = min(consumer.grantMessages+int64(c.Messages), grantMax)
	consumer.grantBytes = min(consumer.grantBytes+int64(c.Bytes), grantMax)
	s.touch(consumer)
	s.offer(consumer)
}
