package http

import (
	"fmt"
	"io"
	nethttp "net/http"
	"sync"
)

// bodies bounds what the bodies of all requests take that are being answered, and the messages in answers. A body that does not fit is refused at once: it must not be read, and a client that
// waits for a large one to go may send the other half of none.
type bodies struct {
	maxBytes int

	mu   sync.Mutex // guards what follows
	used int
}

// smallBodyBytes is what a body may have without counting; the number of connections bounds these.
const smallBodyBytes = 64 << 10

// take takes room, if there is any. Every success wants a release.
func (b *bodies) take(sizeBytes int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+sizeBytes > b.maxBytes {
		return false
	}
	b.used += sizeBytes
	return true
}

// add takes room that may not be there, and reports whether there is more.
func (b *bodies) add(sizeBytes int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += sizeBytes
	return b.used < b.maxBytes
}

func (b *bodies) release(sizeBytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= sizeBytes
}

// raw is the request's body. Its room stays taken until the request is answered.
func (r *request) raw() ([]byte, error) {
	limit := r.server.cfg.bodyBytesMax()
	size := r.http.ContentLength
	if size < 0 { // the client does not say
		size = int64(limit)
	}
	if size > int64(limit) {
		return nil, tooLarge(limit)
	}
	if size > smallBodyBytes {
		if !r.server.bodies.take(int(size)) {
			return nil, unavailable(fmt.Sprintf("the bodies of requests have %d bytes together at most: try again when others are answered", r.server.bodies.maxBytes))
		}
		r.reserved += int(size)
	}
	b, err := io.ReadAll(io.LimitReader(r.http.Body, size+1))
	if len(b) > int(size) {
		return nil, tooLarge(limit)
	}
	return b, err
}

func tooLarge(limitBytes int) error {
	return &failure{status: nethttp.StatusBadRequest, name: "bad_request", reason: fmt.Sprintf("payload_too_large: more than %d bytes", limitBytes)}
}

// reserve takes room for what is in the answer, and reports whether there is more.
func (r *request) reserve(sizeBytes int) bool {
	r.reserved += sizeBytes
	return r.server.bodies.add(sizeBytes)
}

// unreserve gives back the room of the request and its answer.
func (r *request) unreserve() {
	r.server.bodies.release(r.reserved)
	r.reserved = 0
}
