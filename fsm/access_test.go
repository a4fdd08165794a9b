package fsm

import (
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm/route"
)

func accessSession(t testing.TB, write string) *session {
	t.Helper()
	u, v := newUser(1, "ann"), newVHost(2, "/")
	p, r := newPermission(3, u, v, "", write, "")
	if r != nil {
		t.Fatal(r.text)
	}
	return &session{user: u.name, vhost: v, rights: p}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		source    string
		yes, no   []string
		isInvalid bool
	}{
		{source: "", yes: []string{""}, no: []string{"a", "."}},
		{source: ".*", yes: []string{"", "a", "x.y"}},
		{source: "a", yes: []string{"a", "bab"}, no: []string{"", "b"}},
		{source: "^(amq\\.gen.*|amq\\.default)$", yes: []string{"amq.gen-1", "amq.default"}, no: []string{"amqxdefault", "amq.default2"}},
		{source: "^[^é]*$", yes: []string{"e", "\xff"}, no: []string{"é"}},
		{source: "^(?!amq\\.).*$", yes: []string{"a", "amqx"}, no: []string{"amq.gen"}},
		{source: "(?!a)", isInvalid: true},
		{source: "(a)\\1", isInvalid: true},
		{source: strings.Repeat("a", PatternBytesMax+1), isInvalid: true},
	} {
		p, r := newPattern(c.source)
		if (r != nil) != c.isInvalid {
			t.Errorf("%.20q: %+v", c.source, r)
			continue
		}
		for _, name := range c.yes {
			if !p.matches(name) || !p.matchesAgain([]byte(name)) || !p.matchesAgain([]byte(name)) {
				t.Errorf("%q does not match %q", c.source, name)
			}
		}
		for _, name := range c.no {
			if p.matches(name) || p.matchesAgain([]byte(name)) || p.matchesAgain([]byte(name)) {
				t.Errorf("%q matches %q", c.source, name)
			}
		}
	}
}

// TestPatternForgets: what a pattern remembers is bounded, whatever names are published to.
func TestPatternForgets(t *testing.T) {
	p, _ := newPattern("^a")
	for i := range 3 * patternOutcomesMax {
		p.matchesAgain(append([]byte("a"), byte(i), byte(i>>8)))
		if len(p.known) > patternOutcomesMax {
			t.Fatalf("%d outcomes are remembered", len(p.known))
		}
	}
}

func BenchmarkPermission(b *testing.B) {
	name, key := []byte("ann-exchange"), []byte("ann.orders.new")
	b.Run("everything", func(b *testing.B) {
		ses := accessSession(b, ".*")
		for b.Loop() {
			if ses.mayPublish(name) != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("expression", func(b *testing.B) {
		ses := accessSession(b, "^(ann-.*|amq\\.default)$")
		for b.Loop() {
			if ses.mayPublish(name) != nil {
				b.Fatal("refused")
			}
		}
	})
	b.Run("topic", func(b *testing.B) {
		ses := accessSession(b, ".*")
		t, _ := newTopicPermission(ses.rights.user, ses.vhost, "x", "^{username}\\.", "")
		ses.topics = map[string]*topicPermission{"x": t}
		x := &exchange{name: "x", kind: route.Topic}
		for b.Loop() {
			if ses.mayRoute(x, key, nil) != nil {
				b.Fatal("refused")
			}
		}
	})
}
