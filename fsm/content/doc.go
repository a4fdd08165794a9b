// Package content reads and writes what AMQP 0-9-1 calls a message's properties and its field tables.
//
// The state machine, the routing of headers exchanges and the wire codec all use it, so it knows nothing of frames,
// connections or queues. It is pure: no goroutines, no state; every function may be called concurrently.
//
// Decoders take bytes from clients. They check each length before they allocate, refuse tables deeper than DepthMax or longer
// than EntriesMax, never panic, and copy what they keep. Whatever they accept, Append writes back byte for byte, with one
// exception: a boolean octet above 1 is read as true, as RabbitMQ does, and written as 1. Where a message must travel
// verbatim its encoded properties are kept and only looked at with Scan.
//
// Encoders take values that this program made. One that has no encoding is a mistake of the caller: Append panics. Validate
// finds it first, for values that came from outside in another form (JSON of the management API).
//
// Start reading at Table (table.go) and its values (value.go); Properties and Scan follow from them.
package content

import (
	"errors"
	"fmt"
)

// Bounds that every decoder enforces.
const (
	DepthMax   = 16   // nested tables and arrays, the outermost included
	EntriesMax = 1024 // entries of one table or array
)

const shortStringMax = 255 // bytes (AMQP 0-9-1 §4.2.5.3)

// ErrMalformed is what every decoding error wraps. An AMQP connection answers it with 502 (syntax error).
var ErrMalformed = errors.New("malformed content")

var (
	errTruncated = fmt.Errorf("%w: a length reaches beyond the end", ErrMalformed)
	errTrailing  = fmt.Errorf("%w: bytes follow the last property", ErrMalformed)
	errFlags     = fmt.Errorf("%w: a property flag that the basic class does not have", ErrMalformed)
	errType      = fmt.Errorf("%w: unknown field type", ErrMalformed)
	errDepth     = fmt.Errorf("%w: tables nest deeper than %d", ErrMalformed, DepthMax)
	errEntries   = fmt.Errorf("%w: more than %d entries in one table or array", ErrMalformed, EntriesMax)
)
