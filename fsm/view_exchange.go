package fsm

import (
	"cmp"
	"slices"

	"github.com/triagemq/triagemq/fsm/route"
)

// ExchangeView is an exchange as operators see it. The default exchange has the name "" and its virtual host's serial.
type ExchangeView struct {
	VHost, Name, Type             string
	Serial                        uint64
	Durable, AutoDelete, Internal bool
	Arguments                     []byte // encoded table; not to be changed
	Delayed                       int    // messages that wait in it
	Meter                         MeterView
	Policy                        AppliedPolicy
}

// Exchanges lists the exchanges of a virtual host by name ("" = all, by virtual host and name), the default ones included.
func (s *State) Exchanges(vhost string) []ExchangeView {
	var views []ExchangeView
	//fsm:unordered sorted below
	for _, v := range s.vhosts {
		if vhost != "" && vhost != v.name {
			continue
		}
		views = append(views, v.defaultExchange())
		//fsm:unordered sorted below
		for _, x := range v.exchanges {
			views = append(views, x.view())
		}
	}
	slices.SortFunc(views, func(a, b ExchangeView) int { return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.Name, b.Name)) })
	return views
}

// Exchange returns one; "" is the default exchange.
func (s *State) Exchange(vhost, name string) (ExchangeView, bool) {
	v := s.vhosts[vhost]
	if v == nil {
		return ExchangeView{}, false
	}
	if name == "" {
		return v.defaultExchange(), true
	}
	if x := v.exchanges[name]; x != nil {
		return x.view(), true
	}
	return ExchangeView{}, false
}

func (v *vhost) defaultExchange() ExchangeView {
	return ExchangeView{VHost: v.name, Type: exchangeKindNames[route.Direct], Serial: v.serial, Durable: true, Meter: v.meter.view()}
}

func (x *exchange) view() ExchangeView {
	view := ExchangeView{
		VHost: x.vhost.name, Name: x.name, Type: x.typeName(), Serial: x.serial,
		Durable: x.durable, AutoDelete: x.autoDelete, Internal: x.internal, Arguments: x.arguments, Meter: x.meter.view(),
		Policy: x.applied(),
	}
	if x.delayed != nil {
		view.Delayed = x.delayed.messages.Delayed()
	}
	return view
}
