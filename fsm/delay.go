package fsm

import (
	"math"
	"strconv"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/route"
	"github.com/triagemq/triagemq/fsm/store"
)

// An exchange of type x-delayed-message keeps a message whose header x-delay asks for it, as a delayed entry of a part of its own, and routes it when it is due,
// with the bindings of then. Apart from that it is an exchange of the type that its argument x-delayed-type names.

// DelayedExchangeType is the type of exchanges that delay.
const DelayedExchangeType = "x-delayed-message"

const (
	argDelayedType = "x-delayed-type"
	headerDelay    = "x-delay"
	delayMillisMax = math.MaxUint32 // beyond that a message is not delayed at all, as with RabbitMQ's plugin
)

// delayedKind is the type that a delayed exchange has otherwise.
func delayedKind(arguments content.Table) (route.Kind, *refusal) {
	v, _ := arguments.Get(argDelayedType)
	name, isText := v.(string)
	if !isText {
		return 0, refuse(PreconditionFailed, "Invalid argument, 'x-delayed-type' must be an existing exchange type")
	}
	kind, ok := exchangeKinds[name]
	if !ok {
		return 0, refuse(PreconditionFailed, "unknown exchange type '%s'", name)
	}
	return kind, nil
}

// wait is where a message waits, and for how long, before it is routed further.
type wait struct {
	exchanges []*exchange
	millis    int64
}

// delayOf is the time that a message wants to wait; 0 is none.
func delayOf(headers content.Table) int64 {
	v, _ := headers.Get(headerDelay)
	millis, ok := content.Integer(v)
	if text, isText := v.(string); isText {
		n, err := strconv.ParseInt(text, 10, 64)
		millis, ok = n, err == nil
	}
	if !ok || millis < 0 || millis > delayMillisMax {
		return 0
	}
	return millis
}

// delay puts a message into exchanges that keep it for a while.
func (s *State) delay(w wait, c store.Content, t terms) {
	if len(w.exchanges) == 0 {
		return
	}
	m := s.store.Put(c)
	for _, x := range w.exchanges {
		x.delayed.messages.Push(m, s.nextID(t.traits), store.Placement{Priority: t.priority, Delay: s.nextDelay(w.millis)})
	}
	s.store.Release(m)
}

// nextDelay begins now. Delays and deliveries have one counter.
func (s *State) nextDelay(spanMillis int64) store.Delay {
	s.lastDelivery++
	return store.Delay{DueMillis: max(later(s.nowMillis, spanMillis), 1), Delivery: s.lastDelivery} // 0 would be no delay
}

// routeDelayed routes a message that is due; the caller removes the entry. Its header x-delay is negated, so that no other exchange on its way delays it again
// and consumers can tell that it was.
func (s *State) routeDelayed(x *exchange, info *store.Info) {
	m := s.store.Content(info.Message)
	m.Properties = withoutDelay(m.Properties)
	found, _ := content.Scan(m.Properties) // validated when it was published
	var keys []string
	if found.Copies {
		keys = copiesOf(m.Properties).keys
	}
	queues, _ := s.routeFrom(x.vhost, x, m.RoutingKey, keys, m.Properties)
	if len(queues) > 0 {
		s.enqueue(queues, m, terms{priority: info.Priority, ttlMillis: ttlOf(&found), traits: traitsOf(info.ID)})
	}
}

func withoutDelay(properties []byte) []byte {
	p, err := content.DecodeProperties(properties)
	if err != nil {
		return properties // it has no headers to routing then
	}
	var negated any = -delayOf(p.Headers)
	if n := -delayOf(p.Headers); n >= math.MinInt32 {
		negated = int32(n)
	}
	p.Headers = p.Headers.With(headerDelay, negated)
	return p.Append(nil)
}
