package store

import (
	"cmp"
	"slices"
)

// returned is the set of a level's returned entries: a binary heap by ID. An entry that is removed from below the top leaves its node
// behind, stale; the slot may serve another entry at once, because a node is believed only if the slot still has the node's ID in the same
// queue, and an ID is never used twice there. The top is never stale, and stale nodes are at most half of all.
type returned struct {
	nodes []node
	stale int
}

type node struct {
	index   uint64
	ordinal uint32
	entry   Entry
}

func (n *node) id() ID { return ID{n.index, n.ordinal} }

// valid tells whether the node's entry is still the returned one that it was made for.
func (n *node) valid(q *Queue) bool {
	if !q.store.entries.has(uint32(n.entry)) {
		return false
	}
	r := q.store.entries.at(uint32(n.entry))
	return r.place == placeReturned && r.queue == q.slot && r.id() == n.id()
}

func (h *returned) push(n node) {
	h.nodes = append(h.nodes, n)
	for i := len(h.nodes) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.nodes[i].id().Less(h.nodes[parent].id()) {
			break
		}
		h.nodes[i], h.nodes[parent] = h.nodes[parent], h.nodes[i]
		i = parent
	}
}

// remove takes out an entry whose record no longer says that it is returned.
func (h *returned) remove(q *Queue, e Entry) {
	if h.nodes[0].entry != e {
		h.stale++
		if h.stale > len(h.nodes)/2 {
			h.sweep(q)
		}
		return
	}
	h.pop()
	for len(h.nodes) > 0 && h.stale > 0 && !h.nodes[0].valid(q) {
		h.pop()
		h.stale--
	}
	if h.stale > len(h.nodes)/2 { // of those that are left, too many may be stale
		h.sweep(q)
	}
}

func (h *returned) pop() {
	n := len(h.nodes) - 1
	h.nodes[0] = h.nodes[n]
	h.nodes = h.nodes[:n]
	h.sink(0)
	h.shrink()
}

func (h *returned) sink(i int) {
	nodes := h.nodes
	for {
		child := 2*i + 1
		if child >= len(nodes) {
			return
		}
		if right := child + 1; right < len(nodes) && nodes[right].id().Less(nodes[child].id()) {
			child = right
		}
		if !nodes[child].id().Less(nodes[i].id()) {
			return
		}
		nodes[i], nodes[child] = nodes[child], nodes[i]
		i = child
	}
}

// sweep drops the stale nodes.
func (h *returned) sweep(q *Queue) {
	h.nodes = slices.DeleteFunc(h.nodes, func(n node) bool { return !n.valid(q) })
	h.stale = 0
	for i := len(h.nodes)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
	h.shrink()
}

// shrink gives memory back after a wave.
func (h *returned) shrink() {
	if cap(h.nodes) > nodesKept && len(h.nodes) <= cap(h.nodes)/4 {
		h.nodes = append(make([]node, 0, 2*len(h.nodes)), h.nodes...)
	}
}

// sorted returns the valid nodes by ID, in memory of its own.
func (h *returned) sorted(q *Queue) []node {
	if len(h.nodes) == 0 {
		return nil
	}
	nodes := slices.DeleteFunc(slices.Clone(h.nodes), func(n node) bool { return !n.valid(q) })
	slices.SortFunc(nodes, func(a, b node) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.ordinal, b.ordinal))
	})
	return nodes
}
