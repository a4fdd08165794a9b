package fsm

import (
	"fmt"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

// ringOfFullQueues declares queues of length 0, each the dead-letter destination of the one before.
func ringOfFullQueues(d *driver, n int) {
	for i := range n {
		d.declare(fmt.Sprint("ring", i), content.Table{
			{Name: argMaxLength, Value: int32(0)}, {Name: argDeadExchange, Value: ""}, {Name: argDeadKey, Value: fmt.Sprint("ring", (i+1)%n)},
		})
	}
}

// A message ends that goes round full queues, even where its x-death cannot tell them all.
func TestOverflowCyclesEnd(t *testing.T) {
	for _, c := range []struct{ queues, headers int }{{1, 0}, {3, 0}, {2, content.EntriesMax - 2}, {automaticDeathsMax + 5, 0}, {content.EntriesMax + 5, 0}} {
		t.Run(fmt.Sprintf("%d queues, %d headers", c.queues, c.headers), func(t *testing.T) {
			d := newDriver(t)
			ringOfFullQueues(d, c.queues)
			p := publishTo("ring0", 0, "m")
			headers := make(content.Table, c.headers)
			for i := range headers {
				headers[i] = content.Field{Name: fmt.Sprint(i), Value: true}
			}
			properties := content.Properties{Has: content.HasHeaders, Headers: headers}
			p.Properties = properties.Append(nil)
			d.apply(p)
			d.check()
			if n := d.state.Stats().Entries; n != 0 || d.count(ChannelFailed) > 0 {
				t.Errorf("%d messages are left: %+v", n, d.effects)
			}
		})
	}
}

// What one entry's publishes displace costs no more than they do, and what is beyond the budget is left to Ticks, which keep to it.
func TestShedKeepsToTheBudget(t *testing.T) {
	const many = 1000
	d := newDriver(t)
	d.state.limits.bulkMoves = 10
	d.declare("q", content.Table{{Name: argMaxLengthBytes, Value: int32(many)}})
	for range many {
		d.apply(publishTo("q", 0, "1"))
	}
	d.apply(publishTo("q", 0, string(make([]byte, many)))) // displaces all of them
	before := d.queue("q").Ready
	if before < many-20 || before > many {
		t.Fatalf("%d are left", before)
	}
	d.check()
	d.tick()
	if after := d.queue("q").Ready; before-after != 10 {
		t.Fatalf("a tick dropped %d", before-after)
	}
	d.tickAll()
	d.check()
	if q := d.queue("q"); q.Ready != 1 || q.Bytes != many {
		t.Fatalf("in the end: %+v", q)
	}
}

// Full queues whose dead letters go to all the others multiply what they drop: with each overflow a message becomes as many as there are queues that it has
// not been in. That is what was asked for, but one entry must not do all of it.
func TestOverflowThatMultipliesKeepsToTheBudget(t *testing.T) {
	const queues, budget = 12, 100
	d := newDriver(t)
	d.state.limits.bulkMoves = budget
	for i := range queues {
		name := fmt.Sprint("q", i)
		d.declare(name, content.Table{{Name: argMaxLength, Value: int32(1)}, {Name: argDeadExchange, Value: "amq.fanout"}})
		d.apply(&Bind{Ref: driverChannel, Source: "amq.fanout", Destination: name})
	}
	before := d.state.ordinal
	for range 2 {
		d.apply(&Publish{Ref: driverChannel, Exchange: []byte("amq.fanout"), Properties: []byte{0, 0}})
		if n := d.state.ordinal - before; n > queues+2*budget*queues {
			t.Fatalf("an entry enqueued %d messages", n)
		}
	}
	d.check()
	d.tick()
	if n := d.state.ordinal; n == 0 || n > budget*queues {
		t.Fatalf("a tick enqueued %d messages", n)
	}
	d.check()
}
