package fsm

import (
	"slices"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/store"
)

// Reasons of dead-lettering, as x-death spells them.
const (
	reasonRejected      = "rejected"
	reasonDeliveryLimit = "delivery_limit"
	reasonMaxLen        = "maxlen"
	reasonExpired       = "expired"
)

// deadQueueName is the queue of every virtual host that takes what reached its delivery limit and has nowhere else to go. It comes into being when it is
// first needed and holds the latest limits.deadQueueMessages messages: that is its x-max-length.
const deadQueueName = ownPrefix + "dead"

// ownPrefix begins the names of queues that the broker makes itself. Clients use them and do not declare them: a triagemq.dead that someone's session owned, or
// that had a delivery limit, would lose what it is for.
const ownPrefix = "triagemq."

const (
	headerDeath      = "x-death"
	headerFirstDeath = "x-first-death-"
	headerLastDeath  = "x-last-death-"
)

// deadLetter publishes a copy of an entry that is leaving q to where its dead letters go; the caller removes the entry. A queue without a dead-letter
// exchange, or whose exchange is not there, drops them, as RabbitMQ does, but for those beyond the delivery limit.
func (s *State) deadLetter(q *queue, info *store.Info, reason string) {
	m := s.store.Content(info.Message)
	x, deadLetters := q.deadExchange()
	if !deadLetters && reason != reasonDeliveryLimit {
		return
	}
	properties, deaths, copies := s.withDeath(q, &m, info, reason)
	if isAutomatic(reason) && (deaths == nil || len(deaths) > automaticDeathsMax) {
		return
	}
	var exchange []byte
	key := m.RoutingKey
	var queues []*queue
	var wait wait
	if deadLetters {
		exchange = []byte(q.args.deadExchange)
		if q.args.deadKeySet {
			key = []byte(q.args.deadKey)
		}
		queues, wait = s.routeFrom(q.vhost, x, key, copies.keys, properties)
	} else {
		key = []byte(deadQueueName)
		queues = []*queue{s.deadQueue(q.vhost)}
	}
	if reason != reasonRejected {
		queues = withoutCycles(queues, deaths)
	}
	copied := len(queues) + len(wait.exchanges)
	if copied == 0 {
		return
	}
	s.budget -= copied - 1
	dead := store.Content{Exchange: exchange, RoutingKey: key, Properties: properties, Body: m.Body}
	published, _ := content.Scan(m.Properties) // validated when it was published; what this queue made of the priority ends with it
	terms := terms{priority: published.Priority, ttlMillis: noTTL, traits: fromDeadLetter | copies.traits}
	if len(queues) > 0 {
		s.enqueue(queues, dead, terms)
	}
	s.delay(wait, dead, terms)
}

// automaticDeathsMax bounds the deaths of a message that goes on without a consumer's doing. Many full queues that are one another's dead-letter exchange pass
// it on within one command: beyond what x-death can tell they would do so for ever, and long before that each step takes milliseconds, on every replica.
const automaticDeathsMax = 128

// isAutomatic tells the reasons that need no consumer to bring a message round again.
func isAutomatic(reason string) bool { return reason == reasonMaxLen || reason == reasonExpired }

// deadExchange is where dead letters go; nil is the default exchange. ok is false without one.
func (q *queue) deadExchange() (x *exchange, ok bool) {
	if !q.args.deadLetter {
		return nil, false
	}
	if q.args.deadExchange == "" {
		return nil, true
	}
	x = q.vhost.exchanges[q.args.deadExchange]
	return x, x != nil
}

// deadQueue is the virtual host's queue for dead letters that have nowhere else to go. It is in order of arrival, so that what it drops is the oldest.
func (s *State) deadQueue(v *vhost) *queue {
	if q := v.queues[deadQueueName]; q != nil {
		return q
	}
	q := &queue{vhost: v, name: deadQueueName, durable: true, args: defaultQueueArguments()}
	q.args.priorityMax, q.args.maxLength = 0, int64(s.limits.deadQueueMessages)
	q.arguments = content.Table{
		{Name: argMaxPriority, Value: int32(q.args.priorityMax)},
		{Name: argMaxLength, Value: q.args.maxLength},
	}.Append(nil)
	s.addQueue(q)
	return q
}

