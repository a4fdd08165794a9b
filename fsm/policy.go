package fsm

import (
	"cmp"
	"slices"
	"strings"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/store"
)

// policy sets arguments of the queues and exchanges whose names match its pattern. One policy governs an object at most, and one operator policy: those
// that match and come first in their ranking. Which one that is, and what it makes of the object, is derived.
type policy struct {
	cold
	vhost    *vhost
	flavour  policyFlavour
	name     string
	source   string // of the pattern
	subjects subjects
	priority int64
	encoded  []byte // the definition

	pattern    namePattern   // (derived)
	definition content.Table // (derived)
}

// policyFlavour tells policies from operator policies: each virtual host has a ranking of both, each queue and exchange up to one of both.
type policyFlavour uint8

const (
	userPolicy policyFlavour = iota
	operatorPolicy
	policyFlavours
)

func flavourOf(operator bool) policyFlavour {
	if operator {
		return operatorPolicy
	}
	return userPolicy
}

// subjects are what a policy applies to, as bits. There are no streams here.
type subjects uint8

const (
	aClassicQueue subjects = 1 << iota
	aQuorumQueue
	anExchange
)

// applyTo are the words for subjects, as in RabbitMQ.
var applyTo = [...]struct {
	word     string
	subjects subjects
}{
	{"all", aClassicQueue | aQuorumQueue | anExchange},
	{"queues", aClassicQueue | aQuorumQueue},
	{"classic_queues", aClassicQueue},
	{"quorum_queues", aQuorumQueue},
	{"streams", 0},
	{"exchanges", anExchange},
}

func (p *policy) applyTo() string {
	for _, a := range applyTo {
		if a.subjects == p.subjects {
			return a.word
		}
	}
	return ""
}

func (p *policy) governs(kind subjects, name string) bool {
	return p.subjects&kind != 0 && p.pattern.matches(name)
}

// rank orders policies of a flavour, the one that wins first.
func (p *policy) rank(other *policy) int {
	return cmp.Or(cmp.Compare(other.priority, p.priority), strings.Compare(p.name, other.name))
}

// governed is a queue or exchange as policies see it.
type governed struct {
	policies [policyFlavours]*policy // (derived)
}

func (v *vhost) policyNamed(f policyFlavour, name string) *policy {
	for _, p := range v.policies[f] {
		if p.name == name {
			return p
		}
	}
	return nil
}

// policyFor finds the one that governs an object; nil is none.
func (v *vhost) policyFor(f policyFlavour, kind subjects, name string) *policy {
	for _, p := range v.policies[f] {
		if p.governs(kind, name) {
			return p
		}
	}
	return nil
}

// govern looks the policies of a new object up and reports whether there are any.
func (g *governed) govern(v *vhost, kind subjects, name string) (found bool) {
	for f := range policyFlavours {
		g.policies[f] = v.policyFor(f, kind, name)
		found = found || g.policies[f] != nil
	}
	return found
}

// regovern follows a change of the ranking, old having gone and its successor having come, either perhaps nil, and reports whether it concerns the object.
// Most objects cost one match at most.
func (g *governed) regovern(v *vhost, kind subjects, name string, old, successor *policy) (changed bool) {
	var f policyFlavour
	if old != nil {
		f = old.flavour
	} else {
		f = successor.flavour
	}
	present := g.policies[f]
	switch {
	case present == old && old != nil:
		g.policies[f] = v.policyFor(f, kind, name)
	case successor == nil || present != nil && present.rank(successor) < 0 || !successor.governs(kind, name):
		return false
	default:
		g.policies[f] = successor
	}
	return true
}

func (s *State) putPolicy(c *PutPolicy) *refusal {
	v := s.vhosts[c.VHost]
	if v == nil {
		return noVHost(c.VHost)
	}
	p, r := newPolicy(v, c)
	if r != nil {
		return r
	}
	old := v.policyNamed(p.flavour, p.name)
	if old != nil {
		s.removePolicy(old)
	}
	s.addPolicy(p)
	s.policyChanged(v, old, p)
	return nil
}

func (s *State) deletePolicy(c *DeletePolicy) *refusal {
	v := s.vhosts[c.VHost]
	if v == nil {
		return noVHost(c.VHost)
	}
	p := v.policyNamed(flavourOf(c.Operator), c.Name)
	if p == nil {
		return refuse(NotFound, "policy '%s' not found in vhost '%s'", c.Name, c.VHost)
	}
	s.removePolicy(p)
	s.policyChanged(v, p, nil)
	return nil
}

