package http

import (
	"slices"

	"github.com/triagemq/triagemq/fsm"
)

func (r *request) listConsumers() (response, error) {
	consumers := r.server.broker.Consumers(r.vhost())
	if r.vhost() == "" {
		visible := r.visible()
		consumers = slices.DeleteFunc(consumers, func(c fsm.ConsumerView) bool { return !slices.Contains(visible, c.VHost) })
	}
	return r.list(r.consumers(consumers))
}

func (r *request) consumers(views []fsm.ConsumerView) []object {
	if len(views) == 0 {
		return []object{}
	}
	where := r.replicas()
	sessions := map[fsm.SessionKey]connection{}
	for _, v := range r.server.broker.Sessions() {
		sessions[fsm.SessionKey{Origin: v.Origin, Conn: v.Conn}] = newConnection(v, &where)
	}
	items := make([]object, len(views))
	for i := range views {
		c := sessions[views[i].Session]
		items[i] = consumerObject(&views[i], &c)
	}
	return items
}

func consumerObject(v *fsm.ConsumerView, c *connection) object {
	arguments := object{}
	if v.Priority != 0 {
		arguments = object{{"x-priority", v.Priority}}
	}
	status := "up"
	if v.Active && v.Single {
		status = "single_active"
	} else if !v.Active {
		status = "waiting"
	}
	return object{
		{"consumer_tag", v.Tag},
		{"queue", object{{"name", v.Queue}, {"vhost", v.VHost}}},
		{"channel_details", object{
			{"name", channelName(c, v.Channel)}, {"number", int(v.Channel)}, {"connection_name", c.name}, {"node", c.node},
			{"user", c.User}, {"peer_host", c.text("peer_host")}, {"peer_port", c.number("peer_port")},
		}},
		{"ack_required", !v.NoAck},
		{"exclusive", v.Exclusive},
		{"active", v.Active},
		{"activity_status", status},
		{"prefetch_count", int(v.Prefetch)},
		{"consumer_timeout", 0},
		{"arguments", arguments},
	}
}
