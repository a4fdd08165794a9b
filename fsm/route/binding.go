package route

import "github.com/triagemq/triagemq/fsm/content"

// binding is the identity of a binding: args is canonical, "" without arguments.
type binding struct {
	key, args string
	dest      Dest
}

func identify(key string, args content.Table, dest Dest) binding {
	b := binding{key: key, dest: dest}
	if len(args) > 0 {
		b.args = string(content.AppendCanonical(nil, args))
	}
	return b
}

// bindings is the set of an exchange's bindings.
type bindings struct {
	set shrinkingMap[binding, struct{}]
}

// add and remove report whether they changed the set.
func (s *bindings) add(b binding) bool {
	if _, there := s.set.m[b]; there {
		return false
	}
	s.set.put(b, struct{}{})
	return true
}

func (s *bindings) remove(b binding) bool {
	if _, there := s.set.m[b]; !there {
		return false
	}
	s.set.delete(b)
	return true
}

// Len is the number of bindings.
func (s *bindings) Len() int { return len(s.set.m) }
