package fsm

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/triagemq/triagemq/fsm/content"
)

// queueArguments is what a queue's arguments mean.
type queueArguments struct {
	priorityMax     int  // -1: 0..255 as published
	deadLetter      bool // there is a dead-letter exchange, perhaps the default one
	deadExchange    string
	deadKeySet      bool
	deadKey         string
	deliveryLimit   int64 // failures after which a message is not returned again; -1: none
	consumerTimeout int64 // milliseconds; 0: off
	quorum          bool  // so called: it is the same queue

	messageTTL     int64 // milliseconds; -1: none
	expires        int64 // milliseconds without use after which the queue is deleted; -1: never
	maxLength      int64 // ready messages; -1: no limit
	maxLengthBytes int64 // of ready bodies; -1: no limit
	overflow       overflow
	singleActive   bool

	delayedRetry    delayedRetry
	delayedRetryMin int64 // milliseconds
	delayedRetryMax int64 // milliseconds
}

// overflow is what happens to messages beyond a queue's length limit.
type overflow uint8

const (
	dropHead         overflow = iota // the oldest ready messages make room
	rejectPublish                    // new ones are refused
	rejectPublishDLX                 // new ones are refused and dead-lettered
)

var overflowNames = [...]string{dropHead: "drop-head", rejectPublish: "reject-publish", rejectPublishDLX: "reject-publish-dlx"}

// delayedRetry says which returned messages wait before they are ready again.
type delayedRetry uint8

const (
	retryAtOnce   delayedRetry = iota
	retryAll                   // whatever brought it back
	retryFailed                // after a failure: reject, nack, time-out
	retryReturned              // whatever brought it back: a nack is a failure here, and no less a return
)

var delayedRetryNames = [...]string{retryAtOnce: "disabled", retryAll: "all", retryFailed: "failed", retryReturned: "returned"}

// Types of queues: both are the one replicated queue; what a delivery limit is by default tells them apart.
const (
	queueTypeClassic = "classic"
	queueTypeQuorum  = "quorum"
)

const (
	argMaxPriority     = "x-max-priority"
	argDeadExchange    = "x-dead-letter-exchange"
	argDeadKey         = "x-dead-letter-routing-key"
	argDeliveryLimit   = "x-delivery-limit"
	argConsumerTimeout = "x-consumer-timeout"
	argQueueType       = "x-queue-type"
	argMessageTTL      = "x-message-ttl"
	argExpires         = "x-expires"
	argMaxLength       = "x-max-length"
	argMaxLengthBytes  = "x-max-length-bytes"
	argOverflow        = "x-overflow"
	argSingleActive    = "x-single-active-consumer"
	argDeadStrategy    = "x-dead-letter-strategy"
	argDelayedRetry    = "x-delayed-retry-type"
	argDelayedRetryMin = "x-delayed-retry-min"
	argDelayedRetryMax = "x-delayed-retry-max"
	argPriority        = "x-priority" // of a consumer

	// Without effect here, and checked as in RabbitMQ.
	argQueueMode    = "x-queue-mode"
	argQueueVersion = "x-queue-version"
	argGroupSize    = "x-quorum-initial-group-size"
)

const (
	deliveryLimitQuorum          = 20
	consumerTimeoutMillisDefault = 30 * 60 * 1000
	priorityMaxMax               = 255
	expiryMillisMax              = 315_360_000_000 // RabbitMQ's limit of x-message-ttl and x-expires: ten years
)

// deadStrategyNames are the values of x-dead-letter-strategy. Both mean the same here: a dead letter moves in the act that caused it, exactly once.
var deadStrategyNames = [...]string{"at-most-once", "at-least-once"}

var queueModeNames = [...]string{"default", "lazy"}

// comparedQueueArguments must be the same in every declaration.
var comparedQueueArguments = [...]string{
	argDeadExchange, argDeadKey, argMaxPriority, argDeliveryLimit, argConsumerTimeout, argQueueType, argMessageTTL, argExpires, argMaxLength,
	argMaxLengthBytes, argOverflow, argSingleActive, argDeadStrategy, argDelayedRetry, argDelayedRetryMin, argDelayedRetryMax,
	argQueueMode, argQueueVersion,
}

