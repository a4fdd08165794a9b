package fsm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/triagemq/triagemq/fsm/route"
	"github.com/triagemq/triagemq/fsm/store"
)

// Check verifies every invariant: each message in exactly one place, counts, rings, ownership, bindings, timers, digest. O(n), for tests and builds with the
// tag invariants. It reports all faults at once.
func (s *State) Check() error {
	k := &checker{s: s, all: s.gather()}
	k.checkObjects()
	k.checkBindings()
	k.checkPolicies()
	for _, q := range k.all.queues {
		k.checkQueue(q)
		k.checkRing(q)
		k.checkActive(q)
	}
	k.checkConsumers()
	k.checkHolds()
	k.checkParts()
	k.checkTimers()
	k.checkDigest()
	if len(s.woken) > 0 {
		k.failf("%d queues are still to be dispatched", len(s.woken))
	}
	if err := s.store.Check(); err != nil {
		k.faults = append(k.faults, err)
	}
	return errors.Join(k.faults...)
}

type checker struct {
	s      *State
	all    everything
	faults []error
}

func (k *checker) failf(format string, args ...any) {
	k.faults = append(k.faults, fmt.Errorf(format, args...))
}

// checkObjects verifies names, serials and counts.
func (k *checker) checkObjects() {
	s := k.s
	if n := len(k.all.exchanges) + len(k.all.queues); n != len(s.targets) {
		k.failf("%d exchanges and queues, %d targets", n, len(s.targets))
	}
	for _, x := range k.all.exchanges {
		if s.targets[route.Dest(x.serial)].exchange != x || x.vhost.exchanges[x.name] != x || s.vhosts[x.vhost.name] != x.vhost {
			k.failf("exchange %d is not where its name or serial leads", x.serial)
		}
	}
	var counts vhost
	for _, v := range bySerial(s.vhosts) {
		counts.sessions += v.sessions
		counts.channels += v.channels
		counts.consumers += v.consumers
		counts.bindings += v.bindings
	}
	if counts.sessions != len(k.all.sessions) || counts.channels != len(k.all.channels) ||
		counts.consumers != len(k.all.consumers) || counts.bindings != len(k.all.bindings) {
		k.failf("virtual hosts count otherwise than there are sessions, channels, consumers, bindings")
	}
	for _, ses := range k.all.sessions {
		if !ses.origin.open || ses.origin.sessions[ses.conn] != ses || s.vhosts[ses.vhost.name] != ses.vhost {
			k.failf("session %d belongs nowhere", ses.serial)
		}
	}
	for _, ch := range k.all.channels {
		if ch.ended || ch.failed && (ch.unacked.Len() > 0 || len(ch.consumers) > 0 || ch.deadlineMillis != 0) {
			k.failf("channel %d has failed or ended and holds on", ch.serial)
		}
	}
	objects := k.checkUsers() + len(k.all.sessions) + len(k.all.exchanges) + len(k.all.queues) + len(k.all.bindings) + len(k.all.channels) +
		len(k.all.consumers) + len(s.vhosts) + len(s.origins) + len(s.sortedPolicies()) + len(s.parameters) + len(s.next.objects())
	if objects != s.digest.objects {
		k.failf("the digest covers %d objects of %d", s.digest.objects, objects)
	}
}

// checkUsers verifies who is known to whom, and counts users and permissions.
func (k *checker) checkUsers() (objects int) {
	s := k.s
	open := make(map[*user]int)
	channels := make(map[*user]int)
	for _, ses := range k.all.sessions {
		rights, topics := s.rightsIn(ses.account, ses.vhost)
		if ses.account != s.users[ses.user] || ses.rights != rights || len(ses.topics) != len(topics) {
			k.failf("session %d may do what its user may not, or the reverse", ses.serial)
		}
		open[ses.account]++
		channels[ses.account] += len(ses.channels)
	}
	for _, u := range bySerial(s.users) {
		objects += 1 + len(u.permissions)
		if u.sessions != open[u] || u.channels != channels[u] {
			k.failf("user %d counts %d sessions and %d channels, there are %d and %d", u.serial, u.sessions, u.channels, open[u], channels[u])
		}
		for _, p := range bySerial(u.permissions) {
			if p.user != u || s.vhosts[p.vhost.name] != p.vhost || u.permissions[p.vhost.name] != p {
				k.failf("permission %d belongs nowhere", p.serial)
			}
		}
		//fsm:unordered faults do not affect one another
		for vhost, byExchange := range u.topics {
			objects += len(byExchange)
			if s.vhosts[vhost] == nil || len(byExchange) == 0 {
				k.failf("user %d has topic permissions in a virtual host that is gone, or none", u.serial)
			}
		}
	}
	return objects
}

