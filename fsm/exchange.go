package fsm

import (
	"slices"
	"strconv"
	"strings"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/route"
)

// exchange is any exchange but the default one.
type exchange struct {
	cold
	serial                        uint64
	vhost                         *vhost
	name                          string
	kind                          route.Kind // of a delayed exchange too
	durable, autoDelete, internal bool
	arguments                     []byte // encoded table, as declared
	alternate                     string // of the arguments, else of the policies (derived)
	delayed                       *part  // of an x-delayed-message exchange: what waits
	governed

	matcher route.Matcher
	out     map[uint64]*binding // bindings from it, by serial (derived)
	in      bindingSet          // bindings to it (derived)
	meter   meter
	seen    uint64 // the last traversal that met it (derived, not observable)
}

var exchangeKinds = map[string]route.Kind{
	"direct": route.Direct, "fanout": route.Fanout, "topic": route.Topic, "headers": route.Headers,
}

var exchangeKindNames = [...]string{
	route.Direct: "direct", route.Fanout: "fanout", route.Topic: "topic", route.Headers: "headers",
}

// argAlternate names the exchange that takes what finds no binding. It need not be there: such messages are then unroutable. The default exchange, whose name
// is empty, is nobody's alternate, as in RabbitMQ.
const argAlternate = "alternate-exchange"

// comparedExchangeArguments must be the same in every declaration.
var comparedExchangeArguments = [...]string{argAlternate}

// unsupportedExchangeArguments would change what an exchange does; ignoring them would lose messages silently.
var unsupportedExchangeArguments = [...]string{"x-message-deduplication"}

func (s *State) addExchange(x *exchange) {
	x.matcher = route.New(x.kind)
	x.out = make(map[uint64]*binding)
	x.govern()
	x.vhost.exchanges[x.name] = x
	s.targets[route.Dest(x.serial)] = target{exchange: x}
	s.topologyChanged() // it may be another one's alternate
	s.touch(x)
}

// typeName is what the exchange was declared as.
func (x *exchange) typeName() string {
	if x.delayed != nil {
		return DelayedExchangeType
	}
	return exchangeKindNames[x.kind]
}

// addDelayed gives a new exchange the part of a delayed one.
func (s *State) addDelayed(x *exchange) {
	x.delayed = &part{serial: x.serial, messages: s.store.Queue(x.serial), exchange: x}
	s.parts[x.serial] = x.delayed
}

func alternateOf(arguments content.Table) string {
	v, _ := arguments.Get(argAlternate)
	name, _ := v.(string)
	return name
}

func (s *State) declareExchange(ch *channel, c *DeclareExchange) *refusal {
	c.Name = withoutLineBreaks(c.Name)
	_, r := ch.session.checkDeclareExchange(c)
	if r != nil {
		return r
	}
	v := ch.session.vhost
	if !c.Passive && v.exchanges[c.Name] == nil {
		x := &exchange{
			serial: s.nextSerial(), vhost: v, name: c.Name, kind: exchangeKinds[c.Type],
			durable: c.Durable, autoDelete: c.AutoDelete, internal: c.Internal, arguments: c.Arguments,
		}
		if c.Type == DelayedExchangeType {
			x.kind, _ = delayedKind(tableOf(c.Arguments))
			s.addDelayed(x)
		}
		s.addExchange(x)
	}
	ch.reply(s, KindDeclareExchange, c.NoWait, Effect{})
	return nil
}