// unsupportedQueueArguments would change what a queue does; ignoring them would lose or keep messages against their publisher's will.
var unsupportedQueueArguments = [...]string{
	"x-message-deduplication",
}

func defaultQueueArguments() queueArguments {
	return queueArguments{
		priorityMax: -1, deliveryLimit: -1, consumerTimeout: consumerTimeoutMillisDefault,
		messageTTL: -1, expires: -1, maxLength: -1, maxLengthBytes: -1,
	}
}

// clamp is the priority that a message has in this queue.
func (a *queueArguments) clamp(priority uint8) uint8 {
	if a.priorityMax >= 0 {
		return uint8(min(int(priority), a.priorityMax))
	}
	return priority
}

func parseQueueArguments(t content.Table, label string) (queueArguments, *refusal) {
	if r := checkUnsupported(unsupportedQueueArguments[:], t, label); r != nil {
		return queueArguments{}, r
	}
	return readQueueArguments(t, label)
}

// readQueueArguments parses arguments that are known to be supported. It goes on after the first refusal.
func readQueueArguments(t content.Table, label string) (queueArguments, *refusal) {
	a := defaultQueueArguments()
	p := argumentParser{table: t, label: label}
	switch kind, given := p.text(argQueueType); {
	case !given, kind == queueTypeClassic:
	case kind == queueTypeQuorum:
		a.deliveryLimit, a.quorum = deliveryLimitQuorum, true
	default:
		p.fail(argQueueType, fmt.Sprintf("\"unsupported queue type '%s'\"", kind))
	}
	a.priorityMax = int(p.integer(argMaxPriority, 0, priorityMaxMax, int64(a.priorityMax)))
	a.deliveryLimit = p.integer(argDeliveryLimit, -1, math.MaxInt64, a.deliveryLimit)
	a.consumerTimeout = p.integer(argConsumerTimeout, 0, math.MaxInt64, a.consumerTimeout)
	a.deadExchange, a.deadLetter = p.text(argDeadExchange)
	a.deadKey, a.deadKeySet = p.text(argDeadKey)
	if a.deadKeySet && !a.deadLetter {
		p.fail(argDeadKey, "routing_key_but_no_dlx_defined")
	}
	p.choice(argDeadStrategy, deadStrategyNames[:])
	a.messageTTL = p.integer(argMessageTTL, 0, expiryMillisMax, a.messageTTL)
	a.expires = p.integer(argExpires, 1, expiryMillisMax, a.expires)
	a.maxLength = p.integer(argMaxLength, 0, math.MaxInt64, a.maxLength)
	a.maxLengthBytes = p.integer(argMaxLengthBytes, 0, math.MaxInt64, a.maxLengthBytes)
	a.overflow = overflow(p.choice(argOverflow, overflowNames[:]))
	a.singleActive = p.flag(argSingleActive)
	a.delayedRetry = delayedRetry(p.choice(argDelayedRetry, delayedRetryNames[:]))
	a.delayedRetryMin = p.integer(argDelayedRetryMin, 0, expiryMillisMax, 0)
	a.delayedRetryMax = p.integer(argDelayedRetryMax, 0, expiryMillisMax, 0)
	p.choice(argQueueMode, queueModeNames[:])
	if version := p.integer(argQueueVersion, 0, math.MaxInt64, 1); version != 1 && version != 2 {
		p.fail(argQueueVersion, fmt.Sprintf(`"unsupported queue version '%d'"`, version))
	}
	p.integer(argGroupSize, 1, math.MaxInt64, 1)
	return a, p.refusal
}

// checkQuorum refuses properties that RabbitMQ's quorum queues do not have. Ours could, but who asks for one by mistake learns of it here as there.
func checkQuorum(c *DeclareQueue, label string) *refusal {
	property := ""
	switch {
	case c.AutoDelete:
		property = "auto-delete"
	case c.Exclusive:
		property = "exclusive-owner"
	case !c.Durable:
		property = "non-durable"
	default:
		return nil
	}
	return refuse(PreconditionFailed, "invalid property '%s' for %s", property, label)
}

