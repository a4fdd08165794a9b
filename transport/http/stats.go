package http

import (
	"time"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// counterNames are the counters as message_stats has them, by fsm.Counter.
var counterNames = [fsm.CounterCount]string{
	fsm.PublishCount: "publish", fsm.ConfirmCount: "confirm", fsm.ReturnUnroutableCount: "return_unroutable", fsm.DropUnroutableCount: "drop_unroutable",
	fsm.DeliverCount: "deliver", fsm.DeliverNoAckCount: "deliver_no_ack", fsm.GetCount: "get", fsm.GetNoAckCount: "get_no_ack",
	fsm.GetEmptyCount: "get_empty", fsm.AckCount: "ack", fsm.RedeliverCount: "redeliver",
	fsm.PublishInCount: "publish_in", fsm.PublishOutCount: "publish_out",
}

var (
	queueCounters = []fsm.Counter{
		fsm.AckCount, fsm.DeliverCount, fsm.DeliverNoAckCount, fsm.GetCount, fsm.GetEmptyCount, fsm.GetNoAckCount, fsm.PublishCount, fsm.RedeliverCount,
	}
	exchangeCounters = []fsm.Counter{fsm.PublishInCount, fsm.PublishOutCount}
	vhostCounters    = append([]fsm.Counter{fsm.ConfirmCount, fsm.DropUnroutableCount, fsm.ReturnUnroutableCount}, queueCounters...)
	deliverGet       = []fsm.Counter{fsm.DeliverCount, fsm.DeliverNoAckCount, fsm.GetCount, fsm.GetNoAckCount}
)

// messageStats are counters with their rates; deliver_get is the sum of all that was handed out.
func messageStats(which []fsm.Counter, counts *fsm.Counters, rates *broker.Rates) object {
	stats := make(object, 0, 2*len(which)+2)
	for _, c := range which {
		stats = appendRate(stats, counterNames[c], counterDetails[c], counts[c], rates.Counts[c])
	}
	if len(which) < len(queueCounters) {
		return stats
	}
	var sum uint64
	var rate float64
	for _, c := range deliverGet {
		sum += counts[c]
		rate += rates.Counts[c]
	}
	return appendRate(stats, "deliver_get", "deliver_get_details", sum, rate)
}

// counterDetails are the names of the rates.
var counterDetails = func() (names [fsm.CounterCount]string) {
	for i, name := range counterNames {
		names[i] = name + "_details"
	}
	return names
}()

// noRate is what nearly all objects have, nearly always. It is not to be changed.
var noRate = object{{"rate", 0.0}}

// appendRate adds a number and what it changes by in a second.
func appendRate(o object, name, details string, n any, perSecond float64) object {
	rate := noRate
	if perSecond != 0 {
		rate = object{{"rate", perSecond}}
	}
	return append(o, field{name, n}, field{details, rate})
}

// withRate is appendRate for where it need not be cheap.
func withRate(name string, n any, perSecond float64) object {
	return appendRate(nil, name, name+"_details", n, perSecond)
}

// messageCounts are the messages in a queue or in many.
func messageCounts(ready, held int, rates *broker.Rates) object {
	return appendMessageCounts(nil, ready, held, rates)
}

func appendMessageCounts(o object, ready, held int, rates *broker.Rates) object {
	o = appendRate(o, "messages", "messages_details", ready+held, rates.Ready+rates.Held)
	o = appendRate(o, "messages_ready", "messages_ready_details", ready, rates.Ready)
	return appendRate(o, "messages_unacknowledged", "messages_unacknowledged_details", held, rates.Held)
}

// lengthSamples adds to message counts what clients ask for with lengths_age: a history of lengths. There is none but the present: whoever wants curves
// collects the metrics.
func (r *request) lengthSamples(counts object) object {
	if r.query.Get("lengths_age") == "" {
		return counts
	}
	now := time.Now().UnixMilli()
	for i := 1; i < len(counts); i += 2 {
		length, details := counts[i-1].value, counts[i].value.(object)
		counts[i].value = object{
			details[0], {"avg", length}, {"avg_rate", details[0].value}, {"samples", []object{{{"sample", length}, {"timestamp", now}}}},
		}
	}
	return counts
}

// idleAfter is how long nothing happens to what counts as idle.
const idleAfter = time.Second

// idleSince is empty while something goes on, and where nothing is known.
func idleSince(lastMillis int64) object {
	last := time.UnixMilli(lastMillis)
	if lastMillis == 0 || time.Since(last) < idleAfter {
		return nil
	}
	return object{{"idle_since", last.UTC().Format("2006-01-02T15:04:05.000-07:00")}}
}
