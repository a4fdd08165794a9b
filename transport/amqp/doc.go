// Package amqp is the door for AMQP 0-9-1 clients, in RabbitMQ's dialect.
//
// It turns frames into commands for a broker session and the session's effects into frames. It decides only what needs no
// replicated state: order of frames, sizes, names that the server generates. Everything else, errors included, comes back from
// the state machine as an effect. The composition root makes a Server and opens it; nothing else calls this package.
//
// # Goroutines
//
// A Server has one goroutine that accepts. A connection has two, joined by Server.Close: the reader (serve, reader.go), which
// owns the session and submits commands, and the writer (writer.go), which writes the output buffer to the socket. Effects
// arrive on the broker's apply goroutine (effect.go) and are encoded there, straight into the output buffer.
//
//	socket ──▶ reader ──Submit──▶ session ··· log ··· apply ──Effect──▶ output buffer ──▶ writer ──▶ socket
//	             ▲                                                           │              │
//	             └────────────── wake: room in the buffer, grants due, end ──┴──────────────┘
//
// # Locks
//
// connection.mu guards what the three share: the output buffer, the channels' states, what replies are expected, the
// consumers' windows. It is held for encoding and bookkeeping only, never for I/O, and no call of the session is made under it.
//
// # Bounds
//
// The reader stops reading while the session has no room for commands, while publishers are held, while the output buffer is
// over Config.OutputBytesMax, and while a basic.get is under way. What consumers are sent is bounded by their windows
// (consumer.go), which are refilled as the socket drains.
//
// Start reading at listener.go, then connection.go.
package amqp
