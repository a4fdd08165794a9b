package route

import (
	"iter"
	"strings"

	"github.com/triagemq/triagemq/fsm/content"
)

// topic matches patterns of words (AMQP 0-9-1 §3.1.3.3): '*' stands for one word, '#' for any number of them, none included.
// Words are what dots separate, and may be empty; the empty key has none (as in RabbitMQ: '*' does not match it).
//
// The patterns form a trie. Match walks it with a set of nodes, as one runs a non-deterministic automaton: after each word
// the set holds every node that some way of reading the key so far leads to, each once. So a key of w words costs at most
// w+1 visits of each node, however many ways there are to let several '#' share the words; a naive walk needs exponentially
// many. In practice the set holds a handful of nodes and Match costs some ten nanoseconds for each node and word.
type topic struct {
	bindings
	root topicNode

	// Scratch of Match, kept so that it need not allocate.
	now, next []*topicNode
	step      uint64 // number of the current set, over all calls: the mark of nodes that are in it
}

// topicNode stands for a prefix of patterns.
type topicNode struct {
	words shrinkingMap[string, *topicNode]
	star  *topicNode
	hash  *topicNode
	dests destSet // of the patterns that end here
	rest  bool    // the prefix ends in '#': the node stays in the set whatever the next word
	step  uint64  // the set that the node was last put into
}

func (m *topic) Bind(key string, args content.Table, dest Dest) bool {
	if !m.add(identify(key, args, dest)) {
		return false
	}
	n := &m.root
	for word := range words(key) {
		n = n.grow(word)
	}
	n.dests.add(dest)
	return true
}

func (m *topic) Unbind(key string, args content.Table, dest Dest) bool {
	if !m.remove(identify(key, args, dest)) {
		return false
	}
	m.root.unbind(key, dest)
	m.forget()
	return true
}

func (m *topic) Match(key string, _ func() content.Table, out []Dest) []Dest {
	out = out[:0]
	m.advance()
	m.enter(&m.root)
	for word := range words(key) {
		m.advance()
		for _, n := range m.now {
			m.read(n, word)
		}
		if len(m.next) == 0 {
			return out
		}
	}
	for _, n := range m.next {
		out = n.dests.appendTo(out)
	}
	return distinct(out)
}

// forget lets go of nodes that may be gone.
func (m *topic) forget() {
	if m.Len() == 0 {
		m.now, m.next = nil, nil
	}
	clear(m.now[:cap(m.now)])
	clear(m.next[:cap(m.next)])
}

// advance makes the set that was built the current one and begins a new one.
func (m *topic) advance() {
	m.now, m.next = m.next, m.now[:0]
	m.step++
}

// read enters what a word leads to from n.
func (m *topic) read(n *topicNode, word string) {
	m.enter(n.words.m[word])
	m.enter(n.star)
	if n.rest {
		m.enter(n)
	}
}

// enter puts n into the set, and what is reached from it by letting '#' stand for no word.
func (m *topic) enter(n *topicNode) {
	for ; n != nil && n.step != m.step; n = n.hash {
		n.step = m.step
		m.next = append(m.next, n)
	}
}

// grow returns the child for a word of a pattern, making it if need be.
func (n *topicNode) grow(word string) *topicNode {
	if child := n.child(word); child != nil {
		return child
	}
	child := &topicNode{rest: word == "#"}
	switch word {
	case "*":
		n.star = child
	case "#":
		n.hash = child
	default:
		n.words.put(strings.Clone(word), child) // the pattern's string may go before the node does
	}
	return child
}

func (n *topicNode) child(word string) *topicNode {
	switch word {
	case "*":
		return n.star
	case "#":
		return n.hash
	}
	return n.words.m[word]
}

// prune drops the child for a word.
func (n *topicNode) prune(word string) {
	switch word {
	case "*":
		n.star = nil
	case "#":
		n.hash = nil
	default:
		n.words.delete(word)
	}
}

// unbind removes dest at the end of a pattern that is there, and the nodes that nothing needs any more.
func (n *topicNode) unbind(key string, dest Dest) {
	path := []*topicNode{n}
	var names []string
	for word := range words(key) {
		n = n.child(word)
		path = append(path, n)
		names = append(names, word)
	}
	n.dests.remove(dest)
	for i := len(names) - 1; i >= 0 && path[i+1].empty(); i-- {
		path[i].prune(names[i])
	}
}

func (n *topicNode) empty() bool {
	return len(n.dests) == 0 && len(n.words.m) == 0 && n.star == nil && n.hash == nil
}

// words yields the words of a key or pattern.
func words(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for more := key != ""; more; {
			var word string
			word, key, more = strings.Cut(key, ".")
			if !yield(word) {
				return
			}
		}
	}
}
