package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/triagemq/triagemq/fsm/content"
)

// naive is the twin of all matchers: a list of bindings, each looked at.
type naive struct {
	kind Kind
	list []naiveBinding
}

type naiveBinding struct {
	key  string
	args content.Table
	dest Dest
}

func (n *naive) find(key string, args content.Table, dest Dest) int {
	return slices.IndexFunc(n.list, func(b naiveBinding) bool {
		return b.key == key && b.dest == dest && content.Equal(b.args, args)
	})
}

func (n *naive) Bind(key string, args content.Table, dest Dest) bool {
	if n.find(key, args, dest) >= 0 {
		return false
	}
	n.list = append(n.list, naiveBinding{key, args, dest})
	return true
}

func (n *naive) Unbind(key string, args content.Table, dest Dest) bool {
	i := n.find(key, args, dest)
	if i < 0 {
		return false
	}
	n.list = slices.Delete(n.list, i, i+1)
	return true
}

func (n *naive) Match(key string, table content.Table) []Dest {
	out := []Dest{}
	for _, b := range n.list {
		if n.matches(b, key, table) {
			out = append(out, b.dest)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (n *naive) matches(b naiveBinding, key string, table content.Table) bool {
	switch n.kind {
	case Direct:
		return b.key == key
	case Topic:
		return naiveTopic(naiveWords(b.key), naiveWords(key))
	case Headers:
		return naiveHeaders(b.args, table)
	}
	return true
}

func naiveWords(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

func naiveTopic(pattern, key []string) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == "#":
		return naiveTopic(pattern[1:], key) || len(key) > 0 && naiveTopic(pattern, key[1:])
	case len(key) == 0:
		return false
	}
	return (pattern[0] == "*" || pattern[0] == key[0]) && naiveTopic(pattern[1:], key[1:])
}

func naiveHeaders(args, table content.Table) bool {
	mode, _ := args.Get("x-match")
	anyOf := mode == "any" || mode == "any-with-x"
	withX := mode == "all-with-x" || mode == "any-with-x"
	for i, f := range args {
		first := slices.IndexFunc(args, func(g content.Field) bool { return g.Name == f.Name }) == i
		if !first || f.Name == "x-match" || strings.HasPrefix(f.Name, "x-") && !withX {
			continue
		}
		v, there := table.Get(f.Name)
		holds := there && (f.Value == nil || content.Equal(v, f.Value))
		if holds == anyOf {
			return anyOf
		}
	}
	return !anyOf
}

var (
	drawKey = rapid.Custom(func(t *rapid.T) string {
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "", "*", "#"}), 0, 6).Draw(t, "words")
		return strings.Join(words, ".")
	})
	drawValue = rapid.SampledFrom([]any{nil, "v", "w", int32(1), int64(1), uint8(2), true, content.Float64(0),
		content.Table{{Name: "p", Value: "q"}, {Name: "o", Value: int8(1)}}, content.Table{{Name: "o", Value: int8(1)}, {Name: "p", Value: "q"}}})
	drawTable = rapid.Custom(func(t *rapid.T) content.Table {
		var table content.Table
		for range rapid.IntRange(0, 4).Draw(t, "fields") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "x-a"}).Draw(t, "name")
			table = append(table, content.Field{Name: name, Value: drawValue.Draw(t, "value")})
		}
		return table
	})
	drawArgs = rapid.Custom(func(t *rapid.T) content.Table {
		table := drawTable.Draw(t, "args")
		mode := rapid.SampledFrom([]string{"", "all", "any", "all-with-x", "any-with-x", "other"}).Draw(t, "x-match")
		if mode == "" {
			return table
		}
		return slices.Insert(table, rapid.IntRange(0, len(table)).Draw(t, "at"), content.Field{Name: "x-match", Value: mode})
	})
	drawDest = rapid.Map(rapid.Uint64Range(1, 6), func(n uint64) Dest { return Dest(n) })
)

// TestTwin drives every matcher and its naive twin through the same random bindings and messages.
func TestTwin(t *testing.T) {
	for _, kind := range []Kind{Direct, Fanout, Topic, Headers} {
		t.Run(fmt.Sprint(kind), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m, twin := New(kind), &naive{kind: kind}
				t.Repeat(map[string]func(*rapid.T){
					"bind": func(t *rapid.T) {
						key, args, dest := drawKey.Draw(t, "key"), drawArgs.Draw(t, "args"), drawDest.Draw(t, "dest")
						equal(t, "Bind", m.Bind(key, args, dest), twin.Bind(key, args, dest))
					},
					"unbind": func(t *rapid.T) {
						key, args, dest := drawKey.Draw(t, "key"), drawArgs.Draw(t, "args"), drawDest.Draw(t, "dest")
						equal(t, "Unbind", m.Unbind(key, args, dest), twin.Unbind(key, args, dest))
					},
					"unbind one that is there": func(t *rapid.T) {
						if len(twin.list) == 0 {
							t.Skip("nothing bound")
						}
						b := rapid.SampledFrom(twin.list).Draw(t, "binding")
						equal(t, "Unbind", m.Unbind(b.key, b.args, b.dest), true)
						twin.Unbind(b.key, b.args, b.dest)
					},
					"match": func(t *rapid.T) {
						key, table := drawKey.Draw(t, "key"), drawTable.Draw(t, "headers")
						got := m.Match(key, func() content.Table { return table }, nil)
						if want := twin.Match(key, table); !slices.Equal(got, want) {
							t.Fatalf("Match(%q, %v) = %v, want %v", key, table, got, want)
						}
					},
					"": func(t *rapid.T) { equal(t, "Len", m.Len(), len(twin.list)) },
				})
			})
		})
	}
}

