package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// put stores a body and pushes it once.
func push(s *Store, q *Queue, index uint64, priority uint8) Entry {
	m := s.Put(Content{Body: fmt.Append(nil, index)})
	defer s.Release(m)
	return q.Push(m, ID{Index: index}, Placement{Priority: priority})
}

// TestPriorities: all 256 levels, strict between levels and by arrival within, whatever was returned in whatever order.
func TestPriorities(t *testing.T) {
	s := New(HeapChunks{})
	q := s.Queue(1)
	random := rand.New(rand.NewPCG(3, 4))
	const perLevel = 5
	for i := range 256 * perLevel {
		push(s, q, uint64(i+1), uint8(random.IntN(256)))
	}
	delivery := uint64(0)
	for round := range 3 {
		var taken []Entry
		for range 256 * perLevel * (round + 1) / 4 {
			delivery++
			e, ok := q.Take(Hold{Channel: 1, Tag: delivery, Delivery: delivery})
			if !ok {
				t.Fatal("nothing to take")
			}
			taken = append(taken, e)
		}
		inOrder(t, s, taken)
		random.Shuffle(len(taken), func(i, j int) { taken[i], taken[j] = taken[j], taken[i] })
		for _, e := range taken {
			q.Return(e, ReturnConnection)
		}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
	}
	var all []Entry
	q.Each(func(e Entry, _ Info) bool { all = append(all, e); return true })
	if len(all) != 256*perLevel {
		t.Fatalf("%d entries, want %d", len(all), 256*perLevel)
	}
	inOrder(t, s, all)
	n := 0
	q.Each(func(Entry, Info) bool { n++; return n < 10 })
	if n != 10 {
		t.Fatalf("Each went on to %d", n)
	}
}

func inOrder(t *testing.T, s *Store, entries []Entry) {
	t.Helper()
	for i := 1; i < len(entries); i++ {
		a, b := s.Info(entries[i-1]), s.Info(entries[i])
		if a.Priority < b.Priority || a.Priority == b.Priority && !a.ID.Less(b.ID) {
			t.Fatalf("%+v comes before %+v", a, b)
		}
	}
}

