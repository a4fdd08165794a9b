package store

import (
	"bytes"
	"fmt"
	"testing"
)

func TestSmoke(t *testing.T) {
	s := New(HeapChunks{})
	q := s.Queue(7)
	for i := range 10 {
		m := s.Put(Content{Exchange: []byte("x"), RoutingKey: []byte("k"), Body: fmt.Appendf(nil, "body %d", i)})
		q.Push(m, ID{1, uint32(i)}, uint8(i%3))
		s.Queue(8).Push(m, ID{1, uint32(i)}, 0)
		s.Release(m)
	}
	e, ok := q.Take(Hold{Channel: 1, Tag: 1, Delivery: 1, SinceMillis: -5})
	if !ok || s.Info(e).Priority != 2 {
		t.Fatal(s.Info(e), ok)
	}
	e2, _ := q.Take(Hold{Channel: 1, Tag: 2, Delivery: 2, SinceMillis: 5})
	q.Return(e2, ReturnFailed)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	f := s.Freeze()
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	s.Thaw(f)
	r, err := Restore(HeapChunks{}, &b)
	if err != nil {
		t.Fatal(err)
	}
	if r.Digest() != s.Digest() {
		t.Fatal("digest")
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
}
