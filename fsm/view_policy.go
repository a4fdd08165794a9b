package fsm

import (
	"maps"
	"slices"
)

// PolicyView is a policy, or an operator policy, as operators see it.
type PolicyView struct {
	VHost, Name, Pattern, ApplyTo string
	Priority                      int64
	Definition                    []byte // encoded table; not to be changed
}

// AppliedPolicy is what policies make of one queue or exchange.
type AppliedPolicy struct {
	Policy, OperatorPolicy string // names; "" is none
	Definition             []byte // what the two say together: an encoded table, nil without any
}

// Policies lists the policies, or the operator policies, of a virtual host ("" = all, by virtual host) in the order in which they are tried.
func (s *State) Policies(vhost string, operator bool) []PolicyView {
	var views []PolicyView
	for _, name := range slices.Sorted(maps.Keys(s.vhosts)) {
		if vhost != "" && vhost != name {
			continue
		}
		for _, p := range s.vhosts[name].policies[flavourOf(operator)] {
			views = append(views, p.view())
		}
	}
	return views
}

// Policy returns one.
func (s *State) Policy(vhost, name string, operator bool) (PolicyView, bool) {
	v := s.vhosts[vhost]
	if v == nil {
		return PolicyView{}, false
	}
	p := v.policyNamed(flavourOf(operator), name)
	if p == nil {
		return PolicyView{}, false
	}
	return p.view(), true
}

// ExchangePolicy tells what policies make of an exchange; the default one has none, as none that is not there.
func (s *State) ExchangePolicy(vhost, name string) AppliedPolicy {
	v := s.vhosts[vhost]
	if v == nil || v.exchanges[name] == nil {
		return AppliedPolicy{}
	}
	return v.exchanges[name].applied()
}

func (p *policy) view() PolicyView {
	return PolicyView{
		VHost: p.vhost.name, Name: p.name, Pattern: p.source, ApplyTo: p.applyTo(), Priority: p.priority, Definition: p.encoded,
	}
}

func (g *governed) applied() (a AppliedPolicy) {
	if p := g.policies[userPolicy]; p != nil {
		a.Policy = p.name
	}
	if p := g.policies[operatorPolicy]; p != nil {
		a.OperatorPolicy = p.name
	}
	if definition := g.definition(); definition != nil {
		a.Definition = definition.Append(nil)
	}
	return a
}
