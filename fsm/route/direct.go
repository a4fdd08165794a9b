package route

import "github.com/triagemq/triagemq/fsm/content"

// direct matches keys that are equal (AMQP 0-9-1 §3.1.3.1). Match is O(result).
type direct struct {
	bindings
	dests shrinkingMap[string, *destSet]
}

func (m *direct) Bind(key string, args content.Table, dest Dest) bool {
	if !m.add(identify(key, args, dest)) {
		return false
	}
	set, ok := m.dests.m[key]
	if !ok {
		set = new(destSet)
		m.dests.put(key, set)
	}
	set.add(dest)
	return true
}

func (m *direct) Unbind(key string, args content.Table, dest Dest) bool {
	if !m.remove(identify(key, args, dest)) {
		return false
	}
	set := m.dests.m[key]
	set.remove(dest)
	if len(*set) == 0 {
		m.dests.delete(key)
	}
	return true
}

func (m *direct) Match(key string, _ func() content.Table, out []Dest) []Dest {
	out = out[:0]
	if set, ok := m.dests.m[key]; ok {
		out = set.appendTo(out)
	}
	return out
}