func equal[T comparable](t *rapid.T, what string, got, want T) {
	if got != want {
		t.Fatalf("%s = %v, want %v", what, got, want)
	}
}

// TestTopicPatterns holds the cases that people look up.
func TestTopicPatterns(t *testing.T) {
	cases := []struct {
		pattern     string
		match, miss []string
	}{
		{"#", []string{"", "a", "a.b", "."}, nil},
		{"*", []string{"a", "*", "#"}, []string{"", "a.b", "."}},
		{"*.*", []string{".", "a.", ".b"}, []string{"a", "a.b.c"}},
		{"", []string{""}, []string{"a", "."}},
		{"a.#", []string{"a", "a.b", "a.b.c"}, []string{"", "b", "b.a"}},
		{"#.a", []string{"a", "b.a", "a.a"}, []string{"a.b"}},
		{"a.*.c", []string{"a.b.c", "a..c"}, []string{"a.c", "a.b.b.c"}},
		{"#.*", []string{"a", "a.b"}, []string{""}},
		{"*.#.b", []string{"a.b", "a.x.y.b"}, []string{"b", "a"}},
		{"a.#.#.b", []string{"a.b", "a.x.b"}, []string{"a"}},
		{"a..b", []string{"a..b"}, []string{"a.b", "a.x.b"}},
		{"A", []string{"A"}, []string{"a"}},
	}
	for _, c := range cases {
		m := New(Topic)
		m.Bind(c.pattern, nil, 1)
		for _, key := range c.match {
			if len(m.Match(key, nil, nil)) != 1 {
				t.Errorf("%q does not match %q", c.pattern, key)
			}
		}
		for _, key := range c.miss {
			if len(m.Match(key, nil, nil)) != 0 {
				t.Errorf("%q matches %q", c.pattern, key)
			}
		}
	}
}

// TestTopicCost counts node visits where a walk that backtracks would need more than the age of the universe.
func TestTopicCost(t *testing.T) {
	m := &topic{}
	m.Bind(strings.Repeat("#.a.", 60)+"b", nil, 1)
	key := strings.Repeat("a.", 120) + "c"
	visits := 0
	m.advance()
	m.enter(&m.root)
	for word := range words(key) {
		m.advance()
		visits += len(m.now)
		for _, n := range m.now {
			m.read(n, word)
		}
	}
	if nodes := 122; visits > nodes*122 {
		t.Errorf("%d visits for %d nodes and 121 words", visits, nodes)
	}
	if got := m.Match(key, nil, nil); len(got) != 0 {
		t.Errorf("Match = %v", got)
	}
}

func TestHeadersCallsTableAtMostOnce(t *testing.T) {
	m := New(Headers)
	calls := 0
	table := func() content.Table { calls++; return content.Table{{Name: "a", Value: "v"}} }
	m.Match("", table, nil)
	for d := range Dest(3) {
		m.Bind("", content.Table{{Name: "a", Value: "v"}}, d)
		m.Bind("", content.Table{{Name: "a", Value: nil}}, d)
	}
	calls = 0
	if got := m.Match("", table, nil); !slices.Equal(got, []Dest{0, 1, 2}) || calls != 1 {
		t.Errorf("Match = %v after %d calls of headers", got, calls)
	}
	for _, kind := range []Kind{Direct, Fanout, Topic} {
		m := New(kind)
		m.Bind("k", content.Table{{Name: "a", Value: "v"}}, 1)
		m.Match("k", func() content.Table { t.Errorf("kind %d asks for headers", kind); return nil }, nil)
	}
}