// checkPolicies verifies the rankings, and that each object has the policies that come first in them and arguments that follow.
func (k *checker) checkPolicies() {
	for _, v := range bySerial(k.s.vhosts) {
		for f := range v.policies {
			if !slices.IsSortedFunc(v.policies[f], (*policy).rank) {
				k.failf("the policies of virtual host %d are out of order", v.serial)
			}
		}
	}
	for _, q := range k.all.queues {
		var want governed
		if !q.own() {
			want.govern(q.vhost, q.subject(), q.name)
		}
		if want != q.governed || q.args != q.effective() {
			k.failf("queue %d has other policies, or arguments %+v instead of %+v", q.serial, q.args, q.effective())
		}
	}
	for _, x := range k.all.exchanges {
		var want governed
		want.govern(x.vhost, anExchange, x.name)
		before := x.alternate
		if x.reconfigure(); want != x.governed || x.alternate != before {
			k.failf("exchange %d has other policies than those that match", x.serial)
		}
	}
}

func (k *checker) checkBindings() {
	inbound := 0
	for _, x := range k.all.exchanges {
		if len(x.out) != x.matcher.Len() {
			k.failf("exchange %d has %d bindings and matches %d", x.serial, len(x.out), x.matcher.Len())
		}
		inbound += len(x.in.all())
	}
	for _, q := range k.all.queues {
		inbound += len(q.in.all())
	}
	if inbound != len(k.all.bindings) {
		k.failf("%d bindings leave exchanges, %d arrive", len(k.all.bindings), inbound)
	}
	for _, b := range k.all.bindings {
		if b.dest.inbound().find(b.source, b.key, b.table) != b {
			k.failf("binding %d does not arrive", b.serial)
		}
	}
}

func (k *checker) checkQueue(q *queue) {
	if k.s.targets[route.Dest(q.serial)].queue != q || q.vhost.queues[q.name] != q {
		k.failf("queue %d is not where its name or serial leads", q.serial)
	}
	if q.owner != nil && (!slices.Contains(q.owner.exclusive, q) || k.s.isGone(q.owner)) {
		k.failf("queue %d is exclusive to a session that does not know it", q.serial)
	}
	if len(q.parts) == 0 || q.newest().draining {
		k.failf("queue %d has no part that takes messages", q.serial)
	}
	for _, p := range q.parts {
		if p.queue != q || k.s.parts[p.serial] != p {
			k.failf("part %d of queue %d is not its own", p.serial, q.serial)
		}
	}
	if q.crowded() && !q.shedding {
		k.failf("queue %d has %d ready messages of %d bytes, more than it may, and nothing drops them", q.serial, q.ready(), q.bytes())
	}
	if n := k.shedding(q); n > 1 || q.shedding != (n == 1) {
		k.failf("%d remainders shed queue %d", n, q.serial)
	}
	if q.exclusive != nil && len(q.consumers) != 1 {
		k.failf("queue %d has an exclusive consumer and %d in all", q.serial, len(q.consumers))
	}
}

func (k *checker) shedding(q *queue) (remainders int) {
	for _, r := range k.s.remainders {
		if r.crowded == q {
			remainders++
		}
	}
	return remainders
}

// checkActive verifies that exactly one consumer of a queue with a single active one is so, that it is the first in line or still holds something, and
// that the others are not served.
func (k *checker) checkActive(q *queue) {
	if !q.args.singleActive {
		if q.active != nil {
			k.failf("queue %d has an active consumer and serves all", q.serial)
		}
		return
	}
	first := q.firstInLine()
	if (q.active == nil) != (first == nil) || q.active != nil && (!slices.Contains(q.consumers, q.active) || q.active != first && q.active.held == 0) {
		k.failf("queue %d has the wrong active consumer", q.serial)
	}
	for _, c := range q.consumers {
		if c.standsBy != (c != q.active || c != first) || c.standsBy && c.waiting {
			k.failf("consumer %d stands by: %v, waits: %v", c.serial, c.standsBy, c.waiting)
		}
	}
}

