package fsm

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/triagemq/triagemq/fsm/content"
)

// policyKey is a word that the definition of a policy may have. With x- before it, it is the queue argument that it stands for.
type policyKey struct {
	name     string
	what     string // in "… is not a valid …", RabbitMQ's words
	valid    func(v any) bool
	merge    policyMerge
	operator bool // operator policies may have it
}

// policyMerge says what two values make: those of a policy and an operator policy, and those of the two and a queue's own argument.
type policyMerge uint8

const (
	ownWins   policyMerge = iota // the operator policy's over the policy's, the argument over both
	leastWins                    // the lower one
	limitWins                    // the lower one, where a negative one is no limit
)

// policyKeys are the words that are known. Those without a merge rule of their own and without an effect here tune RabbitMQ's implementation.
var policyKeys = [...]policyKey{
	{name: "message-ttl", what: "message TTL", valid: between(0, expiryMillisMax), merge: leastWins, operator: true},
	{name: "expires", what: "queue expiry", valid: between(1, expiryMillisMax), merge: leastWins, operator: true},
	{name: "max-length", what: "maximum length", valid: between(0, math.MaxInt64), merge: leastWins, operator: true},
	{name: "max-length-bytes", what: "maximum length in bytes", valid: between(0, math.MaxInt64), merge: leastWins, operator: true},
	{name: "delivery-limit", what: "delivery limit", valid: between(-1, math.MaxInt64), merge: limitWins, operator: true},
	{name: "consumer-timeout", what: "consumer timeout", valid: between(0, math.MaxInt64), merge: leastWins, operator: true},
	{name: "overflow", what: "overflow value", valid: among(overflowNames[:]...), operator: true},
	{name: "dead-letter-exchange", what: "dead letter exchange name", valid: isShortText},
	{name: "dead-letter-routing-key", what: "dead letter routing key", valid: isShortText},
	{name: "dead-letter-strategy", what: "dead letter strategy", valid: among(deadStrategyNames[:]...)},
	{name: "delayed-retry-type", what: "delayed retry type", valid: among(delayedRetryNames[:]...)},
	{name: "delayed-retry-min", what: "minimum retry delay", valid: between(0, expiryMillisMax)},
	{name: "delayed-retry-max", what: "maximum retry delay", valid: between(0, expiryMillisMax)},
	{name: alternatePolicy, what: "alternate exchange name", valid: isShortText},

	{name: "max-in-memory-length", what: "maximum memory in bytes", valid: between(0, math.MaxInt64), merge: leastWins, operator: true},
	{name: "max-in-memory-bytes", what: "maximum memory in bytes", valid: between(0, math.MaxInt64), merge: leastWins, operator: true},
	{name: "queue-mode", what: "queue-mode value", valid: among("default", "lazy")},
	{name: "queue-version", what: "queue version", valid: between(1, 2), operator: true},
	{name: "queue-master-locator", what: "queue master locator value", valid: isShortText},
	{name: "queue-leader-locator", what: "queue leader locator value", valid: among("client-local", "balanced", "random", "least-leaders")},
	{name: "initial-cluster-size", what: "cluster size", valid: between(0, math.MaxInt64)},
	{name: "target-group-size", what: "target group size", valid: between(0, math.MaxInt64), merge: leastWins, operator: true},
	{name: "max-age", what: "max age", valid: isShortText},
	{name: "stream-max-segment-size-bytes", what: "segment size", valid: between(0, math.MaxInt64)},
	{name: "ha-mode", valid: anything, operator: true},
	{name: "ha-params", valid: anything, operator: true},
	{name: "ha-sync-mode", valid: anything, operator: true},
	{name: "ha-sync-batch-size", valid: anything, operator: true},
	{name: "ha-promote-on-shutdown", valid: anything, operator: true},
	{name: "ha-promote-on-failure", valid: anything, operator: true},
}

const alternatePolicy = "alternate-exchange"

func policyKeyNamed(name string) (key policyKey, ok bool) {
	for _, key := range policyKeys {
		if key.name == name {
			return key, true
		}
	}
	return policyKey{}, false
}

func between(low, high int64) func(any) bool {
	return func(v any) bool {
		n, ok := content.Integer(v)
		return ok && n >= low && n <= high
	}
}

func among(words ...string) func(any) bool {
	return func(v any) bool {
		word, ok := v.(string)
		return ok && slices.Contains(words, word)
	}
}

