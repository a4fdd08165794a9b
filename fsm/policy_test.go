package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern    string
		match, not []string
	}{
		{"", []string{"", "a", "amq.direct"}, nil},
		{".*", []string{"", "a"}, nil},
		{"^a", []string{"a", "ab"}, []string{"", "ba"}},
		{"a", []string{"a", "ba"}, []string{"", "b"}},
		{"^(?!amq\\.).*", []string{"", "a", "amq", "x.amq."}, []string{"amq.", "amq.gen-1"}},
		{"^(?!amq\\.|celery)(?!.*tmp$)q", []string{"q", "qtmp1"}, []string{"amq.q", "celeryq", "qtmp", "b"}},
		{"^(?=.*x)(?!y)", []string{"ax"}, []string{"a", "yx"}},
		{"^(?!a(b|c))[a|b](d|e)$", []string{"ad", "be", "|d"}, []string{"abd", "cd"}},
		{"^(?![]a)])x", []string{"x"}, []string{"ax"}},
		{"^a|b", []string{"a", "cb"}, []string{"ca"}},
	} {
		p, err := compilePattern(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for _, name := range c.match {
			if !p.matches(name) {
				t.Errorf("%q does not match %q", c.pattern, name)
			}
		}
		for _, name := range c.not {
			if p.matches(name) {
				t.Errorf("%q matches %q", c.pattern, name)
			}
		}
	}
	for _, pattern := range []string{"(", "^(?!a", "^(?!a)b|c", "(?!a)b", "^(?!(?!a))b", "^(?![a)b", "a{2000}", "^b(?!a)", "^(?!\\"} {
		if _, err := compilePattern(pattern); err == nil {
			t.Errorf("%q compiles", pattern)
		}
	}
}

// Permissions have the same patterns, but that an empty one matches the empty name alone.
func TestPermissionPatterns(t *testing.T) {
	p, r := newPattern(`^(?!secret\.).*`)
	if r != nil || !p.matches("q") || p.matches("secret.q") {
		t.Errorf("lookahead in a permission: %v", r)
	}
	if p, _ := newPattern(""); p.matches("q") || !p.matches("") {
		t.Error("the empty pattern matches a name")
	}
}

// Of a queue's own argument, a policy's and an operator policy's value of each key.
func TestEffectiveArguments(t *testing.T) {
	for _, c := range []struct{ own, user, operator, want string }{
		{"", "", "", ""},
		{"x-max-length=5", "max-length=3", "", "x-max-length=3"},
		{"x-max-length=3", "max-length=5", "", "x-max-length=3"},
		{"x-max-length=5", "max-length=4", "max-length=3", "x-max-length=3"},
		{"x-max-length=3", "max-length=4", "max-length=5", "x-max-length=3"},
		{"", "max-length=4", "max-length=5", "x-max-length=4"},
		{"", "", "max-length=5", "x-max-length=5"},
		{"x-max-length=5", "", "max-length-bytes=7", "x-max-length=5,x-max-length-bytes=7"},
		{"x-overflow=drop-head", "overflow=reject-publish", "overflow=reject-publish-dlx", "x-overflow=drop-head"},
		{"", "overflow=reject-publish", "overflow=reject-publish-dlx", "x-overflow=reject-publish-dlx"},
		{"x-dead-letter-exchange=a", "dead-letter-exchange=b,dead-letter-routing-key=c", "", "x-dead-letter-exchange=a,x-dead-letter-routing-key=c"},
		{"x-delivery-limit=-1", "delivery-limit=5", "", "x-delivery-limit=5"},
		{"x-delivery-limit=5", "delivery-limit=-1", "", "x-delivery-limit=5"},
		{"x-delivery-limit=5", "delivery-limit=4", "", "x-delivery-limit=4"},
		{"x-queue-type=quorum", "delivery-limit=30", "", "x-queue-type=quorum,x-delivery-limit=30"},
		{"x-consumer-timeout=5", "consumer-timeout=4", "", "x-consumer-timeout=4"},
		{"", "dead-letter-routing-key=c", "", "x-dead-letter-routing-key=c"},
	} {
		q := &queue{arguments: parseTable(c.own).Append(nil)}
		for f, text := range []string{c.user, c.operator} {
			if definition := parseTable(text); definition != nil {
				q.policies[f] = &policy{definition: definition}
			}
		}
		want, _ := readQueueArguments(parseTable(c.want), "q")
		if got := q.effective(); got != want {
			t.Errorf("%+v gives\n%+v, wanted\n%+v", c, got, want)
		}
	}
}

