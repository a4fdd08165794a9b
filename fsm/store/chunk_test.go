package store

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// strictChunks poisons what is freed and knows what is lent: whoever reads freed memory, frees twice or forgets is found.
type strictChunks struct {
	t     fataler
	lent  map[*byte]int
	bytes int64
}

func newStrictChunks(t fataler) *strictChunks {
	return &strictChunks{t: t, lent: make(map[*byte]int)}
}

func (c *strictChunks) Alloc(sizeBytes int) []byte {
	chunk := bytes.Repeat([]byte{0xaa}, sizeBytes)
	c.lent[&chunk[0]] = sizeBytes
	c.bytes += int64(sizeBytes)
	return chunk
}

func (c *strictChunks) Free(chunk []byte) {
	if c.lent[&chunk[0]] != len(chunk) {
		c.t.Fatalf("a chunk of %d bytes is freed that was lent with %d", len(chunk), c.lent[&chunk[0]])
	}
	delete(c.lent, &chunk[0])
	c.bytes -= int64(len(chunk))
	for i := range chunk {
		chunk[i] = 0xdd
	}
}

func (c *strictChunks) checkEmpty() {
	if len(c.lent) != 0 || c.bytes != 0 {
		c.t.Fatalf("%d chunks of %d bytes were never freed", len(c.lent), c.bytes)
	}
}

// TestCompact: what is left of a backlog needs little more than twice its size, and stays what it is.
func TestCompact(t *testing.T) {
	chunks := newStrictChunks(t)
	s := New(chunks)
	q := s.Queue(1)
	random := rand.New(rand.NewPCG(7, 8))
	bodies := make(map[Entry][]byte)
	for i := range uint64(30_000) {
		body := bytes.Repeat([]byte{byte(i)}, random.IntN(2000))
		m := s.Put(Content{Body: body})
		bodies[q.Push(m, ID{Index: i + 1}, Placement{})] = body
		s.Release(m)
	}
	for e := range bodies {
		if random.IntN(10) > 0 {
			q.Remove(e)
			delete(bodies, e)
		}
	}
	before := s.Stats()
	f := s.Freeze()
	s.Compact(1 << 30)
	if s.Stats() != before {
		t.Fatal("Compact did something while a view pins all chunks")
	}
	s.Thaw(f)
	calls := 0
	for s.contents.tooSparse() {
		copied := s.copiedBy(func() { s.Compact(100_000) })
		if calls++; copied > 100_000 || calls > 1000 {
			t.Fatalf("call %d of Compact copied %d bytes", calls, copied)
		}
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	after := s.Stats()
	if after.ChunkBytes > 2*after.ContentBytes+sparseDeadMin+4*ChunkBytes || after.ChunkBytes >= before.ChunkBytes || after.ChunkBytes != chunks.bytes {
		t.Fatalf("before %+v, after %+v", before, after)
	}
	for e, body := range bodies {
		if !bytes.Equal(s.Content(s.Info(e).Message).Body, body) {
			t.Fatalf("entry %d has another body", e)
		}
	}
	s.Discard()
	chunks.checkEmpty()
}

// copiedBy tells how many bytes of contents f moves.
func (s *Store) copiedBy(f func()) (bytes int) {
	type position struct{ chunk, offset uint32 }
	before := make(map[uint32]position)
	for p := range s.messages.meta {
		for _, slot := range s.messages.meta[p].appendSlots(nil, uint32(p)) {
			r := s.messages.at(slot)
			before[slot] = position{r.chunk, r.offset}
		}
	}
	f()
	for slot, was := range before {
		if r := s.messages.at(slot); (position{r.chunk, r.offset}) != was {
			bytes += int(r.sizeBytes())
		}
	}
	return bytes
}

// TestLongLivedAreMovedOnce: what stays while much comes and goes beside it is not copied again and again.
func TestLongLivedAreMovedOnce(t *testing.T) {
	s := New(newStrictChunks(t))
	long, short := s.Queue(1), s.Queue(2)
	index, copied := uint64(0), 0
	body := make([]byte, 2000)
	put := func(q *Queue) {
		index++
		m := s.Put(Content{Body: body})
		q.Push(m, ID{Index: index}, Placement{})
		s.Release(m)
	}
	for i := range 20_000 {
		if put(short); i%50 == 0 {
			put(long)
		}
		if short.Ready() > 300 {
			e, _ := short.Front()
			short.Remove(e)
		}
		if i%100 == 0 {
			copied += s.copiedBy(func() { s.Compact(1 << 20) })
		}
	}
	if live := long.Ready() * len(body); copied > live*3/2 {
		t.Fatalf("%d bytes were copied for %d that stay", copied, live)
	}
	if st := s.Stats(); st.ChunkBytes > 2*st.ContentBytes+sparseDeadMin+4*ChunkBytes {
		t.Fatalf("Stats are %+v", st)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

// TestDrainingIsLeftAlone: in a queue that flows in order every chunk is sparse before it is gone, and nothing need be moved.
func TestDrainingIsLeftAlone(t *testing.T) {
	s := New(newStrictChunks(t))
	q := s.Queue(1)
	for i := range uint64(20_000) {
		m := s.Put(Content{Body: make([]byte, 1000)})
		q.Push(m, ID{Index: i + 1}, Placement{})
		s.Release(m)
		if i > 2000 {
			e, _ := q.Front()
			q.Remove(e)
		}
		if i%100 == 0 {
			if copied := s.copiedBy(func() { s.Compact(1 << 20) }); copied > 0 {
				t.Fatalf("%d bytes were copied", copied)
			}
		}
	}
}

// TestPutOfOwnContent: what Content returns may be put again, though it lies in a chunk of this Store.
func TestPutOfOwnContent(t *testing.T) {
	s := New(newStrictChunks(t))
	q := s.Queue(1)
	m := s.Put(Content{Exchange: []byte("x"), Body: bytes.Repeat([]byte("b"), 50_000)})
	for i := range uint64(100) {
		q.Push(m, ID{Index: i + 1}, Placement{})
		next := s.Put(s.Content(m))
		s.Release(m)
		e, _ := q.Front()
		if i%3 == 0 {
			q.Remove(e)
		}
		m = next
	}
	if got := s.Content(m); string(got.Exchange) != "x" || len(got.Body) != 50_000 || bytes.Count(got.Body, []byte("b")) != 50_000 {
		t.Fatal("the content changed on its way")
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

// TestDiscardDuringFreeze: a view outlives its discarded store.
func TestDiscardDuringFreeze(t *testing.T) {
	chunks := newStrictChunks(t)
	s := sampleStoreIn(chunks, 300)
	want := encode(s)
	f := s.Freeze()
	s.Discard()
	var got bytes.Buffer
	if _, err := f.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Fatal("the view is gone", err)
	}
	s.Thaw(f)
	chunks.checkEmpty()
	mustPanic(t, "WriteTo after Thaw", func() { f.WriteTo(&got) })
}
