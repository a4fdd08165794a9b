package fsm

import (
	"cmp"
	"slices"
	"strings"
)

// parameter is a runtime parameter: a JSON value that the broker keeps for others, such as tools that bring one broker's definitions to another.
type parameter struct {
	cold
	parameterKey
	value []byte
}

// parameterKey names a parameter; a global one has no virtual host and no component.
type parameterKey struct{ vhost, component, name string }

func (k parameterKey) compare(other parameterKey) int {
	return cmp.Or(strings.Compare(k.vhost, other.vhost), strings.Compare(k.component, other.component), strings.Compare(k.name, other.name))
}

// componentsWithCommands are the components of parameters that are no parameters here.
var componentsWithCommands = [...]string{"policy", "operator_policy", "vhost-limits", "user-limits"}

func (s *State) putParameter(c *PutParameter) *refusal {
	switch {
	case c.Name == "" || (c.VHost == "") != (c.Component == ""):
		return refuse(PreconditionFailed, "a parameter needs a name, and a component if and only if it has a virtual host")
	case c.VHost != "" && s.vhosts[c.VHost] == nil:
		return noVHost(c.VHost)
	case slices.Contains(componentsWithCommands[:], c.Component):
		return refuse(PreconditionFailed, "%s may not be set using this method", c.Component)
	case len(c.Value) > ParameterBytesMax:
		return refuse(PreconditionFailed, "the value of a parameter has at most %d bytes", ParameterBytesMax)
	}
	p := &parameter{parameterKey: parameterKey{c.VHost, c.Component, c.Name}, value: c.Value}
	if old := s.parameters[p.parameterKey]; old != nil {
		s.forget(old)
	}
	s.addParameter(p)
	return nil
}

func (s *State) addParameter(p *parameter) {
	s.parameters[p.parameterKey] = p
	s.touch(p)
}

func (s *State) deleteParameter(c *DeleteParameter) *refusal {
	p := s.parameters[parameterKey{c.VHost, c.Component, c.Name}]
	if p == nil {
		return refuse(NotFound, "Parameter does not exist")
	}
	s.forgetParameter(p)
	return nil
}

func (s *State) forgetParameter(p *parameter) {
	delete(s.parameters, p.parameterKey)
	s.forget(p)
}

// forgetParameters belongs to the end of a virtual host.
func (s *State) forgetParameters(v *vhost) {
	//fsm:unordered each is on its own
	for key, p := range s.parameters {
		if key.vhost == v.name {
			s.forgetParameter(p)
		}
	}
}

// sortedParameters lists all, by virtual host, component and name.
func (s *State) sortedParameters() []*parameter {
	list := make([]*parameter, 0, len(s.parameters))
	//fsm:unordered sorted below
	for _, p := range s.parameters {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *parameter) int { return a.compare(b.parameterKey) })
	return list
}

// ParameterView is a runtime parameter as operators see it.
type ParameterView struct {
	VHost, Component, Name string
	Value                  []byte // JSON; not to be changed
}

// Parameters lists the parameters of a virtual host and component, each "" for all; those of virtual hosts, not the global ones.
func (s *State) Parameters(vhost, component string) (views []ParameterView) {
	for _, p := range s.sortedParameters() {
		if p.vhost != "" && (vhost == "" || p.vhost == vhost) && (component == "" || p.component == component) {
			views = append(views, p.view())
		}
	}
	return views
}

// GlobalParameters lists those without a virtual host, by name.
func (s *State) GlobalParameters() (views []ParameterView) {
	for _, p := range s.sortedParameters() {
		if p.vhost == "" {
			views = append(views, p.view())
		}
	}
	return views
}

// Parameter returns one; a global one has vhost and component "".
func (s *State) Parameter(vhost, component, name string) (ParameterView, bool) {
	p := s.parameters[parameterKey{vhost, component, name}]
	if p == nil {
		return ParameterView{}, false
	}
	return p.view(), true
}

func (p *parameter) view() ParameterView {
	return ParameterView{VHost: p.vhost, Component: p.component, Name: p.name, Value: p.value}
}
