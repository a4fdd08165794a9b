package fsm

import (
	"fmt"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

// TestWhatWaitsWritesNothing: an idle leader proposes a Tick only when one is due. With messages that expire or are delayed, and queues that expire, none is due
// before the first of their times, however often the clock is looked at; and each costs its Tick once.
func TestWhatWaitsWritesNothing(t *testing.T) {
	const count, firstMillis = 2000, 600_000
	d := newDriver(t)
	began := d.nowMillis
	d.apply(&DeclareExchange{Ref: driverChannel, Name: "later", Type: DelayedExchangeType, Arguments: content.Table{{Name: argDelayedType, Value: "fanout"}}.Append(nil)})
	d.declare("ttl", content.Table{{Name: argMessageTTL, Value: int32(firstMillis)}})
	for i := range count {
		p := content.Properties{Has: content.HasHeaders, Headers: content.Table{{Name: headerDelay, Value: int32(firstMillis + i)}}}
		d.apply(&DeclareQueue{Ref: driverChannel, Name: fmt.Sprint("q", i), Arguments: content.Table{{Name: argExpires, Value: int32(firstMillis + i)}}.Append(nil)},
			&Publish{Ref: driverChannel, Exchange: []byte("later"), Properties: p.Append(nil)},
			&Publish{Ref: driverChannel, RoutingKey: []byte("ttl"), Properties: []byte{0, 0}})
	}
	for _, millis := range []int64{1, firstMillis / 2, firstMillis - 1} {
		d.nowMillis = began + millis
		d.items(AppendMark(nil)) // time passes
		if due, ok := d.state.NextDeadline(); !ok || due != began+firstMillis {
			t.Fatalf("after %d ms the next deadline is %d, not %d", millis, due-began, firstMillis)
		}
		if ticks := d.tickAll(); ticks != 0 {
			t.Fatalf("%d ticks are due after %d ms", ticks, millis)
		}
	}
	d.nowMillis = began + 2*firstMillis
	d.items(AppendMark(nil))
	ticks := d.tickAll()
	if due, ok := d.state.NextDeadline(); ok {
		t.Fatalf("something is still due at %d", due)
	}
	if n := d.state.Stats().Entries; n != 0 || ticks > 5 {
		t.Fatalf("%d messages are left after %d ticks", n, ticks)
	}
	d.check()
}

// TestOneEntryExpiresABoundedNumber: what is due beyond an entry's budget is due still, is not delivered meanwhile, and goes with the next ones.
func TestOneEntryExpiresABoundedNumber(t *testing.T) {
	d := newDriver(t)
	d.state.limits.bulkMoves = 10
	d.declare("dead", nil)
	d.declare("q", content.Table{
		{Name: argMessageTTL, Value: int32(1000)}, {Name: argDeadExchange, Value: ""}, {Name: argDeadKey, Value: "dead"},
	})
	d.publishMany("q", 35)
	d.nowMillis += 1000
	d.apply(&Get{Ref: driverChannel, Queue: "q"})
	if !d.effects[0].Empty {
		t.Fatalf("a get of what has expired: %+v", d.effects)
	}
	if q, dead := d.queue("q"), d.queue("dead"); q.Ready != 25 || dead.Ready != 10 {
		t.Fatalf("%d messages are left and %d dead after one entry", q.Ready, dead.Ready)
	}
	if ticks := d.tickAll(); ticks != 3 {
		t.Fatalf("%d ticks were due", ticks)
	}
	if q, dead := d.queue("q"), d.queue("dead"); q.Ready != 0 || dead.Ready != 35 {
		t.Fatalf("%d messages are left and %d dead", q.Ready, dead.Ready)
	}
	d.check()
}
