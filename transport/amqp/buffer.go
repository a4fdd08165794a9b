package amqp

import "sync"

// buffer is memory for encoded commands or frames. A quiet connection has none: that is what makes ten thousand of them cheap.
type buffer struct{ b []byte }

// bufferKeptMax is the capacity, in bytes, above which a buffer is left to the garbage collector: one large message must not
// stay in the pool.
const bufferKeptMax = 2 << 20

var buffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, 4<<10)} }}

func takeBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) free() {
	if cap(b.b) <= bufferKeptMax {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}