func TestCheckArguments(t *testing.T) {
	with := func(v any) content.Table { return content.Table{{Name: "x-match", Value: v}} }
	for _, mode := range []any{"all", "any", "all-with-x", "any-with-x"} {
		if err := CheckArguments(Headers, with(mode)); err != "" {
			t.Errorf("x-match %v: %v", mode, err)
		}
	}
	for _, mode := range []any{"some", "", int32(1), nil, []byte("any")} {
		if CheckArguments(Headers, with(mode)) == "" {
			t.Errorf("x-match %v is accepted", mode)
		}
		if err := CheckArguments(Topic, with(mode)); err != "" {
			t.Errorf("a topic exchange minds x-match: %v", err)
		}
	}
	if err := CheckArguments(Headers, nil); err != "" {
		t.Error(err)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := content.Table{{Name: "tenant", Value: "t7"}, {Name: "n", Value: int32(7)}, {Name: "none", Value: nil}}
	lend := func() content.Table { return table }
	for kind, key := range map[Kind]string{Direct: "k7", Fanout: "", Topic: "eu.k7.x.y", Headers: ""} {
		m := New(kind)
		for i := range 100 {
			m.Bind(fmt.Sprintf("k%d", i), nil, Dest(i))
			m.Bind(fmt.Sprintf("*.k%d.#", i), content.Table{{Name: "tenant", Value: fmt.Sprintf("t%d", i)}}, Dest(i))
			m.Bind("#", content.Table{{Name: "n", Value: int64(i)}}, Dest(i/2))
		}
		out := m.Match(key, lend, nil)
		if len(out) == 0 {
			t.Errorf("kind %d matches nothing", kind)
		}
		if n := testing.AllocsPerRun(100, func() { out = m.Match(key, lend, out) }); n != 0 {
			t.Errorf("kind %d: %v allocations", kind, n)
		}
	}
}

// TestNothingStays binds much, unbinds it and looks for what is left.
func TestNothingStays(t *testing.T) {
	for _, kind := range []Kind{Direct, Fanout, Topic, Headers} {
		m := New(kind)
		each := func(f func(string, content.Table, Dest) bool) {
			for i := range 2000 {
				key := fmt.Sprintf("a.%d.*.#.%d", i%50, i)
				if !f(key, content.Table{{Name: "h", Value: int32(i % 70)}, {Name: "i", Value: key}}, Dest(i%900)) {
					t.Fatalf("kind %d: binding %d", kind, i)
				}
			}
		}
		each(m.Bind)
		m.Match("a.1.x.1", func() content.Table { return content.Table{{Name: "h", Value: "v"}} }, nil)
		m.Bind("stays", content.Table{{Name: "s", Value: "t"}}, 5000)
		each(m.Unbind)
		if rest := residue(m); rest > 200 {
			t.Errorf("kind %d keeps room for %d things with one binding left", kind, rest)
		}
		m.Unbind("stays", content.Table{{Name: "s", Value: "t"}}, 5000)
		if rest := residue(m); rest != 0 || m.Len() != 0 {
			t.Errorf("kind %d keeps room for %d things without a binding", kind, rest)
		}
	}
}

// residue adds up the room that a matcher holds.
func residue(m Matcher) int {
	switch m := m.(type) {
	case *direct:
		return m.set.peak + m.dests.peak
	case *fanout:
		return m.set.peak + cap(m.dests)
	case *topic:
		return m.set.peak + nodes(&m.root) - 1
	case *headers:
		return m.set.peak + m.byID.peak + m.holding.peak + cap(m.always)
	}
	panic("unknown matcher")
}

func nodes(n *topicNode) int {
	if n == nil {
		return 0
	}
	sum := 1 + n.words.peak + cap(n.dests) + nodes(n.star) + nodes(n.hash)
	for _, child := range n.words.m {
		sum += nodes(child)
	}
	return sum
}

// ladder is Celery's and NServiceBus's delay topology seen from its busiest exchange: 28-word patterns that differ in one bit.
func ladder() (Matcher, string) {
	m := New(Topic)
	for level := range 28 {
		stars := strings.Repeat("*.", level)
		m.Bind(stars+"1.#", nil, Dest(2*level+1))
		m.Bind(stars+"0.#", nil, Dest(2*level+2))
	}
	return m, strings.Repeat("0.1.", 14) + "queue"
}

func BenchmarkMatch(b *testing.B) {
	table := content.Table{{Name: "tenant", Value: "t7"}, {Name: "traceparent", Value: "00-x"}, {Name: "n", Value: int32(7)}}
	lend := func() content.Table { return table }
	topics := func(n int, format string) Matcher {
		m := New(Topic)
		for i := range n {
			m.Bind(fmt.Sprintf(format, i), nil, Dest(i))
		}
		return m
	}
	hostile := New(Topic)
	for i := range 300 {
		hostile.Bind(strings.Repeat("#.a.", 1+i%60)+"#.*."+fmt.Sprint(i), nil, Dest(i))
	}
	laddered, ladderKey := ladder()
	tenants := New(Headers)
	directs := New(Direct)
	for i := range 10000 {
		tenants.Bind("", content.Table{{Name: "tenant", Value: fmt.Sprintf("t%d", i)}, {Name: "n", Value: int64(i)}}, Dest(i))
		directs.Bind(fmt.Sprintf("k%d", i), nil, Dest(i))
	}
	cases := []struct {
		name string
		m    Matcher
		key  string
	}{
		{"direct 10000", directs, "k77"},
		{"topic literal 10000", topics(10000, "eu.orders.%d"), "eu.orders.77"},
		{"topic wild 500", topics(500, "*.*.%d.#"), "a.b.7.c.d.e"},
		{"topic ladder 28 words", laddered, ladderKey},
		{"topic hostile 300x60", hostile, strings.Repeat("a.", 127) + "a"},
		{"headers 10000", tenants, ""},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var out []Dest
			for b.Loop() {
				out = c.m.Match(c.key, lend, out)
			}
		})
	}
}
