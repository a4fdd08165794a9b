package route

import "github.com/triagemq/triagemq/fsm/content"

// fanout matches everything (AMQP 0-9-1 §3.1.3.2). Match is O(result).
type fanout struct {
	bindings
	dests destSet
}

func (m *fanout) Bind(key string, args content.Table, dest Dest) bool {
	if !m.add(identify(key, args, dest)) {
		return false
	}
	m.dests.add(dest)
	return true
}

func (m *fanout) Unbind(key string, args content.Table, dest Dest) bool {
	if !m.remove(identify(key, args, dest)) {
		return false
	}
	m.dests.remove(dest)
	return true
}

func (m *fanout) Match(_ string, _ func() content.Table, out []Dest) []Dest {
	return m.dests.appendTo(out[:0])
}
