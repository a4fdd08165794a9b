package fsm

import "github.com/triagemq/triagemq/fsm/route"

// What a session's user may do is looked at in apply, on the command itself and against the permissions as they are at this place in the log
// (docs/decisions/0011). RabbitMQ's order of checks is kept: permission before existence, so that nobody learns by refusals what there is.

// access is a way of using a queue or an exchange.
type access uint8

const (
	configure access = iota
	write
	read
)

var accessNames = [...]string{configure: "configure", write: "write", read: "read"}

func (p *permission) pattern(a access) *pattern {
	switch a {
	case configure:
		return &p.configure
	case write:
		return &p.write
	}
	return &p.read
}

// defaultExchangeName is what permissions call the exchange without a name.
const defaultExchangeName = "amq.default"

// mayQueue checks access to a queue, which need not exist.
func (ses *session) mayQueue(a access, name string) *refusal {
	if ses.rights.pattern(a).matches(name) {
		return nil
	}
	return ses.accessRefused(a, queueLabel(name, ses.vhost))
}

// mayExchange checks access to an exchange, which need not exist.
func (ses *session) mayExchange(a access, name string) *refusal {
	if name == "" {
		name = defaultExchangeName
	}
	if ses.rights.pattern(a).matches(name) {
		return nil
	}
	return ses.accessRefused(a, exchangeLabel(name, ses.vhost))
}

func (ses *session) accessRefused(a access, label string) *refusal {
	return refuse(AccessRefused, "%s access to %s refused for user '%s'", accessNames[a], label, ses.user)
}

// mayPublish checks write access to an exchange. It is on the way of every message, so what all may do costs a comparison and other outcomes are remembered.
func (ses *session) mayPublish(exchange []byte) *refusal {
	if ses.rights.write.every {
		return nil
	}
	if len(exchange) == 0 {
		exchange = []byte(defaultExchangeName)
	}
	if ses.rights.write.matchesAgain(exchange) {
		return nil
	}
	return ses.accessRefused(write, exchangeLabel(string(exchange), ses.vhost))
}

// mayRoute checks the routing keys of a publish, those of CC and BCC included, where the user is narrowed on a topic exchange; nil is the default one.
func (ses *session) mayRoute(x *exchange, key []byte, copies []string) *refusal {
	if ses.topics == nil || x == nil || x.kind != route.Topic {
		return nil
	}
	if r := ses.mayTopic(write, x, string(key)); r != nil {
		return r
	}
	for _, key := range copies {
		if r := ses.mayTopic(write, x, key); r != nil {
			return r
		}
	}
	return nil
}

// mayTopic checks one routing key with a topic exchange.
func (ses *session) mayTopic(a access, x *exchange, key string) *refusal {
	t := ses.topics[x.name]
	if t == nil || x.kind != route.Topic {
		return nil
	}
	p := &t.readPattern
	if a == write {
		p = &t.writePattern
	}
	if p.matches(key) {
		return nil
	}
	return refuse(AccessRefused, "%s access to topic '%s' in %s refused for user '%s'", accessNames[a], key, exchangeLabel(x.name, ses.vhost), ses.user)
}

// queueFor finds a queue that a session may use, and use so.
func (ses *session) queueFor(a access, name string) (*queue, *refusal) {
	name = withoutLineBreaks(name)
	if r := ses.mayQueue(a, name); r != nil {
		return nil, r
	}
	return ses.queue(name)
}
