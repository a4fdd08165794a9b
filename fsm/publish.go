package fsm

import (
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/route"
	"github.com/triagemq/triagemq/fsm/store"
)

// router is what routing needs beside the topology itself: memory that is used again, and a cache. None of it is observable.
type router struct {
	traversal  uint64 // number of the present one; what it met carries it
	queues     []*queue
	accept     []*queue // of queues, when some refuse
	refuse     []*queue
	exchanges  []*exchange
	keys       []string    // of the message that is being routed: its routing key, and others that its headers name
	delayed    []*exchange // that the message waits in
	dests      []route.Dest
	properties []byte // of the same message
	headers    func() content.Table
	cache      map[routeKey][]*queue
}

// routeKey is an exchange and a routing key. The cache spares the traversal and a copy of the key for each message.
type routeKey struct {
	exchange uint64
	key      string
}

const routesCachedMax = 4096

func (r *router) init() {
	r.cache = make(map[routeKey][]*queue)
	r.headers = func() content.Table {
		p, err := content.DecodeProperties(r.properties)
		if err != nil {
			return nil // only what dead-lettering made can get beyond what the codec accepts: it then has no headers to match
		}
		return p.Headers
	}
}

// topologyChanged is called whenever a route may have changed.
func (s *State) topologyChanged() {
	if len(s.router.cache) > 0 {
		clear(s.router.cache)
	}
}

func (s *State) applyPublish(ch *channel, c *Publish, found *content.Summary) *refusal {
	v := ch.session.vhost
	x, r := ch.session.publishTo(c.Exchange)
	if r != nil {
		return r
	}
	m := store.Content{Exchange: c.Exchange, RoutingKey: c.RoutingKey, Properties: c.Properties, Body: c.Body}
	var copies copies
	if found.Copies {
		copies = copiesOf(c.Properties)
	}
	if r := ch.session.mayRoute(x, c.RoutingKey, copies.keys); r != nil {
		return r
	}
	if found.Copies {
		c.Properties = copies.traits.visible(c.Properties) // in effects; m has them all
	}
	queues, wait := s.routeFrom(v, x, m.RoutingKey, copies.keys, m.Properties)
	routed := len(queues) + len(wait.exchanges)
	s.countPublish(v, x, c.Mandatory, routed)
	if routed == 0 && c.Mandatory {
		s.emit(ch.session, ch.withContent(Returned, c))
	}
	queues, full := s.accepting(queues, len(c.Body))
	if len(full) > 0 && c.Confirm != 0 {
		queues, wait.exchanges = nil, nil // a nack means that it is nowhere
	}
	terms := terms{priority: c.Priority, ttlMillis: ttlOf(found), traits: copies.traits}
	if len(queues) > 0 {
		s.enqueue(queues, m, terms)
	}
	s.delay(wait, m, terms)
	s.deadLetterRefused(full, &m)
	if c.Confirm != 0 {
		ch.confirms = true
		s.settlePublish(ch, c, full)
	}
	return nil
}

// settlePublish tells a publisher what became of its message: a nack has the content, for those who want to know which it was and why.
func (s *State) settlePublish(ch *channel, c *Publish, full []*queue) {
	e := Effect{Kind: Published, Ref: ch.ref(), Command: KindPublish, Confirm: c.Confirm}
	if len(full) > 0 {
		e = ch.withContent(Published, c)
		e.Code, e.Text = ResourceError, lengthLimit(full[0])
	} else {
		s.count(&ch.session.vhost.meter, ch.session.vhost.serial, ConfirmCount, 1)
	}
	s.emit(ch.session, e)
}

// withContent is an effect that carries a message back to its publisher.
func (ch *channel) withContent(kind EffectKind, c *Publish) Effect {
	return Effect{
		Kind: kind, Ref: ch.ref(), Command: KindPublish, Confirm: c.Confirm,
		Exchange: c.Exchange, RoutingKey: c.RoutingKey, Properties: c.Properties, Body: c.Body,
	}
}

// publishTo finds an exchange that the client may publish to; nil is the default one.
func (ses *session) publishTo(name []byte) (*exchange, *refusal) {
	if r := ses.mayPublish(name); r != nil {
		return nil, r
	}
	v := ses.vhost
	if len(name) == 0 {
		return nil, nil
	}
	x := v.exchanges[string(name)]
	switch {
	case x == nil:
		return nil, noExchange(string(name), v)
	case x.internal:
		return nil, refuse(AccessRefused, "cannot publish to internal %s", exchangeLabel(x.name, v))
	}
	return x, nil
}