func isShortText(v any) bool {
	text, ok := v.(string)
	return ok && len(text) <= ShortStringBytesMax
}

func anything(any) bool { return true }

// of is the value of one key that two sources have, strong and weak.
func (m policyMerge) of(strong, weak any) any {
	a, _ := content.Integer(strong)
	b, _ := content.Integer(weak)
	switch {
	case m == leastWins && b < a, m == limitWins && (a < 0 || b >= 0 && b < a):
		return weak
	}
	return strong
}

// definition is what the policies of an object say together: the operator policy is merged over the other.
func (g *governed) definition() content.Table {
	user, operator := g.policies[userPolicy], g.policies[operatorPolicy]
	switch {
	case user == nil && operator == nil:
		return nil
	case operator == nil:
		return user.definition
	case user == nil:
		return operator.definition
	}
	return merged(operator.definition, user.definition, "")
}

// merged completes a strong table by the policy keys of a weak one, whose names get a prefix, key by key as the key's rule has it.
func merged(strong, weak content.Table, prefix string) content.Table {
	result := slices.Clone(strong)
	for _, field := range weak {
		name := prefix + field.Name
		value := field.Value
		if own, both := strong.Get(name); both {
			key, _ := policyKeyNamed(field.Name)
			value = key.merge.of(own, value)
		}
		result = result.With(name, value)
	}
	return result
}

// effective is what a queue's arguments mean together with its policies. What it was declared with stays what declarations are compared with.
func (q *queue) effective() queueArguments {
	a, _ := readQueueArguments(merged(tableOf(q.arguments), q.definition(), "x-"), q.name)
	return a
}

// validatePolicy completes a policy by what its pattern and its subject mean. Its texts are RabbitMQ's.
func validatePolicy(p *policy, c *PutPolicy) *refusal {
	faults := policyFaults(p.definition, c.Operator)
	if !p.setSubjects(c.ApplyTo) {
		faults = append(faults, fmt.Sprintf("apply-to '%s' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', "+
			"'exchanges', or 'all'", c.ApplyTo))
	}
	var err error
	if len(c.Pattern) > PatternBytesMax {
		err = fmt.Errorf("longer than %d bytes", PatternBytesMax)
	} else {
		p.pattern, err = compilePattern(c.Pattern)
	}
	if err != nil {
		faults = append(faults, fmt.Sprintf("pattern should be regular expression but is invalid: %v", err))
	}
	if c.Name == "" {
		faults = append(faults, "a policy needs a name")
	}
	if len(faults) > 0 {
		return refuse(PreconditionFailed, "Validation failed\n\n%s\n", strings.Join(faults, "\n"))
	}
	return nil
}

// setSubjects sets the subjects by their word; ok is false where there is no such word.
func (p *policy) setSubjects(word string) (ok bool) {
	for _, a := range applyTo {
		if a.word == word || word == "" {
			p.subjects = a.subjects
			return true
		}
	}
	return false
}

// policyFaults finds what is wrong with a definition: one fault, since RabbitMQ tells no more.
func policyFaults(definition content.Table, operator bool) []string {
	if len(definition) == 0 {
		return []string{"no policy provided"}
	}
	var unknown content.Table
	for _, field := range definition {
		key, known := policyKeyNamed(field.Name)
		switch {
		case !known || operator && !key.operator:
			unknown = append(unknown, field)
		case !key.valid(field.Value):
			return []string{erlang(field.Value) + " is not a valid " + key.what}
		case slices.Contains(unsupportedQueueArguments[:], "x-"+field.Name):
			return []string{field.Name + " is not supported by this version"}
		}
	}
	if len(unknown) > 0 {
		return []string{erlang(unknown) + " are not recognised policy settings"}
	}
	return nil
}

// erlang writes a value as RabbitMQ's texts do. Fractions are only called so: the state machine has no floats.
func erlang(v any) string {
	var parts []string
	switch v := v.(type) {
	case string:
		return "<<" + strconv.Quote(v) + ">>"
	case content.Table:
		for _, f := range v {
			parts = append(parts, "{"+erlang(f.Name)+","+erlang(f.Value)+"}")
		}
	case content.Array:
		for _, e := range v {
			parts = append(parts, erlang(e))
		}
	case content.Float32, content.Float64:
		return "a fraction"
	case nil:
		return "null"
	default:
		return fmt.Sprint(v)
	}
	return "[" + strings.Join(parts, ",") + "]"
}