// TestManyReturned returns a great many at once, takes some, removes at random, and takes the rest in order.
func TestManyReturned(t *testing.T) {
	n := 200_000
	if testing.Short() {
		n = 20_000
	}
	s := New(HeapChunks{})
	q := s.Queue(1)
	var entries []Entry
	for i := range n {
		push(s, q, uint64(i+1), 0)
		e, _ := q.Take(Hold{Channel: 1, Tag: uint64(i + 1), Delivery: uint64(i + 1)})
		entries = append(entries, e)
	}
	random := rand.New(rand.NewPCG(5, 6))
	random.Shuffle(n, func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	for _, e := range entries {
		q.Return(e, ReturnNode)
	}
	for _, e := range entries[:n*3/4] {
		q.Remove(e)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if nodes := len(q.levels.used[0].returned.nodes); nodes > n/2 {
		t.Fatalf("%d nodes for %d entries", nodes, n/4)
	}
	var last ID
	for e, ok := q.Front(); ok; e, ok = q.Front() {
		if id := s.Info(e).ID; !last.Less(id) {
			t.Fatalf("%+v follows %+v", id, last)
		} else {
			last = id
		}
		q.Remove(e)
	}
	if st := s.Stats(); st.Entries != 0 || st.Messages != 0 || st.ContentBytes != 0 || s.Digest() != (Digest{}) {
		t.Fatalf("nothing is left, and Stats are %+v", st)
	}
}

// TestStaleNodes: the slot of a removed returned entry serves another one, returned too, on another level, before the first one's node is gone.
func TestStaleNodes(t *testing.T) {
	s := New(HeapChunks{})
	q := s.Queue(1)
	var held []Entry
	for i := range uint64(10) {
		push(s, q, i+1, 0)
		e, _ := q.Take(Hold{Channel: 1, Tag: i + 1, Delivery: i + 1})
		held = append(held, e)
	}
	for _, e := range held {
		q.Return(e, ReturnNode)
	}
	q.Remove(held[5]) // not the front: its node stays
	if e := push(s, q, 11, 7); e != held[5] {
		t.Fatalf("slot %d is not used again at once, but %d", held[5], e)
	}
	e, _ := q.Take(Hold{Channel: 1, Tag: 11, Delivery: 11})
	q.Return(e, ReturnNode)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	n := 0
	q.Each(func(Entry, Info) bool { n++; return true })
	if n != 10 {
		t.Fatalf("%d are ready, want 10", n)
	}
}

// TestShared: a message in many queues lives until the last entry goes.
func TestShared(t *testing.T) {
	s := New(HeapChunks{})
	m := s.Put(Content{Exchange: []byte("x"), Body: []byte("shared")})
	var entries []Entry
	for serial := range uint64(100) {
		entries = append(entries, s.Queue(serial).Push(m, ID{1, uint32(serial)}, Placement{}))
	}
	s.Release(m)
	for serial, e := range entries {
		if st := s.Stats(); st.Messages != 1 || st.ContentBytes != int64(len("x")+len("shared")) {
			t.Fatalf("Stats are %+v", st)
		}
		if got := s.Content(s.Info(e).Message); string(got.Body) != "shared" {
			t.Fatalf("the body is %q", got.Body)
		}
		s.Queue(uint64(serial)).Remove(e)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Stats(); st.Messages != 0 || st.ContentBytes != 0 {
		t.Fatalf("Stats are %+v", st)
	}
}

func TestCounts(t *testing.T) {
	s := New(HeapChunks{})
	q := s.Queue(1)
	push(s, q, 1, 9)
	for i, c := range []struct {
		cause                ReturnCause
		deliveries, failures uint32
	}{{ReturnNode, 0, 0}, {ReturnFailed, 1, 1}, {ReturnConnection, 2, 1}, {ReturnFailed, 3, 2}, {ReturnNode, 3, 2}} {
		e, _ := q.Take(Hold{Channel: 1, Tag: uint64(i + 1), Delivery: uint64(i + 1)})
		q.Return(e, c.cause)
		if got := s.Info(e); !got.Redelivered || got.Deliveries != c.deliveries || got.Failures != c.failures || got.Priority != 9 {
			t.Fatalf("after cause %d: %+v", c.cause, got)
		}
	}
}

// TestStaleReturnedAreBounded: taking the front leaves fewer nodes, so that those left behind may be too many without a new one.
func TestStaleReturnedAreBounded(t *testing.T) {
	s := New(HeapChunks{})
	q := s.Queue(1)
	var entries []Entry
	for i := range uint64(4) {
		push(s, q, i+1, 0)
		e, _ := q.Take(Hold{Channel: 1, Tag: i + 1, Delivery: i + 1})
		entries = append(entries, e)
	}
	for _, e := range entries {
		q.Return(e, ReturnFailed)
	}
	q.Remove(entries[2])
	q.Remove(entries[3])
	q.Take(Hold{Channel: 1, Tag: 5, Delivery: 5})
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestMisuse(t *testing.T) {
	s := New(HeapChunks{})
	q, other := s.Queue(1), s.Queue(2)
	ready := push(s, q, 1, 0)
	m := s.Put(Content{})
	gone := push(s, q, 2, 0)
	goneMessage := s.Info(gone).Message
	q.Remove(gone)
	for _, c := range []struct {
		what string
		f    func()
	}{
		{"an ID that does not ascend", func() { q.Push(m, ID{Index: 2}, Placement{}) }},
		{"a message that is gone", func() { q.Push(goneMessage, ID{Index: 9}, Placement{}) }},
		{"an entry of another queue", func() { other.Remove(ready) }},
		{"an entry twice", func() { q.Remove(gone) }},
		{"the promotion of a ready entry", func() { q.Promote(ready) }},
		{"a delay of a ready entry", func() { q.Delay(ready, ReturnFailed, Delay{DueMillis: 1, Delivery: 1}) }},
		{"the return of a ready entry", func() { q.Return(ready, ReturnFailed) }},
		{"a delivery id of 0", func() { q.Take(Hold{}) }},
		{"Info of an entry that is gone", func() { s.Info(gone) }},
		{"Content of one that is gone", func() { s.Content(goneMessage) }},
		{"Release without Put", func() { s.Release(s.Info(ready).Message) }},
		{"a queue with messages", func() { s.DropQueue(1) }},
		{"a key that is too long", func() { s.Put(Content{RoutingKey: make([]byte, 256)}) }},
		{"two views", func() { s.Freeze(); s.Freeze() }},
		{"Thaw of another view", func() { s.Thaw(&Frozen{}) }},
		{"entry 0", func() { q.Remove(0) }},
		{"an entry that there never was", func() { q.Remove(1 << 31) }},
		{"Info of one that was never", func() { s.Info(1 << 31) }},
		{"Release of message 0", func() { s.Release(0) }},
		{"Thaw of nothing", func() { s.Thaw(nil) }},
		{"no cause", func() { e, _ := q.Take(Hold{Delivery: 1}); q.Return(e, 0) }},
	} {
		mustPanic(t, c.what, c.f)
	}
}

func TestDropQueue(t *testing.T) {
	s := New(HeapChunks{})
	a := s.Queue(1)
	e := push(s, a, 1, 0)
	a.Remove(e)
	s.DropQueue(1)
	s.DropQueue(1)
	if b := s.Queue(2); b == a || s.Queue(2) != b {
		t.Fatal("queues are mixed up")
	}
	push(s, s.Queue(1), 1, 0) // a queue of that serial begins anew
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

// TestCheckFindsFaults breaks one thing at a time.
func TestCheckFindsFaults(t *testing.T) {
	for what, spoil := range map[string]func(s *Store, q *Queue){
		"digest":          func(s *Store, _ *Queue) { s.digest.Lo++ },
		"references":      func(s *Store, q *Queue) { s.messages.mut(uint32(frontMessage(s, q))).refs++ },
		"priority":        func(s *Store, q *Queue) { s.entries.mut(uint32(q.levels.used[0].fifo.last)).priority++ },
		"order":           func(s *Store, q *Queue) { s.entries.mut(uint32(q.levels.used[0].fifo.last)).index = 0 },
		"ready":           func(_ *Store, q *Queue) { q.ready++ },
		"bytes":           func(_ *Store, q *Queue) { q.bytes++ },
		"held":            func(_ *Store, q *Queue) { q.held-- },
		"level map":       func(_ *Store, q *Queue) { q.levels.inUse[3] |= 1 },
		"list end":        func(_ *Store, q *Queue) { q.levels.used[0].fifo.last = q.levels.used[0].fifo.first },
		"lost entry":      func(_ *Store, q *Queue) { q.holding = entryList{} },
		"hold":            func(s *Store, q *Queue) { s.holds.mut(s.entries.at(uint32(q.holding.first)).hold).Tag++ },
		"a body's byte":   func(s *Store, q *Queue) { s.Content(frontMessage(s, q)).Body[0]++ },
		"live bytes":      func(s *Store, _ *Queue) { s.contents.chunks[0].live++ },
		"content bytes":   func(s *Store, _ *Queue) { s.contents.contentBytes++ },
		"a leaked hold":   func(s *Store, _ *Queue) { s.holds.alloc() },
		"a leaked entry":  func(s *Store, _ *Queue) { s.entries.alloc() },
		"stale returned":  func(_ *Store, q *Queue) { q.levels.used[0].returned.stale++ },
		"delivery":        func(s *Store, _ *Queue) { s.lastDelivery = 0 },
		"a leaked delay":  func(s *Store, _ *Queue) { s.delays.alloc() },
		"a delay's time":  func(s *Store, q *Queue) { s.delays.mut(s.entries.at(uint32(q.waiting.first)).hold).DueMillis++ },
		"delayed":         func(_ *Store, q *Queue) { q.delayed++ },
		"a lost delayed":  func(_ *Store, q *Queue) { q.waiting = entryList{} },
		"a lost timer":    func(s *Store, _ *Queue) { s.timers.nodes = s.timers.nodes[:1] },
		"a timer's order": func(s *Store, _ *Queue) { slices.Reverse(s.timers.nodes) },
		"armed":           func(s *Store, _ *Queue) { s.timers.armed-- },
		"an expiry":       func(s *Store, q *Queue) { s.entries.mut(uint32(q.waiting.first)).expires = 5 },
		"a queue's place": func(s *Store, q *Queue) { s.queueSerials[q.slot]++ },
	} {
		s := New(HeapChunks{})
		q := s.Queue(1)
		for i := range uint64(6) {
			push(s, q, i+1, 0)
			if i < 3 {
				q.Take(Hold{Channel: 1, Tag: i + 1, Delivery: i + 1})
			}
		}
		e, _ := q.FirstHeld()
		q.Return(e, ReturnFailed)
		m := s.Put(Content{})
		q.Push(m, ID{Index: 7}, Placement{ExpiresMillis: 10})
		q.Push(m, ID{Index: 8}, Placement{Delay: Delay{DueMillis: 20, Delivery: 10}})
		s.Release(m)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		spoil(s, q)
		if s.Check() == nil {
			t.Errorf("%s: not found", what)
		}
	}
}

func frontMessage(s *Store, q *Queue) Message {
	e, _ := q.Front()
	return s.Info(e).Message
}
