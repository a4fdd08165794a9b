package store

import "testing"

// due drains what is due by removing it, and returns the indexes of the IDs.
func due(s *Store, nowMillis int64) (indexes []uint64) {
	for e, _, ok := s.Due(nowMillis); ok; e, _, ok = s.Due(nowMillis) {
		i := s.Info(e)
		indexes = append(indexes, i.ID.Index)
		s.Queue(i.Queue).Remove(e)
	}
	return indexes
}

func TestDueIsInOrderOfTimeThenID(t *testing.T) {
	s := New(HeapChunks{})
	m := s.Put(Content{})
	for i, millis := range []int64{30, 10, 20, 10, 30, 10} {
		s.Queue(uint64(1+i%2)).Push(m, ID{Index: uint64(i)}, Placement{ExpiresMillis: millis})
	}
	if next, ok := s.NextDue(); !ok || next != 10 {
		t.Fatalf("NextDue is %d, %t", next, ok)
	}
	if got := due(s, 9); got != nil {
		t.Fatalf("due before their time: %v", got)
	}
	want := []uint64{1, 3, 5, 2}
	got := due(s, 20)
	if len(got) != len(want) {
		t.Fatalf("due are %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("due are %v, want %v", got, want)
		}
	}
	if next, _ := s.NextDue(); next != 30 {
		t.Fatalf("NextDue is %d", next)
	}
}

// TestHeldEntriesDoNotExpire: what a consumer has is its; once returned it is due, late or not.
func TestHeldEntriesDoNotExpire(t *testing.T) {
	s := New(HeapChunks{})
	q := s.Queue(1)
	m := s.Put(Content{})
	e := q.Push(m, ID{Index: 1}, Placement{ExpiresMillis: 10})
	q.Take(Hold{Channel: 1, Tag: 1, Delivery: 1})
	if millis, ok := s.NextDue(); ok {
		t.Fatalf("a held entry is due at %d", millis)
	}
	q.Delay(e, ReturnFailed, Delay{DueMillis: 5, Delivery: 2})
	if _, what, ok := s.Due(5); !ok || what != Matured {
		t.Fatalf("due is kind %d, %t", what, ok)
	}
	q.Promote(e)
	if got, what, ok := s.Due(10); !ok || what != Expired || got != e {
		t.Fatalf("due is %d of kind %d, %t", got, what, ok)
	}
}

// TestTimersStayBounded: entries that come and go, or are delivered and returned again and again, leave no memory behind.
func TestTimersStayBounded(t *testing.T) {
	s := New(HeapChunks{})
	q := s.Queue(1)
	m := s.Put(Content{})
	first := q.Push(m, ID{Index: 1}, Placement{ExpiresMillis: 1}) // keeps what is behind it from the top
	delivery := uint64(0)
	for i := range uint64(20_000) {
		e := q.Push(m, ID{Index: 2 + i}, Placement{Priority: 1, ExpiresMillis: 2 + int64(i%100)})
		delivery++
		q.Take(Hold{Channel: 1, Tag: delivery, Delivery: delivery})
		q.Return(e, ReturnFailed)
		q.Remove(e)
	}
	if n := len(s.timers.nodes); n > timersSlack+2 {
		t.Fatalf("%d nodes for one entry", n)
	}
	q.Remove(first)
	if n := len(s.timers.nodes); n != 0 {
		t.Fatalf("%d nodes for nothing", n)
	}
	if c := cap(s.timers.nodes); c > 2*timersSlack {
		t.Fatalf("room for %d nodes is kept", c)
	}
}