// newPolicy validates a policy and compiles it.
func newPolicy(v *vhost, c *PutPolicy) (*policy, *refusal) {
	p := &policy{
		vhost: v, flavour: flavourOf(c.Operator), name: c.Name, source: c.Pattern, priority: c.Priority,
		encoded: c.Definition, definition: tableOf(c.Definition),
	}
	return p, validatePolicy(p, c)
}

func (s *State) addPolicy(p *policy) {
	ranking := &p.vhost.policies[p.flavour]
	at, _ := slices.BinarySearchFunc(*ranking, p, (*policy).rank)
	*ranking = slices.Insert(*ranking, at, p)
	s.touch(p)
}

func (s *State) removePolicy(p *policy) {
	ranking := &p.vhost.policies[p.flavour]
	*ranking = slices.DeleteFunc(*ranking, func(other *policy) bool { return other == p })
	s.forget(p)
}

// sortedPolicies lists all, by virtual host and in their rankings.
func (s *State) sortedPolicies() (list []*policy) {
	for _, v := range bySerial(s.vhosts) {
		for f := range v.policies {
			list = append(list, v.policies[f]...)
		}
	}
	return list
}

// forgetPolicies belongs to the end of a virtual host.
func (s *State) forgetPolicies(v *vhost) {
	for f := range v.policies {
		for _, p := range v.policies[f] {
			s.forget(p)
		}
		v.policies[f] = nil
	}
}

// policyChanged applies a change of the ranking to what it concerns, in order of creation.
func (s *State) policyChanged(v *vhost, old, successor *policy) {
	var queues []*queue
	//fsm:unordered sorted by serial below
	for _, q := range v.queues {
		if !q.own() && q.regovern(v, q.subject(), q.name, old, successor) {
			queues = append(queues, q)
		}
	}
	var retimed []*queue
	known := make(map[effectiveKey]queueArguments) // most queues have the arguments of many others
	for _, q := range sortBySerial(queues) {
		key := effectiveKey{string(q.arguments), q.policies}
		args, ok := known[key]
		if !ok {
			args = q.effective()
			known[key] = args
		}
		if s.reconfigure(q, args) {
			retimed = append(retimed, q)
		}
	}
	s.armHolders(retimed)
	//fsm:unordered each is on its own
	for _, x := range v.exchanges {
		if x.regovern(v, anExchange, x.name, old, successor) {
			x.reconfigure()
		}
	}
	s.topologyChanged() // alternate exchanges may have changed
}

// effectiveKey is all that effective arguments depend on.
type effectiveKey struct {
	arguments string
	policies  [policyFlavours]*policy
}

// subject is what a queue is to policies. Classic and quorum queues are the same queue, but for what they are called.
func (q *queue) subject() subjects {
	if q.args.quorum {
		return aQuorumQueue
	}
	return aClassicQueue
}

// own tells the broker's own queues. Policies leave them alone: one for every queue that sets a time to live would lose what triagemq.dead is there to keep.
func (q *queue) own() bool { return strings.HasPrefix(q.name, ownPrefix) }

// govern gives a new queue its policies.
func (q *queue) govern() {
	if !q.own() && q.governed.govern(q.vhost, q.subject(), q.name) {
		q.args = q.effective()
	}
}

// govern gives a new exchange its policies.
func (x *exchange) govern() {
	x.governed.govern(x.vhost, anExchange, x.name)
	x.reconfigure()
}

// reconfigure follows a change of what governs an exchange.
func (x *exchange) reconfigure() {
	arguments := tableOf(x.arguments)
	if _, declared := arguments.Get(argAlternate); !declared {
		arguments = x.definition()
	}
	x.alternate = alternateOf(arguments)
}

// reconfigure gives a queue other effective arguments, which hold for what is in it too. It reports whether what is held may be overdue.
func (s *State) reconfigure(q *queue, args queueArguments) (retimed bool) {
	old := q.args
	q.args = args
	s.wake(q) // its limit may be lower
	if q.args.expires != old.expires {
		s.changeLease(q)
	}
	if q.args.consumerTimeout == old.consumerTimeout {
		return false
	}
	for _, c := range q.consumers {
		if !c.ownTimeout {
			c.timeoutMillis = q.args.consumerTimeout
			s.touch(c)
		}
	}
	return q.args.consumerTimeout > 0
}

// armHolders has the channels that hold messages of the queues looked at with the next Tick.
func (s *State) armHolders(queues []*queue) {
	holders := make(map[uint64]bool)
	for _, q := range queues {
		for _, p := range q.parts {
			p.messages.EachHeld(func(_ store.Entry, info store.Info) bool {
				holders[info.Hold.Channel] = true
				return true
			})
		}
	}
	if len(holders) == 0 {
		return
	}
	for _, ch := range s.gather().channels {
		if holders[ch.serial] && !ch.failed {
			s.arm(ch, s.nowMillis)
		}
	}
}
