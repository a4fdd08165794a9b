package fsm

// BindingView is a binding as operators see it. Those to the default exchange exist for every queue and are not listed.
type BindingView struct {
	VHost, Source, Destination string
	ToExchange                 bool
	Key                        string
	Arguments                  []byte // encoded table; not to be changed
}

// BindingsFrom lists the bindings whose source is an exchange, by creation.
func (s *State) BindingsFrom(vhost, exchange string) []BindingView {
	v := s.vhosts[vhost]
	if v == nil || v.exchanges[exchange] == nil {
		return nil
	}
	return viewBindings(bySerial(v.exchanges[exchange].out))
}

// BindingsToQueue lists the bindings whose destination is a queue, by creation.
func (s *State) BindingsToQueue(vhost, queue string) []BindingView {
	v := s.vhosts[vhost]
	if v == nil || v.queues[queue] == nil {
		return nil
	}
	return viewBindings(v.queues[queue].in.all())
}

// BindingsToExchange lists the bindings whose destination is an exchange, by creation.
func (s *State) BindingsToExchange(vhost, exchange string) []BindingView {
	v := s.vhosts[vhost]
	if v == nil || v.exchanges[exchange] == nil {
		return nil
	}
	return viewBindings(v.exchanges[exchange].in.all())
}

func viewBindings(bindings []*binding) []BindingView {
	views := make([]BindingView, len(bindings))
	for i, b := range bindings {
		views[i] = b.view()
	}
	return views
}

func (b *binding) view() BindingView {
	view := BindingView{VHost: b.source.vhost.name, Source: b.source.name, Key: b.key, Arguments: b.arguments}
	if q := b.dest.queue; q != nil {
		view.Destination = q.name
	} else {
		view.Destination, view.ToExchange = b.dest.exchange.name, true
	}
	return view
}