// Whatever a policy may say is an argument too, of the same meaning, or is known to have no effect.
func TestPolicyKeysAreArguments(t *testing.T) {
	ignored := "max-in-memory-length max-in-memory-bytes queue-master-locator queue-leader-locator initial-cluster-size " +
		"target-group-size max-age stream-max-segment-size-bytes ha-mode ha-params ha-sync-mode ha-sync-batch-size ha-promote-on-shutdown " +
		"ha-promote-on-failure alternate-exchange"
	for _, key := range policyKeys {
		known := false
		for _, name := range comparedQueueArguments {
			known = known || name == "x-"+key.name
		}
		if known == strings.Contains(" "+ignored+" ", " "+key.name+" ") {
			t.Errorf("is %s an argument or not?", key.name)
		}
	}
}

// TestPolicyTextsAreBounded: a refusal quotes what was sent, of which there may be much.
func TestPolicyTooLong(t *testing.T) {
	d := newDriver(t)
	definition := content.Table{{Name: "max-length", Value: int32(1)}}.Append(nil)
	d.apply(&PutPolicy{Ref: Ref{Incarnation: 1}, VHost: "/", Name: "p", Pattern: strings.Repeat("a", PatternBytesMax), Definition: definition})
	if e := d.effects[0]; e.Code != OK {
		t.Errorf("the longest pattern: %v", e)
	}
	d.apply(&PutPolicy{Ref: Ref{Incarnation: 2}, VHost: "/", Name: "p", Pattern: strings.Repeat("a", PatternBytesMax+1), Definition: definition})
	if e := d.effects[0]; e.Code != PreconditionFailed {
		t.Errorf("a longer pattern: %v", e)
	}
	d.apply(&PutParameter{Ref: Ref{Incarnation: 3}, Name: "p", Value: make([]byte, ParameterBytesMax+1)})
	if e := d.effects[0]; e.Code != PreconditionFailed {
		t.Errorf("a longer parameter: %v", e)
	}
}

// A limit set on a queue of many messages is enforced over several entries, and the queue takes and gives messages meanwhile.
func TestShrinkByPolicy(t *testing.T) {
	const many = 25_000
	d := newDriver(t)
	d.declare("q", nil)
	for i := 0; i < many; i += 500 {
		var commands []Command
		for n := range 500 {
			commands = append(commands, publishTo("q", 0, fmt.Sprint(i+n)))
		}
		d.apply(commands...)
	}
	d.apply(&PutPolicy{Ref: Ref{Incarnation: 1}, VHost: "/", Name: "p", Definition: content.Table{{Name: "max-length", Value: int32(100)}}.Append(nil)})
	if left := d.queue("q").Ready; left <= 100 || left >= many {
		t.Fatalf("%d messages are left in the first entry", left)
	}
	entries := 0
	for ; d.queue("q").Ready > 100; entries++ {
		if _, due := d.state.NextDeadline(); !due || entries > 10 {
			t.Fatalf("%d messages are left after %d ticks, due: %v", d.queue("q").Ready, entries, due)
		}
		d.apply(publishTo("q", 0, fmt.Sprint("new", entries)))
		d.tick()
	}
	d.check()
	if entries < 1 {
		t.Error("all was done in one entry")
	}
	d.apply(&Get{Ref: driverChannel, Queue: "q", NoAck: true})
	if got, want := string(d.effects[0].Body), fmt.Sprint(many-100+entries); got != want {
		t.Errorf("the front is %s, wanted %s", got, want)
	}
}