// withDeath returns a message's properties as a dead letter has them, its deaths, this one first, and the further keys that it is routed by: those that it
// was published with, or none where the queue sets the key of its dead letters.
func (s *State) withDeath(q *queue, m *store.Content, info *store.Info, reason string) (properties []byte, deaths content.Array, c copies) {
	known := traitsOf(info.ID)
	p, err := content.DecodeProperties(m.Properties)
	if err != nil {
		// Headers that are at a bound already (many deaths on top of many headers) travel on as they are rather than be lost.
		return m.Properties, nil, copies{traits: known & hasBCC}
	}
	own := known&fromDeadLetter != 0
	if own {
		v, _ := p.Headers.Get(headerDeath)
		deaths, _ = v.(content.Array)
	}
	deaths = s.addDeath(deaths, q.name, reason, m, &p)
	headers := p.Headers.With(headerDeath, deaths)
	for _, field := range [...]struct{ name, value string }{
		{"queue", q.name}, {"reason", reason}, {"exchange", string(m.Exchange)},
	} {
		if _, has := headers.Get(headerFirstDeath + field.name); !own || !has {
			headers = headers.With(headerFirstDeath+field.name, field.value)
		}
		headers = headers.With(headerLastDeath+field.name, field.value)
	}
	if q.args.deadKeySet {
		headers = headers.Without(headerCC).Without(headerBCC)
	} else {
		c = copiesIn(headers)
	}
	p.Headers = headers
	p.Has |= content.HasHeaders
	p.Has &^= content.HasExpiration // it must not expire again where it is kept for people to look at
	p.Expiration = ""
	return p.Append(nil), deaths, c
}

// addDeath puts a death to the front; one of the same queue and reason is counted up instead.
func (s *State) addDeath(deaths content.Array, queue, reason string, m *store.Content, p *content.Properties) content.Array {
	for i, v := range deaths {
		if d, ok := v.(content.Table); ok && deathIs(d, queue, reason) {
			count, _ := d.Get("count")
			n, _ := content.Integer(count)
			rest := slices.Delete(slices.Clone(deaths), i, i+1)
			return append(content.Array{d.With("count", n+1)}, rest...)
		}
	}
	death := content.Table{
		{Name: "count", Value: int64(1)},
		{Name: "reason", Value: reason},
		{Name: "queue", Value: queue},
		{Name: "time", Value: content.Timestamp(max(s.nowMillis, 0) / 1000)},
		{Name: "exchange", Value: string(m.Exchange)},
		{Name: "routing-keys", Value: deathKeys(m, p)},
	}
	if p.Has&content.HasExpiration != 0 {
		death = append(death, content.Field{Name: "original-expiration", Value: p.Expiration})
	}
	deaths = append(content.Array{death}, deaths...)
	return deaths[:min(len(deaths), content.EntriesMax)]
}

// deathKeys are the routing keys that x-death shows.
func deathKeys(m *store.Content, p *content.Properties) content.Array {
	keys := content.Array{string(m.RoutingKey)}
	for _, key := range copyKeys(p.Headers, headerCC) {
		keys = append(keys, key)
	}
	return keys[:min(len(keys), content.EntriesMax)]
}

func deathIs(d content.Table, queue, reason string) bool {
	q, _ := d.Get("queue")
	r, _ := d.Get("reason")
	return q == queue && r == reason
}

// withoutCycles leaves out the queues that the message has been in before if nobody rejected it since: it would go round for ever.
func withoutCycles(queues []*queue, deaths content.Array) []*queue {
	var kept []*queue
	for _, q := range queues {
		if !isCycle(q.name, deaths) {
			kept = append(kept, q)
		}
	}
	return kept
}

func isCycle(queue string, deaths content.Array) bool {
	for _, v := range deaths {
		d, _ := v.(content.Table)
		if r, _ := d.Get("reason"); r == reasonRejected {
			return false
		}
		if q, _ := d.Get("queue"); q == queue {
			return true
		}
	}
	return false
}
