package fsm

// ConsumerView is a consumer as operators see it.
type ConsumerView struct {
	VHost, Queue, Tag string
	Session           SessionKey
	Channel           uint16
	NoAck, Exclusive  bool
	Active            bool // it is served: false while another single active consumer is
	Single            bool // its queue has a single active consumer
	Prefetch          uint16
	Priority          int64
}

// Consumers lists the consumers of a queue in order of creation.
func (s *State) Consumers(vhost, queue string) []ConsumerView {
	v := s.vhosts[vhost]
	if v == nil || v.queues[queue] == nil {
		return nil
	}
	q := v.queues[queue]
	views := make([]ConsumerView, len(q.consumers))
	for i, c := range q.consumers {
		views[i] = c.view()
	}
	return views
}

// ChannelConsumers lists the consumers of a channel in order of creation.
func (s *State) ChannelConsumers(key SessionKey, number uint16) []ConsumerView {
	o := s.origins[key.Origin.Node]
	if o == nil || o.boot != key.Origin.Boot || o.sessions[key.Conn] == nil || o.sessions[key.Conn].channels[number] == nil {
		return nil
	}
	var views []ConsumerView
	for _, c := range o.sessions[key.Conn].channels[number].consumers {
		views = append(views, c.view())
	}
	return views
}

func (c *consumer) view() ConsumerView {
	return ConsumerView{
		VHost: c.queue.vhost.name, Queue: c.queue.name, Tag: c.tag, Session: c.channel.session.key(), Channel: c.channel.number,
		NoAck: c.noAck, Exclusive: c.queue.exclusive == c, Active: c.isActive(), Single: c.queue.args.singleActive, Prefetch: c.limit, Priority: c.priority,
	}
}
