package route

import (
	"cmp"
	"slices"
)

// destSet is a set of destinations in ascending order, each counted: several bindings of one key may lead to it, with
// different arguments.
type destSet []countedDest

type countedDest struct {
	dest     Dest
	bindings uint32
}

func (s destSet) find(d Dest) (int, bool) {
	return slices.BinarySearchFunc(s, d, func(c countedDest, d Dest) int { return cmp.Compare(c.dest, d) })
}

// add is O(1) for the newest destination, the usual case, and a memmove for others.
func (s *destSet) add(d Dest) {
	i, there := s.find(d)
	if !there {
		*s = slices.Insert(*s, i, countedDest{dest: d})
	}
	(*s)[i].bindings++
}

// remove takes back one add of a destination that is in the set.
func (s *destSet) remove(d Dest) {
	i, _ := s.find(d)
	if (*s)[i].bindings--; (*s)[i].bindings == 0 {
		*s = shrunk(slices.Delete(*s, i, i+1))
	}
}

func (s destSet) appendTo(out []Dest) []Dest {
	for _, c := range s {
		out = append(out, c.dest)
	}
	return out
}

// distinct puts what several sets contributed in order and drops what came twice.
func distinct(out []Dest) []Dest {
	if !slices.IsSorted(out) {
		slices.Sort(out)
	}
	return slices.Compact(out)
}
