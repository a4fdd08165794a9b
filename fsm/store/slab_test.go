package store

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

func TestRecordSizes(t *testing.T) {
	for _, c := range []struct {
		record any
		bytes  int
	}{{messageRecord{}, messageRecordBytes}, {entryRecord{}, entryRecordBytes}, {holdRecord{}, holdRecordBytes}} {
		typ := reflect.TypeOf(c.record)
		if int(typ.Size()) != c.bytes {
			t.Errorf("%v has %d bytes, the constant says %d", typ, typ.Size(), c.bytes)
		}
		for i := range typ.NumField() {
			if k := typ.Field(i).Type.Kind(); k == reflect.Pointer || k == reflect.Slice || k == reflect.String || k == reflect.Map || k == reflect.Interface {
				t.Errorf("%v has a pointer: %s", typ, typ.Field(i).Name)
			}
		}
	}
}

// TestSlab allocates and frees in waves, over many pages, with a frozen view now and then.
func TestSlab(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := newSlab[uint64]("numbers", 8)
	want := make(map[uint32]uint64)
	var slots []uint32
	set := func(slot uint32) {
		want[slot] = random.Uint64()
		*s.mut(slot) = want[slot]
	}
	for wave := range 40 {
		var view frozenSlab[uint64]
		before := make(map[uint32]uint64)
		if wave%3 == 1 {
			view = s.freeze()
			for slot, v := range want {
				before[slot] = v
			}
		}
		for range random.IntN(20_000) {
			slot := s.alloc()
			if _, ok := want[slot]; ok || slot == 0 {
				t.Fatalf("slot %d is handed out and in use", slot)
			}
			slots = append(slots, slot)
			set(slot)
		}
		for range random.IntN(len(slots) + 1) {
			i := random.IntN(len(slots))
			if random.IntN(3) == 0 {
				set(slots[i])
				continue
			}
			s.free(slots[i])
			delete(want, slots[i])
			slots[i] = slots[len(slots)-1]
			slots = slots[:len(slots)-1]
		}
		if wave%7 == 6 {
			for _, slot := range slots {
				s.free(slot)
			}
			clear(want)
			slots = slots[:0]
		}
		for slot, v := range before {
			if *view.at(slot) != v {
				t.Fatalf("slot %d of a frozen view changed", slot)
			}
		}
		s.thaw()
		for slot, v := range want {
			if *s.at(slot) != v || !s.has(slot) {
				t.Fatalf("slot %d changed", slot)
			}
		}
		c := checker{}
		checkSlab(&c, &s)
		if len(c.faults) > 0 || s.live != len(want) {
			t.Fatal(s.live, len(want), c.faults)
		}
		if pages := len(s.pages) - len(s.vacant); len(want) == 0 && pages > emptyPagesMax+1 {
			t.Fatalf("%d pages are kept for nothing", pages)
		}
	}
}

func TestSlabMisuse(t *testing.T) {
	s := newSlab[uint64]("numbers", 8)
	slot := s.alloc()
	s.free(slot)
	for _, bad := range []uint32{slot, 0, 1 << 31} {
		if s.has(bad) {
			t.Errorf("slot %d is said to be in use", bad)
		}
		mustPanic(t, "freeing a slot that is not in use", func() { s.free(bad) })
	}
}

func TestSlabIsFullInWords(t *testing.T) {
	s := newSlab[uint64]("numbers", 8)
	s.pages = make([]*[pageRecords]uint64, pagesMax)
	s.open = -1
	defer func() {
		if got, want := recover(), "store: 2^32 numbers are in use, the most that slots can number"; got != want {
			t.Fatalf("panic with %v, want %q", got, want)
		}
	}()
	s.alloc()
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}
