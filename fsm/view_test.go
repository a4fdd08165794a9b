package fsm

import (
	"testing"
)

// TestMeters plays one of each and compares what was counted.
func TestMeters(t *testing.T) {
	d := newDriver(t)
	d.declare("q", nil)
	confirmed := publishTo("q", 0, "b")
	confirmed.Confirm = 1
	mandatory := publishTo("nobody", 0, "c")
	mandatory.Mandatory = true
	fanned := publishTo("k", 0, "d")
	fanned.Exchange = []byte("amq.fanout")
	d.apply(
		&Bind{Ref: driverChannel, Source: "amq.fanout", Destination: "q"},
		publishTo("q", 0, "a"), confirmed, mandatory, publishTo("nobody", 0, "e"), fanned,
		&Get{Ref: driverChannel, Queue: "q"},
		&Nack{Ref: driverChannel, Tag: 1, Requeue: true},
		&Get{Ref: driverChannel, Queue: "q"},
		&Ack{Ref: driverChannel, Tag: 2},
		&Get{Ref: driverChannel, Queue: "q", NoAck: true},
		consumeAll("q"),
		&Cancel{Ref: driverChannel, Tag: "c"},
		&Get{Ref: driverChannel, Queue: "q"},
	)
	queue := Counters{PublishCount: 3, DeliverCount: 1, GetCount: 2, GetNoAckCount: 1, GetEmptyCount: 1, AckCount: 1, RedeliverCount: 1}
	detail, ok := d.state.QueueDetail(ObjectName{VHost: "/", Name: "q"})
	if !ok || detail.Meter.Counts != queue {
		t.Errorf("queue %v, want %v", detail.Meter.Counts, queue)
	}
	vhost := queue
	vhost[PublishCount], vhost[ConfirmCount], vhost[ReturnUnroutableCount], vhost[DropUnroutableCount] = 5, 1, 1, 1
	vhost[PublishInCount], vhost[PublishOutCount] = 4, 2 // the default exchange
	if got, _ := d.state.VHostCounts("/"); got.Meter.Counts != vhost || got.Held != 1 || got.Sessions != 1 || got.Channels != 1 {
		t.Errorf("virtual host %+v, want %v", got, vhost)
	}
	fanout, _ := d.state.Exchange("/", "amq.fanout")
	if want := (Counters{PublishInCount: 1, PublishOutCount: 1}); fanout.Meter.Counts != want || fanout.Meter.LastMillis != d.nowMillis {
		t.Errorf("exchange %+v, want %v", fanout.Meter, want)
	}
	if moved, more := d.state.TakeMoved(nil, 2); len(moved) != 2 || !more {
		t.Errorf("took %d, more %v", len(moved), more)
	}
	moved, more := d.state.TakeMoved(nil, 10)
	if len(moved) != 1 || more {
		t.Errorf("took %d, more %v", len(moved), more)
	}
	if moved, _ := d.state.TakeMoved(nil, 10); len(moved) != 0 {
		t.Errorf("taken twice: %v", moved)
	}
	churn := d.state.Churn()
	if want := (OriginChurn{"n1", Churn{ConnectionsCreated: 1, ChannelsCreated: 1, QueuesDeclared: 1, QueuesCreated: 1}}); len(churn) != 1 || churn[0] != want {
		t.Errorf("churn %+v", churn)
	}
}

func TestTopologyViews(t *testing.T) {
	d := newDriver(t)
	d.declare("q", nil)
	d.apply(
		&Bind{Ref: driverChannel, Source: "amq.topic", Destination: "q", Key: "a.#"},
		&Bind{Ref: driverChannel, Source: "amq.topic", Destination: "amq.fanout", ToExchange: true, Key: "b"},
		consumeAll("q"),
	)
	want := []BindingView{
		{VHost: "/", Source: "amq.topic", Destination: "q", Key: "a.#"},
		{VHost: "/", Source: "amq.topic", Destination: "amq.fanout", ToExchange: true, Key: "b"},
	}
	for name, got := range map[string][]BindingView{
		"from": d.state.BindingsFrom("/", "amq.topic"),
		"to":   append(d.state.BindingsToQueue("/", "q"), d.state.BindingsToExchange("/", "amq.fanout")...),
	} {
		if len(got) != 2 || got[0].Key != want[0].Key || got[0].Destination != "q" || got[1].Destination != "amq.fanout" || !got[1].ToExchange {
			t.Errorf("bindings %s: %+v", name, got)
		}
	}
	exchanges := d.state.Exchanges("/")
	if len(exchanges) != 6 || exchanges[0].Name != "" || exchanges[0].Type != "direct" || exchanges[5].Name != "amq.topic" || exchanges[5].Type != "topic" {
		t.Errorf("exchanges %+v", exchanges)
	}
	names := d.state.QueueNames("", nil)
	if len(names) != 1 || names[0].Name != "q" {
		t.Errorf("queues %+v", names)
	}
	if _, ok := d.state.QueueDetail(ObjectName{VHost: "/", Name: "q", Serial: names[0].Serial + 1}); ok {
		t.Error("found a queue under another one's serial")
	}
	key := SessionKey{Origin: driverOrigin, Conn: 1}
	channels := d.state.Channels(key)
	if len(channels) != 1 || channels[0].Consumers != 1 || channels[0].Number != 1 {
		t.Errorf("channels %+v", channels)
	}
	consumers := d.state.Consumers("/", "q")
	if len(consumers) != 1 || consumers[0].Tag != "c" || consumers[0].Session != key || !consumers[0].Active {
		t.Errorf("consumers %+v", consumers)
	}
	if got := d.state.ChannelConsumers(key, 1); len(got) != 1 || got[0].Tag != "c" {
		t.Errorf("consumers of the channel %+v", got)
	}
}
