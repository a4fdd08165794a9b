//go:build !unix

package arena

import "sync/atomic"

// Arena implements store.Chunks on the Go heap.
type Arena struct{ lentBytes atomic.Int64 }

// New returns an Arena.
func New() *Arena { return new(Arena) }

// Alloc implements store.Chunks.
func (a *Arena) Alloc(sizeBytes int) []byte {
	a.lentBytes.Add(int64(sizeBytes))
	return make([]byte, sizeBytes)
}

// Free implements store.Chunks.
func (a *Arena) Free(chunk []byte) { a.lentBytes.Add(-int64(len(chunk))) }

// Stats returns the present figures.
func (a *Arena) Stats() Stats {
	lent := a.lentBytes.Load()
	return Stats{LentBytes: lent, MappedBytes: lent}
}

// Close does nothing: the garbage collector does.
func (a *Arena) Close() {}