// argumentParser reads arguments and keeps the first refusal.
type argumentParser struct {
	table   content.Table
	label   string
	refusal *refusal
}

func (p *argumentParser) fail(name, why string) { p.fault(invalidArgument(name, p.label, why)) }

func (p *argumentParser) fault(r *refusal) {
	if p.refusal == nil {
		p.refusal = r
	}
}

func (p *argumentParser) text(name string) (value string, ok bool) {
	v, ok := p.table.Get(name)
	if !ok {
		return "", false
	}
	value, isText := v.(string)
	switch {
	case !isText && name == argDeadExchange: // RabbitMQ has words of its own for names
		p.fault(invalidNameType(v, name, p.label))
	case !isText:
		p.fail(name, "{unacceptable_type,"+content.TypeName(v)+"}")
	case len(value) > ShortStringBytesMax:
		p.fail(name, fmt.Sprintf("a string of %d bytes, at most %d are allowed", len(value), ShortStringBytesMax))
	}
	return value, true
}

// choice is the index of a text among the allowed ones; 0 where it is absent.
func (p *argumentParser) choice(name string, allowed []string) int {
	value, ok := p.text(name)
	if !ok {
		return 0
	}
	i := slices.Index(allowed, value)
	if i < 0 {
		p.fail(name, noneOf(name, value, allowed))
		return 0
	}
	return i
}

func noneOf(name, value string, allowed []string) string {
	switch name { // RabbitMQ's words
	case argOverflow:
		return "invalid_overflow"
	case argDeadStrategy:
		return "invalid_dlx_strategy"
	case argQueueMode:
		return fmt.Sprintf(`"unsupported queue mode '%s'"`, value)
	}
	return fmt.Sprintf("'%s' is none of %s", value, strings.Join(allowed, ", "))
}

func (p *argumentParser) flag(name string) bool {
	v, ok := p.table.Get(name)
	value, isFlag := v.(bool)
	if ok && !isFlag {
		p.fail(name, "{unacceptable_type,"+content.TypeName(v)+"}")
	}
	return value
}

func (p *argumentParser) integer(name string, low, high, absent int64) int64 {
	v, ok := p.table.Get(name)
	if !ok {
		return absent
	}
	n, isInteger := content.Integer(v)
	if !isInteger {
		p.fail(name, `"expected integer, got `+content.TypeName(v)+`"`)
		return absent
	}
	switch {
	case n == 0 && low == 1:
		p.fail(name, "{value_zero,0}")
	case n < low:
		p.fail(name, fmt.Sprintf("{value_negative,%d}", n))
	case n > high:
		p.fail(name, fmt.Sprintf("{%s,%d}", beyond(name), n))
	default:
		return n
	}
	return absent
}

// beyond is RabbitMQ's word for an integer that is too large.
func beyond(name string) string {
	if name == argMaxPriority {
		return "max_value_exceeded"
	}
	return "value_too_large"
}

// invalidNameType refuses an argument that should name an exchange.
func invalidNameType(v any, name, label string) *refusal {
	return refuse(PreconditionFailed, "invalid type '%s' for arg '%s' in %s", content.TypeName(v), name, label)
}

// equivalentArguments compares the arguments that matter by value, as RabbitMQ does and in its words.
func equivalentArguments(names []string, current, received content.Table, label string) *refusal {
	for _, name := range names {
		is, hasIs := current.Get(name)
		got, hasGot := received.Get(name)
		switch {
		case !hasIs && !hasGot:
		case hasIs && hasGot:
			if !content.Equal(is, got) {
				return inequivalent(name, label, "'"+fieldText(got)+"'", "'"+fieldText(is)+"'")
			}
		case name == argQueueType && (is == queueTypeClassic || got == queueTypeClassic): // the default, spelled out or not
		default:
			return inequivalent(name, label, typedField(got, hasGot), typedField(is, hasIs))
		}
	}
	return nil
}

func typedField(v any, present bool) string {
	if !present {
		return "none"
	}
	return fmt.Sprintf("the value '%s' of type '%s'", fieldText(v), content.TypeName(v))
}

func fieldText(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}