// routeFrom finds the queues that a message goes to from an exchange, nil for the default one, and where it waits before it goes on. copies are further
// routing keys. The slices are valid until the next call.
func (s *State) routeFrom(v *vhost, x *exchange, key []byte, copies []string, properties []byte) ([]*queue, wait) {
	r := &s.router
	if len(copies) > 0 {
		r.keys = append(append(r.keys[:0], string(key)), copies...)
		queues, wait, _ := s.traverse(v, x, properties)
		return queues, wait
	}
	if x == nil {
		return s.routeDefault(v, key), wait{}
	}
	if queues, ok := r.cache[routeKey{x.serial, string(key)}]; ok { // this conversion does not allocate
		return queues, wait{}
	}
	k := string(key)
	r.keys = append(r.keys[:0], k)
	queues, wait, byKeyAlone := s.traverse(v, x, properties)
	if byKeyAlone {
		if len(r.cache) >= routesCachedMax {
			clear(r.cache)
		}
		r.cache[routeKey{x.serial, k}] = append([]*queue(nil), queues...)
	}
	return queues, wait
}

// routeDefault is the default exchange: every queue is bound to it by its name.
func (s *State) routeDefault(v *vhost, key []byte) []*queue {
	q := v.queues[string(key)]
	if q == nil {
		return nil
	}
	s.router.queues = append(s.router.queues[:0], q)
	return s.router.queues
}

// traverse follows the bindings from an exchange, each exchange once: bindings of exchanges to one another, and alternates, may form cycles. byKeyAlone
// tells that no headers were looked at.
func (s *State) traverse(v *vhost, x *exchange, properties []byte) (queues []*queue, w wait, byKeyAlone bool) {
	r := &s.router
	r.traversal++
	r.properties = properties
	r.queues, r.exchanges, r.delayed, byKeyAlone = r.queues[:0], r.exchanges[:0], r.delayed[:0], true
	if x == nil {
		s.meetDefault(v)
		byKeyAlone = false
	} else {
		s.meet(target{exchange: x})
	}
	for i := 0; i < len(r.exchanges); i++ {
		x := r.exchanges[i]
		byKeyAlone = byKeyAlone && x.kind != route.Headers && x.delayed == nil
		if x.delayed != nil {
			if w.millis = delayOf(r.headers()); w.millis > 0 {
				r.delayed = append(r.delayed, x)
				continue
			}
		}
		if !s.match(x) && x.alternate != "" {
			s.meet(target{exchange: v.exchanges[x.alternate]})
		}
	}
	r.properties = nil
	w.exchanges = r.delayed
	return r.queues, w, byKeyAlone
}

// match meets the destinations of an exchange's bindings, and reports whether there was any.
func (s *State) match(x *exchange) (matched bool) {
	r := &s.router
	for _, key := range r.keys {
		r.dests = x.matcher.Match(key, r.headers, r.dests)
		for _, dest := range r.dests {
			s.meet(s.targets[dest])
		}
		matched = matched || len(r.dests) > 0
		if x.kind == route.Headers || x.kind == route.Fanout {
			break // the next key would find the same
		}
	}
	return matched
}

func (s *State) meetDefault(v *vhost) {
	for _, key := range s.router.keys {
		s.meet(target{queue: v.queues[key]})
	}
}

func (s *State) meet(t target) {
	r := &s.router
	switch {
	case t.queue != nil && t.queue.seen != r.traversal:
		t.queue.seen = r.traversal
		r.queues = append(r.queues, t.queue)
	case t.exchange != nil && t.exchange.seen != r.traversal:
		t.exchange.seen = r.traversal
		r.exchanges = append(r.exchanges, t.exchange)
	}
}

// traits are what is known of an entry's message beside its content. They are the lowest bits of the ordinals of its entries.
type traits uint32

const (
	fromDeadLetter traits = 1 << iota // x-death is the broker's; among the headers of other messages it is the client's and is not interpreted
	hasBCC                            // the header BCC, which takes part in routing where the message is dead-lettered, and is shown to nobody
)

const traitBits = 2

func traitsOf(id store.ID) traits { return traits(id.Ordinal) & (1<<traitBits - 1) }

// terms are what a message asks of every queue that it goes to.
type terms struct {
	priority  uint8
	ttlMillis int64 // noTTL: none of its own
	traits    traits
}

// enqueue puts a message into queues, all of them: nothing can refuse it any more. Those with drop-head shed what that is too much, later.
func (s *State) enqueue(queues []*queue, c store.Content, t terms) {
	m := s.store.Put(c)
	for _, q := range queues {
		q.newest().messages.Push(m, s.nextID(t.traits), store.Placement{
			Priority: q.args.clamp(t.priority), ExpiresMillis: s.expiryMillis(q, t.ttlMillis),
		})
		s.count(&q.meter, q.serial, PublishCount, 1)
		s.wake(q)
	}
	s.store.Release(m)
}

// nextID names a new entry.
func (s *State) nextID(t traits) store.ID {
	s.ordinal++
	return store.ID{Index: s.index, Ordinal: s.ordinal<<traitBits | uint32(t)}
}
