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
	dests      []route.Dest
	properties []byte // of the message that is being routed
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

func (s *State) applyPublish(ch *channel, c *Publish) *refusal {
	queues, r := s.route(ch.session.vhost, c)
	if r != nil {
		return r
	}
	m := store.Content{Exchange: c.Exchange, RoutingKey: c.RoutingKey, Properties: c.Properties, Body: c.Body}
	if len(queues) == 0 && c.Mandatory {
		s.emit(ch.session, ch.withContent(Returned, c))
	}
	queues, full := s.accepting(queues, len(c.Body))
	if len(full) > 0 && c.Confirm != 0 {
		queues = nil // a nack means that it is nowhere
	}
	if len(queues) > 0 {
		s.enqueue(queues, m, c.Priority, fromClient)
	}
	s.deadLetterRefused(full, &m)
	if c.Confirm != 0 {
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

// route finds the queues that a message goes to. The slice is valid until the next call.
func (s *State) route(v *vhost, c *Publish) ([]*queue, *refusal) {
	if len(c.Exchange) == 0 {
		return s.routeDefault(v, c.RoutingKey), nil
	}
	x := v.exchanges[string(c.Exchange)]
	if x == nil {
		return nil, noExchange(string(c.Exchange), v)
	}
	if x.internal {
		return nil, refuse(AccessRefused, "cannot publish to internal %s", exchangeLabel(x.name, v))
	}
	return s.routeFrom(x, c.RoutingKey, c.Properties), nil
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

func (s *State) routeFrom(x *exchange, key, properties []byte) []*queue {
	r := &s.router
	if queues, ok := r.cache[routeKey{x.serial, string(key)}]; ok { // this conversion does not allocate
		return queues
	}
	k := string(key)
	queues, byKeyAlone := s.traverse(x, k, properties)
	if byKeyAlone {
		if len(r.cache) >= routesCachedMax {
			clear(r.cache)
		}
		r.cache[routeKey{x.serial, k}] = append([]*queue(nil), queues...)
	}
	return queues
}

// traverse follows the bindings from an exchange, each exchange once: bindings of exchanges to one another may form cycles. byKeyAlone tells that no
// headers were looked at.
func (s *State) traverse(x *exchange, key string, properties []byte) (queues []*queue, byKeyAlone bool) {
	r := &s.router
	r.traversal++
	r.properties = properties
	r.queues, r.exchanges, byKeyAlone = r.queues[:0], append(r.exchanges[:0], x), true
	x.seen = r.traversal
	for i := 0; i < len(r.exchanges); i++ {
		x := r.exchanges[i]
		byKeyAlone = byKeyAlone && x.kind != route.Headers
		r.dests = x.matcher.Match(key, r.headers, r.dests)
		for _, dest := range r.dests {
			s.meet(s.targets[dest])
		}
	}
	r.properties = nil
	return r.queues, byKeyAlone
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

// provenance tells who made a message's headers. It is the lowest bit of the ordinals of its entries.
type provenance uint32

const (
	fromClient     provenance = iota // an x-death among its headers is the client's and is not interpreted
	fromDeadLetter                   // x-death is the broker's
)

func provenanceOf(id store.ID) provenance { return provenance(id.Ordinal & 1) }

// enqueue puts a message into queues, all of them: nothing can refuse it any more. Those with drop-head shed what that is too much, later.
func (s *State) enqueue(queues []*queue, c store.Content, priority uint8, from provenance) {
	m := s.store.Put(c)
	for _, q := range queues {
		s.ordinal++
		id := store.ID{Index: s.index, Ordinal: s.ordinal<<1 | uint32(from)}
		q.newest().messages.Push(m, id, q.args.clamp(priority))
		s.wake(q)
	}
	s.store.Release(m)
}
