package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/triagemq/triagemq/fsm/content"
)

// matchArgument is the binding argument that says how many conditions must hold.
const matchArgument = "x-match"

// headers matches message headers against the binding's arguments (AMQP 0-9-1 §3.1.3.4). Each argument is a condition: the
// message has a header of that name with that value (content.Equal), or with any value where the argument is void. x-match
// asks for all conditions (the default) or any; arguments whose names begin with x- are conditions only with all-with-x and
// any-with-x, x-match itself never. Without a condition "all" holds and "any" does not. Of a name that occurs twice, in a
// binding or a message, the first occurrence counts.
//
// Match does not look at each binding: every condition knows its bindings, a binding counts its conditions that hold. It
// costs one look-up for each header, and one step for each condition of a binding that holds.
type headers struct {
	bindings
	byID    shrinkingMap[binding, *headersBinding]
	holding shrinkingMap[string, []*headersBinding] // by condition, encoded by appendCondition
	always  destSet                                 // destinations of bindings that have no condition and ask for all

	// Scratch of Match, kept so that it need not allocate.
	message   uint64 // number of the call
	condition []byte
	names     map[string]struct{}
}

// headersBinding is a binding that has at least one condition.
type headersBinding struct {
	dest    Dest
	needed  int    // conditions that must hold
	message uint64 // the message that held counts for
	held    int
}

// CheckArguments says in RabbitMQ's words why arguments cannot be those of a binding of that kind of exchange (406 to an AMQP client); "" if they can.
func CheckArguments(kind Kind, args content.Table) (fault string) {
	v, ok := args.Get(matchArgument)
	if kind != Headers || !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		return fmt.Sprintf("Invalid %s field type %s (value %v); expected longstr", matchArgument, content.TypeName(v), v)
	}
	if !slices.Contains([]string{"all", "any", "all-with-x", "any-with-x"}, s) {
		return fmt.Sprintf("Invalid %s field value <<%q>>; expected all, any, all-with-x, or any-with-x", matchArgument, s)
	}
	return ""
}

func (m *headers) Bind(key string, args content.Table, dest Dest) bool {
	id := identify(key, args, dest)
	if !m.add(id) {
		return false
	}
	conditions, needed := conditionsOf(args)
	if needed == 0 {
		m.always.add(dest)
	}
	if len(conditions) == 0 {
		return true
	}
	b := &headersBinding{dest: dest, needed: needed}
	m.byID.put(id, b)
	for _, c := range conditions {
		m.holding.put(c, append(m.holding.m[c], b))
	}
	return true
}

func (m *headers) Unbind(key string, args content.Table, dest Dest) bool {
	id := identify(key, args, dest)
	if !m.remove(id) {
		return false
	}
	if m.Len() == 0 {
		*m = headers{}
		return true
	}
	conditions, needed := conditionsOf(args)
	if needed == 0 {
		m.always.remove(dest)
	}
	if len(conditions) == 0 {
		return true
	}
	b := m.byID.m[id]
	m.byID.delete(id)
	for _, c := range conditions {
		m.release(c, b)
	}
	return true
}

// release takes b off a condition.
func (m *headers) release(condition string, b *headersBinding) {
	list := m.holding.m[condition]
	if len(list) == 1 {
		m.holding.delete(condition)
		return
	}
	last := len(list) - 1
	i := last // what ends in a crowd ends the youngest first
	for list[i] != b {
		i--
	}
	list[i] = list[last] // order does not matter: Match sorts
	list[last] = nil
	m.holding.put(condition, shrunk(list[:last]))
}

func (m *headers) Match(_ string, table func() content.Table, out []Dest) []Dest {
	out = m.always.appendTo(out[:0])
	if len(m.holding.m) == 0 {
		return out
	}
	m.message++
	if m.names == nil {
		m.names = make(map[string]struct{})
	}
	for _, f := range table() {
		if _, again := m.names[f.Name]; again {
			continue
		}
		m.names[f.Name] = struct{}{}
		out = m.hold(f.Name, nil, out)
		if f.Value != nil {
			out = m.hold(f.Name, f.Value, out)
		}
	}
	clear(m.names)
	return distinct(out)
}

// hold notes that a condition holds and appends the bindings for which it was the last one needed.
func (m *headers) hold(name string, value any, out []Dest) []Dest {
	m.condition = appendCondition(m.condition[:0], name, value)
	for _, b := range m.holding.m[string(m.condition)] {
		if b.message != m.message {
			b.message, b.held = m.message, 0
		}
		if b.held++; b.held == b.needed {
			out = append(out, b.dest)
		}
	}
	return out
}

// conditionsOf encodes the conditions of a binding and tells how many of them must hold.
func conditionsOf(args content.Table) (conditions []string, needed int) {
	mode, _ := args.Get(matchArgument)
	withX := mode == "all-with-x" || mode == "any-with-x"
	names := make(map[string]struct{}, len(args))
	for _, f := range args {
		_, again := names[f.Name]
		if again || f.Name == matchArgument || !withX && strings.HasPrefix(f.Name, "x-") {
			continue
		}
		names[f.Name] = struct{}{}
		conditions = append(conditions, string(appendCondition(nil, f.Name, f.Value)))
	}
	if mode == "any" || mode == "any-with-x" {
		return conditions, 1
	}
	return conditions, len(conditions)
}

// appendCondition encodes "the header has this value", or with nil "there is such a header". A header that is itself void
// only satisfies the latter.
func appendCondition(dst []byte, name string, value any) []byte {
	dst = append(dst, byte(len(name)))
	dst = append(dst, name...)
	return content.AppendCanonical(dst, value)
}
