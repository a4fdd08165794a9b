// Package route matches a routing key and headers against the bindings of one exchange.
//
// One Matcher per exchange; the state machine owns it, it has no locks. What it returns depends on the set of bindings alone,
// never on the order in which they came (replicas that restored a snapshot must route alike). Memory that bindings needed is
// given back when they go.
//
// Every publish runs through Match while the log is applied, so no set of bindings that a client can make may stall it: each
// implementation states its bound. Start reading at Matcher; topic.go and headers.go hold the two that are not obvious.
package route

import (
	"fmt"

	"github.com/triagemq/triagemq/fsm/content"
)

// Kind is an exchange type (AMQP 0-9-1 §3.1.3).
type Kind uint8

// The kinds. Their numbers are part of the log's format.
const (
	Direct Kind = iota + 1
	Fanout
	Topic
	Headers
)

// Dest is a destination, queue or exchange: a serial number that the state machine never reuses, in order of creation.
type Dest uint64

// Matcher holds the bindings of one exchange. Two bindings are the same if key, arguments (content.Equal, any order) and dest are.
type Matcher interface {
	// Bind adds a binding; adding it twice changes nothing and returns false.
	Bind(key string, args content.Table, dest Dest) bool
	// Unbind removes a binding and reports whether it was there.
	Unbind(key string, args content.Table, dest Dest) bool
	// Match appends the distinct destinations to out[:0], ascending. headers is called at most once, and only by headers exchanges.
	// It does not allocate while out has room, but for what headers allocates and to order the fields of a header that is a table.
	Match(key string, headers func() content.Table, out []Dest) []Dest
	// Len is the number of bindings.
	Len() int
}

// New returns an empty matcher. It panics on a kind that is none of the constants.
func New(kind Kind) Matcher {
	switch kind {
	case Direct:
		return &direct{}
	case Fanout:
		return &fanout{}
	case Topic:
		return &topic{}
	case Headers:
		return &headers{}
	}
	panic(fmt.Sprintf("route: exchange kind %d", kind))
}
