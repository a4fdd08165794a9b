package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

// delayLevels are the bits of a delay in seconds that Celery's ladder takes.
const delayLevels = 28

// declareDelays builds what kombu's native delayed delivery declares: a topic exchange and a queue of type quorum for each bit of a delay in seconds. A message
// waits in the queues of those bits of its key that are 1, from the highest to the lowest, and passes the others from exchange to exchange.
func (d *driver) declareDelays() {
	name := func(k int) string { return fmt.Sprint("celery_delayed_", k) }
	below := func(k int) string {
		if k == 0 {
			return "celery_delayed_delivery"
		}
		return name(k - 1)
	}
	for k := range delayLevels + 1 {
		d.apply(&DeclareExchange{Ref: driverChannel, Name: below(k), Type: "topic", Durable: true})
	}
	for k := range delayLevels {
		above := strings.Repeat("*.", delayLevels-1-k)
		d.declare(name(k), content.Table{
			{Name: argQueueType, Value: queueTypeQuorum}, {Name: argDeadStrategy, Value: "at-least-once"}, {Name: argOverflow, Value: "reject-publish"},
			{Name: argMessageTTL, Value: int64(1000) << k}, {Name: argDeadExchange, Value: below(k)},
		})
		d.apply(&Bind{Ref: driverChannel, Source: name(k), Destination: name(k), Key: above + "1.#"},
			&Bind{Ref: driverChannel, Source: name(k), Destination: below(k), ToExchange: true, Key: above + "0.#"})
		if n := d.count(Replied); n != 2 {
			d.t.Fatalf("binding level %d: %+v", k, d.effects)
		}
	}
	d.declare("work", content.Table{{Name: argQueueType, Value: queueTypeQuorum}})
	d.apply(&Bind{Ref: driverChannel, Source: below(0), Destination: "work", Key: "#.work"})
}

func publishDelayed(seconds int) *Publish {
	digits := strings.Split(fmt.Sprintf("%0*b", delayLevels, seconds), "")
	return &Publish{
		Ref: driverChannel, Exchange: []byte(fmt.Sprint("celery_delayed_", delayLevels-1)), RoutingKey: []byte(strings.Join(append(digits, "work"), ".")),
		Properties: []byte{0, 0}, Body: []byte(fmt.Sprint(seconds)),
	}
}

// TestDelayLadder publishes with many delays at once, the longest of eight and a half years: each message comes after the sum of its levels, to the millisecond.
func TestDelayLadder(t *testing.T) {
	d := newDriver(t)
	d.declareDelays()
	consume := consumeAll("work")
	consume.NoAck = true // else it would time out meanwhile
	d.apply(consume)
	began := d.nowMillis
	delays := []int{0, 1, 2, 3, 5, 60, 61, 3600, 86_400, 1<<27 + 1, 1<<delayLevels - 1}
	var got []string
	collect := func() {
		for _, e := range d.effects {
			if e.Kind == Delivered {
				got = append(got, string(e.Body))
				if due := fmt.Sprint((d.nowMillis - began) / 1000); string(e.Body) != due {
					t.Fatalf("the message with a delay of %s s is delivered after %s s", e.Body, due)
				}
			}
		}
	}
	for _, seconds := range slices.Backward(delays) {
		d.apply(publishDelayed(seconds))
		collect()
	}
	for due, ok := d.state.NextDeadline(); ok && len(got) < len(delays); due, ok = d.state.NextDeadline() {
		d.nowMillis = due
		d.tick()
		collect()
	}
	if len(got) != len(delays) {
		t.Fatalf("delivered %v of the delays %v", got, delays)
	}
	d.check()
	if counts := d.state.Counts(); counts.Ready+counts.Held != 0 {
		t.Fatalf("in the end: %+v", counts)
	}
}
