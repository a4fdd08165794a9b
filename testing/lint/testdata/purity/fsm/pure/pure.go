// Package pure is what fsm may be.
package pure

import (
	"maps"
	"slices"
)

// Numbers is a map by another name.
type Numbers map[string]int

// Sum ranges in orders that are fixed or cannot matter.
func Sum(m Numbers, list []int) int {
	sum := 0
	for _, k := range slices.Sorted(maps.Keys(m)) {
		sum += m[k]
	}
	//fsm:unordered a sum does not depend on it
	for _, n := range m {
		sum += n
	}
	for _, n := range m { //fsm:unordered a sum does not depend on it
		sum += n
	}
	for _, n := range list {
		sum += n
	}
	return sum
}
