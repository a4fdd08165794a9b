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
		stats = append(stats, withRate(counterNames[c], counts[c], rates.Counts[c])...)
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
	return append(stats, withRate("deliver_get", sum, rate)...)
}

// withRate is a number and what it changes by in a second.
func withRate(name string, n any, perSecond float64) object {
	return object{{name, n}, {name + "_details", object{{"rate", perSecond}}}}
}

// messageCounts are the messages in a queue or in many.
func messageCounts(ready, held int, rates *broker.Rates) object {
	o := withRate("messages", ready+held, rates.Ready+rates.Held)
	o = append(o, withRate("messages_ready", ready, rates.Ready)...)
	return append(o, withRate("messages_unacknowledged", held, rates.Held)...)
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