// checkDeclareExchange decides a declaration without changing anything; x is nil where the exchange would be created.
func (ses *session) checkDeclareExchange(c *DeclareExchange) (x *exchange, r *refusal) {
	v := ses.vhost
	if c.Name == "" {
		return nil, onDefaultExchange()
	}
	x = v.exchanges[c.Name]
	if c.Passive {
		if x == nil {
			return nil, noExchange(c.Name, v)
		}
		return x, nil
	}
	if _, ok := exchangeKinds[c.Type]; !ok && c.Type != DelayedExchangeType {
		return nil, refuse(PreconditionFailed, "unknown exchange type '%s'", c.Type)
	}
	if r := ses.mayExchange(configure, c.Name); r != nil {
		return nil, r
	}
	label := exchangeLabel(c.Name, v)
	if r := checkUnsupported(unsupportedExchangeArguments[:], tableOf(c.Arguments), label); r != nil {
		return nil, r
	}
	if x == nil {
		if strings.HasPrefix(c.Name, "amq.") {
			return nil, reservedName("exchange", c.Name, "amq.*")
		}
		if c.Type == DelayedExchangeType {
			if _, r := delayedKind(tableOf(c.Arguments)); r != nil {
				return nil, r
			}
		}
		return nil, ses.checkAlternate(tableOf(c.Arguments), c.Name)
	}
	if is := x.typeName(); c.Type != is {
		return nil, inequivalent("type", label, "'"+c.Type+"'", "'"+is+"'")
	}
	if r := firstInequivalent(label, [...]boolProperty{
		{"durable", c.Durable, x.durable},
		{"auto_delete", c.AutoDelete, x.autoDelete},
		{"internal", c.Internal, x.internal},
	}); r != nil {
		return nil, r
	}
	return x, equivalentArguments(comparedExchangeArguments[:], tableOf(x.arguments), tableOf(c.Arguments), label)
}

// checkAlternate checks the alternate exchange of a new one: what is unroutable is read from the one and written to the other.
func (ses *session) checkAlternate(arguments content.Table, name string) *refusal {
	v, there := arguments.Get(argAlternate)
	alternate, isText := v.(string)
	switch {
	case !there:
		return nil
	case !isText:
		return invalidNameType(v, argAlternate, exchangeLabel(name, ses.vhost))
	}
	if r := ses.mayExchange(read, name); r != nil {
		return r
	}
	return ses.mayExchange(write, alternate)
}

func checkUnsupported(names []string, t content.Table, label string) *refusal {
	for _, name := range names {
		if _, ok := t.Get(name); ok {
			return invalidArgument(name, label, "not supported by this version")
		}
	}
	return nil
}

func invalidArgument(name, label, why string) *refusal {
	return refuse(PreconditionFailed, "invalid arg '%s' for %s: %s", name, label, why)
}

func inequivalent(name, label, received, current string) *refusal {
	return refuse(PreconditionFailed, "inequivalent arg '%s' for %s: received %s but current is %s", name, label, received, current)
}

// boolProperty is a flag of a declaration, as received and as it is.
type boolProperty struct {
	name              string
	received, current bool
}

func firstInequivalent(label string, properties [3]boolProperty) *refusal {
	for _, p := range properties {
		if p.received != p.current && p.name != "" {
			return inequivalent(p.name, label, "'"+strconv.FormatBool(p.received)+"'", "'"+strconv.FormatBool(p.current)+"'")
		}
	}
	return nil
}

func (s *State) deleteExchange(ch *channel, c *DeleteExchange) *refusal {
	c.Name = withoutLineBreaks(c.Name)
	v := ch.session.vhost
	switch {
	case c.Name == "":
		return onDefaultExchange()
	case strings.HasPrefix(c.Name, "amq."):
		return refuse(AccessRefused, "deletion of system %s not allowed", exchangeLabel(c.Name, v))
	}
	if r := ch.session.mayExchange(configure, c.Name); r != nil {
		return r
	}
	switch x := v.exchanges[c.Name]; {
	case x == nil:
	case c.IfUnused && len(x.out) > 0:
		return refuse(PreconditionFailed, "%s in use", exchangeLabel(c.Name, v))
	default:
		s.dropExchange(x)
	}
	ch.reply(s, KindDeleteExchange, c.NoWait, Effect{})
	return nil
}

// dropExchange removes an exchange and its bindings. Sources that it was the last destination of may go with it.
func (s *State) dropExchange(x *exchange) {
	delete(x.vhost.exchanges, x.name)
	delete(s.targets, route.Dest(x.serial))
	s.forget(x)
	for _, b := range slices.Backward(bySerial(x.out)) {
		s.removeBinding(b)
	}
	s.removeInbound(&x.in)
	s.topologyChanged()
	if x.delayed != nil {
		x.delayed.exchange = nil
		s.drain(x.delayed)
	}
}

// withoutLineBreaks strips CR and LF from names, as RabbitMQ does: they come from configuration files.
func withoutLineBreaks(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}
