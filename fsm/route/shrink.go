package route

// shrinkCapMin is the size below which giving memory back is not worth a copy.
const shrinkCapMin = 64

// shrinkingMap is a map that gives memory back, which Go's maps never do: it is rebuilt when it holds less than a quarter of
// what it held since it was last built, so that deletes stay O(1) amortised. Lookups read m; the zero value is empty.
type shrinkingMap[K comparable, V any] struct {
	m    map[K]V
	peak int // most entries since m was built
}

func (s *shrinkingMap[K, V]) put(k K, v V) {
	if s.m == nil {
		s.m = make(map[K]V, 1)
	}
	s.m[k] = v
	s.peak = max(s.peak, len(s.m))
}

func (s *shrinkingMap[K, V]) delete(k K) {
	delete(s.m, k)
	switch {
	case len(s.m) == 0:
		*s = shrinkingMap[K, V]{}
	case s.peak >= shrinkCapMin && len(s.m) < s.peak/4:
		s.rebuild()
	}
}

func (s *shrinkingMap[K, V]) rebuild() {
	m := make(map[K]V, len(s.m))
	//fsm:unordered a copy of a map does not depend on the order of copying
	for k, v := range s.m {
		m[k] = v
	}
	s.m, s.peak = m, len(m)
}

// shrunk returns s, copied if less than a quarter of its memory is in use.
func shrunk[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	if cap(s) >= shrinkCapMin && len(s) < cap(s)/4 {
		return append(make([]T, 0, len(s)), s...)
	}
	return s
}
