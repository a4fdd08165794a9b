package http

import (
	"fmt"

	"github.com/triagemq/triagemq/fsm"
)

// channelList lists the channels of connections.
func (r *request) channels(connections []connection) []object {
	byKey := make(map[fsm.SessionKey]*connection, len(connections))
	sessions := make([]fsm.SessionView, len(connections))
	for i := range connections {
		c := &connections[i]
		sessions[i] = c.SessionView
		byKey[fsm.SessionKey{Origin: c.Origin, Conn: c.Conn}] = c
	}
	items := []object{}
	for _, ch := range r.server.broker.Channels(sessions) {
		if c := byKey[ch.Session]; c != nil {
			items = append(items, channelObject(&ch, c))
		}
	}
	return items
}

func channelName(c *connection, number uint16) string { return fmt.Sprintf("%s (%d)", c.name, number) }

func channelObject(ch *fsm.ChannelView, c *connection) object {
	state := "running"
	if ch.Failed {
		state = "closing"
	}
	return object{
		{"name", channelName(c, ch.Number)},
		{"number", int(ch.Number)},
		{"node", c.node},
		{"vhost", c.VHost},
		{"user", c.User},
		{"user_who_performed_action", c.User},
		{"state", state},
		{"connection_details", c.brief()},
		{"confirm", ch.Confirm},
		{"transactional", false},
		{"prefetch_count", int(ch.Prefetch)},
		{"global_prefetch_count", int(ch.PrefetchShared)},
		{"consumer_count", ch.Consumers},
		{"messages_unacknowledged", ch.Unacked},
		{"messages_unconfirmed", 0},
		{"messages_uncommitted", 0},
		{"acks_uncommitted", 0},
		{"pending_raft_commands", 0},
	}
}

func (r *request) listChannels() (response, error) { return r.list(r.channels(r.connections(nil))) }

func (r *request) listVHostChannels() (response, error) {
	return r.list(r.channels(r.connections(func(c *connection) bool { return c.VHost == r.vhost() })))
}

func (r *request) listConnectionChannels() (response, error) {
	c, err := r.theConnection()
	if err != nil {
		return response{}, err
	}
	return r.list(r.channels([]connection{c}))
}

func (r *request) getChannel() (response, error) {
	for _, c := range r.connections(nil) {
		for _, ch := range r.server.broker.Channels([]fsm.SessionView{c.SessionView}) {
			if channelName(&c, ch.Number) != r.args["channel"] {
				continue
			}
			var consumers []fsm.ConsumerView
			r.view(func(s *fsm.State) { consumers = s.ChannelConsumers(ch.Session, ch.Number) })
			o := append(channelObject(&ch, &c), field{"consumer_details", r.consumers(consumers)})
			return r.one(append(o, field{"publishes", []object{}}, field{"deliveries", []object{}}))
		}
	}
	return response{}, notFound()
}
