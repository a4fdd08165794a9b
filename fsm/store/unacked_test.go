package store

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// unackedModel is a list that is searched.
type unackedModel []struct {
	tag  uint64
	e    Entry
	void bool
}

func (m unackedModel) find(tag uint64) int {
	for i, d := range m {
		if d.tag == tag {
			return i
		}
	}
	return -1
}

func TestUnackedIsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u Unacked
		var m unackedModel
		tag := uint64(0)
		var takenLast uint64
		anyTag := func(t *rapid.T) uint64 {
			if rapid.IntRange(0, 3).Draw(t, "again") == 0 {
				return takenLast
			}
			if len(m) > 0 && rapid.Bool().Draw(t, "known") {
				return m[rapid.IntRange(0, len(m)-1).Draw(t, "at")].tag
			}
			return rapid.Uint64Range(0, tag+2).Draw(t, "tag")
		}
		t.Repeat(map[string]func(*rapid.T){
			"Add": func(t *rapid.T) {
				for range rapid.IntRange(1, 200).Draw(t, "n") {
					tag += rapid.SampledFrom([]uint64{1, 1, 1, 5}).Draw(t, "step")
					u.Add(tag, Entry(tag*3))
					m = append(m, struct {
						tag  uint64
						e    Entry
						void bool
					}{tag, Entry(tag * 3), false})
				}
			},
			"Take": func(t *rapid.T) {
				tag := anyTag(t)
				e, void, ok := u.Take(tag)
				i := m.find(tag)
				if ok != (i >= 0) || ok && (void != m[i].void || !void && e != m[i].e) {
					t.Fatalf("Take(%d) = %d, %t, %t", tag, e, void, ok)
				}
				if ok {
					m = slices.Delete(m, i, i+1)
					takenLast = tag
				}
			},
			"TakeFirst": func(t *rapid.T) {
				upTo := anyTag(t)
				for range rapid.IntRange(1, 150).Draw(t, "n") {
					tag, e, void, ok := u.TakeFirst(upTo)
					want := len(m) > 0 && m[0].tag <= upTo
					if ok != want || ok && (tag != m[0].tag || void != m[0].void || !void && e != m[0].e) {
						t.Fatalf("TakeFirst(%d) = %d, %d, %t, %t", upTo, tag, e, void, ok)
					}
					if ok {
						m = m[1:]
					}
				}
			},
			"Void": func(t *rapid.T) {
				tag := anyTag(t)
				u.Void(tag)
				if i := m.find(tag); i >= 0 {
					m[i].void = true
				}
			},
			"": func(t *rapid.T) { checkUnacked(t, &u, m) },
		})
	})
}

func checkUnacked(t *rapid.T, u *Unacked, m unackedModel) {
	var voids []uint64
	first := -1
	for i, d := range m {
		if d.void {
			voids = append(voids, d.tag)
		} else if first < 0 {
			first = i
		}
	}
	if u.Len() != len(m) || u.Live() != len(m)-len(voids) || !slices.Equal(u.Voids(), voids) {
		t.Fatalf("%d tags, %d live, void %v; want %d, %v", u.Len(), u.Live(), u.Voids(), len(m), voids)
	}
	tag, e, ok := u.First()
	if ok != (first >= 0) || ok && (tag != m[first].tag || e != m[first].e) {
		t.Fatalf("First() = %d, %d, %t", tag, e, ok)
	}
	if c := cap(u.deliveries); c > max(4*unackedKeep, 8*len(m)+2*unackedKeep) && len(m) > 0 {
		t.Fatalf("room for %d deliveries, %d are left", c, len(m))
	}
}

// TestUnackedGivesMemoryBack: a few old tags must not pin the memory of all that came after.
func TestUnackedGivesMemoryBack(t *testing.T) {
	var u Unacked
	const n = 100_000
	for tag := range uint64(n) {
		u.Add(tag, 1)
	}
	for tag := range uint64(n) {
		if tag%(n/10) != 0 {
			u.Take(tag)
		}
	}
	if u.Len() != 10 || cap(u.deliveries) > 4*unackedKeep {
		t.Fatalf("%d tags have room for %d", u.Len(), cap(u.deliveries))
	}
}

func TestUnackedRefusesDescendingTags(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	var u Unacked
	u.Add(2, 1)
	u.Add(2, 2)
}

// TestUnackedIsRebuilt is what a restore does with a void tag between live ones.
func TestUnackedIsRebuilt(t *testing.T) {
	var u Unacked
	u.Add(1, 10)
	u.Add(2, 0)
	u.Void(2)
	u.Add(3, 30)
	if _, void, ok := u.Take(2); !void || !ok {
		t.Fatal("tag 2 is not void")
	}
	if e, void, ok := u.Take(3); e != 30 || void || !ok {
		t.Fatal("tag 3 is not live")
	}
}

func BenchmarkUnackedWindow(b *testing.B) {
	var u Unacked
	tag := uint64(0)
	for range 1000 {
		tag++
		u.Add(tag, 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		tag++
		u.Add(tag, 1)
		u.Take(tag - 1000)
	}
}