// checkRing verifies that whoever can take a message waits, that nobody could where messages are ready, and the links.
func (k *checker) checkRing(q *queue) {
	waiting := 0
	var before *consumer
	for c := q.waiting.first; c != nil; before, c = c, c.next {
		waiting++
		if c.prev != before || c.queue != q || !c.waiting || before != nil && before.priority < c.priority {
			k.failf("the ring of queue %d is broken at consumer %d", q.serial, c.serial)
			return
		}
	}
	if q.waiting.last != before {
		k.failf("the ring of queue %d does not end with its last", q.serial)
	}
	for _, c := range q.consumers {
		if c.waiting {
			waiting--
		}
		if c.canTake() && (!c.waiting || k.deliverable(q)) {
			k.failf("consumer %d of queue %d could take one of %d messages", c.serial, q.serial, q.ready())
		}
	}
	if waiting != 0 {
		k.failf("the ring of queue %d has others than its consumers", q.serial)
	}
}

// deliverable tells whether a queue has a message that should have been delivered.
func (k *checker) deliverable(q *queue) bool {
	_, e, ok := k.s.front(q)
	return ok && !k.s.overdue(e)
}

func (k *checker) checkConsumers() {
	for _, c := range k.all.consumers {
		ch := c.channel
		if ch.byTag[c.tag] != c || ch.consumer(c.serial) != c || ch.ended || ch.failed || k.s.isGone(ch) {
			k.failf("consumer %d is not its channel's", c.serial)
		}
	}
	n := 0
	for _, ch := range k.all.channels {
		n += len(ch.consumers)
	}
	if n != len(k.all.consumers) {
		k.failf("channels have %d consumers, queues %d", n, len(k.all.consumers))
	}
}

// checkHolds verifies that each held entry is in exactly one of a channel's tags, a remainder and a part's parked ones, and what is counted of them.
func (k *checker) checkHolds() {
	s := k.s
	channels := make(map[uint64]*channel)
	for _, ch := range k.all.channels {
		channels[ch.serial] = ch
	}
	type tally struct{ live, counted int }
	tallies := make(map[*channel]*tally)
	for _, ch := range k.all.channels {
		tallies[ch] = &tally{}
	}
	byConsumer := make(map[uint64]int)
	parkedEntries, settling := k.expectElsewhere()
	s.store.EachHeld(func(e store.Entry, info store.Info) {
		if parkedEntries[info.Hold.Delivery] {
			delete(parkedEntries, info.Hold.Delivery)
			return
		}
		ch := channels[info.Hold.Channel]
		if ch == nil || ch.failed {
			settling--
			return
		}
		if info.Hold.Consumer != 0 {
			tallies[ch].counted++
			byConsumer[info.Hold.Consumer]++
		}
		if k.isSettling(&info.Hold) {
			settling--
			return
		}
		tallies[ch].live++
	})
	if len(parkedEntries) > 0 || settling != 0 {
		k.failf("%d parked entries are not held, %d of remainders are not there", len(parkedEntries), settling)
	}
	for _, ch := range k.all.channels {
		if t := tallies[ch]; t.live != ch.unacked.Live() || !ch.failed && t.counted != ch.held {
			k.failf("channel %d has %d live tags and counts %d, the store has %d and %d", ch.serial, ch.unacked.Live(), ch.held, t.live, t.counted)
		}
	}
	for _, c := range k.all.consumers {
		if byConsumer[c.serial] != c.held {
			k.failf("consumer %d counts %d held, the store %d", c.serial, c.held, byConsumer[c.serial])
		}
	}
}

// expectElsewhere lists the deliveries that are parked, and counts those of remainders.
func (k *checker) expectElsewhere() (parkedEntries map[uint64]bool, settling int) {
	parkedEntries = make(map[uint64]bool)
	for _, p := range bySerial(k.s.parts) {
		for _, e := range p.parked {
			parkedEntries[e.delivery] = true
			if k.s.store.Info(e.entry).Hold.Delivery != e.delivery {
				k.failf("part %d parks another entry than it says", p.serial)
			}
		}
	}
	for _, r := range k.s.remainders {
		settling += r.held.Live()
	}
	return parkedEntries, settling
}

