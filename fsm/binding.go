package fsm

import (
	"slices"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/route"
)

// binding leads from an exchange to a queue or another exchange.
type binding struct {
	cold
	serial    uint64
	source    *exchange
	dest      target
	key       string
	arguments []byte        // encoded table, as first bound
	table     content.Table // arguments decoded
}

// target is a queue or an exchange.
type target struct {
	queue    *queue
	exchange *exchange
}

func (t target) dest() route.Dest {
	if t.queue != nil {
		return route.Dest(t.queue.serial)
	}
	return route.Dest(t.exchange.serial)
}

func (t target) inbound() *bindingSet {
	if t.queue != nil {
		return &t.queue.in
	}
	return &t.exchange.in
}

// bindingSet finds the bindings to one destination. Those under one key differ in their arguments alone and are in order of creation.
type bindingSet struct {
	byKey map[bindingKey][]*binding
}

type bindingKey struct {
	source uint64
	key    string
}

func (set *bindingSet) find(source *exchange, key string, args content.Table) *binding {
	for _, b := range set.byKey[bindingKey{source.serial, key}] {
		if content.Equal(b.table, args) {
			return b
		}
	}
	return nil
}

func (set *bindingSet) add(b *binding) {
	if set.byKey == nil {
		set.byKey = make(map[bindingKey][]*binding)
	}
	k := bindingKey{b.source.serial, b.key}
	set.byKey[k] = append(set.byKey[k], b)
}

func (set *bindingSet) remove(b *binding) {
	k := bindingKey{b.source.serial, b.key}
	rest := slices.DeleteFunc(set.byKey[k], func(other *binding) bool { return other == b })
	if len(rest) == 0 {
		delete(set.byKey, k)
		return
	}
	set.byKey[k] = rest
}

func (set *bindingSet) all() []*binding {
	var bindings []*binding
	//fsm:unordered sorted by serial below
	for _, under := range set.byKey {
		bindings = append(bindings, under...)
	}
	slices.SortFunc(bindings, func(a, b *binding) int { return compareSerial(a, b.serial) })
	return bindings
}

func (s *State) bind(ch *channel, c *Bind) *refusal {
	source, dest, r := s.bindingEnds(ch.session, (*Unbind)(c))
	if r == nil {
		r = ch.session.mayChange(dest)
	}
	if r != nil {
		return r
	}
	table := tableOf(c.Arguments)
	if fault := route.CheckArguments(source.kind, table); fault != "" {
		return refuse(PreconditionFailed, "%s", fault)
	}
	if dest.inbound().find(source, c.Key, table) == nil {
		s.addBinding(&binding{
			serial: s.nextSerial(), source: source, dest: dest, key: c.Key, arguments: c.Arguments, table: table,
		})
		s.topologyChanged()
	}
	ch.reply(s, KindBind, c.NoWait, Effect{})
	return nil
}

// unbind succeeds where the binding, or one of its ends, is not there: what is asked for is the case, whoever the queue belongs to.
func (s *State) unbind(ch *channel, c *Unbind) *refusal {
	source, dest, r := s.bindingEnds(ch.session, c)
	if r != nil && r.code != NotFound {
		return r
	}
	if r == nil {
		if b := dest.inbound().find(source, c.Key, tableOf(c.Arguments)); b != nil {
			if r = ch.session.mayChange(dest); r != nil {
				return r
			}
			s.removeBinding(b)
			s.topologyChanged()
		}
	}
	ch.reply(s, KindUnbind, c.NoWait, Effect{})
	return nil
}

// bindingEnds finds both ends of a binding. It takes Unbind for Bind too: they have the same fields.
func (s *State) bindingEnds(ses *session, c *Unbind) (source *exchange, dest target, r *refusal) {
	v := ses.vhost
	c.Source, c.Destination = withoutLineBreaks(c.Source), withoutLineBreaks(c.Destination)
	if c.Source == "" || c.ToExchange && c.Destination == "" {
		return nil, target{}, onDefaultExchange()
	}
	if r = ses.mayBind(c); r != nil {
		return nil, target{}, r
	}
	if source = v.exchanges[c.Source]; source == nil {
		return nil, target{}, noExchange(c.Source, v)
	}
	if c.ToExchange {
		if dest.exchange = v.exchanges[c.Destination]; dest.exchange == nil {
			return nil, target{}, noExchange(c.Destination, v)
		}
	} else if dest.queue = v.queues[c.Destination]; dest.queue == nil {
		return nil, target{}, noQueue(c.Destination, v)
	}
	return source, dest, nil
}

// mayChange refuses to change the bindings of a queue that is another connection's own.
func (ses *session) mayChange(dest target) *refusal {
	if dest.queue == nil {
		return nil
	}
	return ses.mayUse(dest.queue)
}

// mayBind checks what binding and unbinding need: to write to the destination and to read from the source.
func (ses *session) mayBind(c *Unbind) (r *refusal) {
	if c.ToExchange {
		r = ses.mayExchange(write, c.Destination)
	} else {
		r = ses.mayQueue(write, c.Destination)
	}
	if r == nil {
		r = ses.mayExchange(read, c.Source)
	}
	if source := ses.vhost.exchanges[c.Source]; r == nil && source != nil {
		r = ses.mayTopic(read, source, c.Key)
	}
	return r
}

func (s *State) addBinding(b *binding) {
	b.source.matcher.Bind(b.key, b.table, b.dest.dest())
	b.source.out[b.serial] = b
	b.dest.inbound().add(b)
	b.source.vhost.bindings++
	s.touch(b)
}

// removeBinding removes a binding, and its source where that deletes itself with its last one.
func (s *State) removeBinding(b *binding) {
	b.source.matcher.Unbind(b.key, b.table, b.dest.dest())
	delete(b.source.out, b.serial)
	b.dest.inbound().remove(b)
	b.source.vhost.bindings--
	s.forget(b)
	if x := b.source; x.autoDelete && len(x.out) == 0 && !s.isGone(x) {
		s.dropExchange(x)
	}
}

// removeInbound removes what leads to a destination that is being deleted.
func (s *State) removeInbound(in *bindingSet) {
	for _, b := range slices.Backward(in.all()) {
		if !s.isGone(b) { // it went with a source that an earlier one of them was the last binding of
			s.removeBinding(b)
		}
	}
}