func (k *checker) isSettling(h *store.Hold) bool {
	for _, r := range k.s.remainders {
		if r.part == nil && r.evicted == 0 && r.channelSerial == h.Channel && h.Tag <= r.upTo {
			return true
		}
	}
	return false
}

// checkParts verifies that every entry of the store is in a part, and that each part under way has its remainder.
func (k *checker) checkParts() {
	s := k.s
	entries := 0
	remainders := make(map[*part]int)
	for _, r := range s.remainders {
		if r.part != nil {
			remainders[r.part]++
		}
	}
	for _, p := range bySerial(s.parts) {
		entries += p.loose() + p.messages.Held()
		if n := remainders[p]; n > 1 || p.underWay() != (n == 1) {
			k.failf("part %d is drained by %d remainders, or none is needed", p.serial, n)
		}
		if x := p.exchange; x != nil {
			if x.delayed != p || p.draining || p.messages.Ready()+p.messages.Held() > 0 || k.s.isGone(x) {
				k.failf("part %d is not that of exchange %d", p.serial, x.serial)
			}
			continue
		}
		if q := p.queue; q == nil && !p.draining && (p.messages.Held() == 0 || p.loose() > 0) ||
			q != nil && !slices.Contains(q.parts, p) {
			k.failf("part %d should be gone", p.serial)
		}
	}
	if n := s.store.Stats().Entries; n != entries {
		k.failf("the store has %d entries, the parts %d", n, entries)
	}
}

func (k *checker) checkTimers() {
	if millis, ok := k.s.store.NextDue(); ok && millis <= k.s.nowMillis && k.s.budget > 0 {
		k.failf("a message is due at %d, it is %d, and the entry could have seen to it", millis, k.s.nowMillis)
	}
	armed := 0
	for i, t := range k.s.timers {
		if a := t.clock(); a.timer != i+1 || a.deadlineMillis == 0 || i > 0 && k.s.timers.less(i, (i-1)/2) || k.s.isGone(t) {
			k.failf("the timer of %T %d is out of place", t, t.serialNumber())
		}
	}
	for _, ch := range k.all.channels {
		if ch.deadlineMillis != 0 {
			armed++
		}
	}
	for _, q := range k.all.queues {
		if q.deadlineMillis != 0 {
			armed++
		}
		if q.args.expires >= 0 && len(q.consumers) == 0 && (q.deadlineMillis == 0 || q.deadlineMillis > max(q.expiresMillis(), 1)) {
			k.failf("queue %d expires at %d and has the deadline %d", q.serial, q.expiresMillis(), q.deadlineMillis)
		}
	}
	if armed != len(k.s.timers) {
		k.failf("%d channels and queues have a deadline, %d are in the heap", armed, len(k.s.timers))
	}
}

// checkDigest hashes every object anew: a change that was not noted shows.
func (k *checker) checkDigest() {
	k.s.digest.settle()
	var sum store.Digest
	var buffer []byte
	add := func(o object) {
		buffer = o.encode(buffer[:0])
		own := store.Sum(buffer)
		if own != o.base().sum {
			k.failf("%T %x changed and was not noted", o, buffer)
		}
		sum.Add(own)
	}
	//fsm:unordered a sum
	for _, o := range k.s.origins {
		add(o)
	}
	//fsm:unordered a sum
	for _, v := range k.s.vhosts {
		add(v)
	}
	for _, u := range bySerial(k.s.users) {
		add(u)
		addAll(add, bySerial(u.permissions))
		//fsm:unordered a sum
		for _, byExchange := range u.topics {
			addAll(add, bySerial(byExchange))
		}
	}
	addAll(add, k.s.sortedPolicies())
	addAll(add, k.s.sortedParameters())
	addAll(add, k.all.sessions)
	addAll(add, k.all.exchanges)
	addAll(add, k.all.queues)
	addAll(add, k.all.bindings)
	addAll(add, k.all.channels)
	addAll(add, k.all.consumers)
	addAll(add, k.s.next.objects())
	if sum != k.s.digest.sum {
		k.failf("the digest is %x, hashed anew it is %x", k.s.digest.sum, sum)
	}
}

func addAll[T object](add func(object), objects []T) {
	for _, o := range objects {
		add(o)
	}
}
