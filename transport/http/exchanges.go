package http

import (
	"context"
	"slices"

	"github.com/triagemq/triagemq/fsm"
)

// defaultExchangeName stands for the default exchange in paths, where its empty name cannot be written.
const defaultExchangeName = "amq.default"

func (r *request) listExchanges() (response, error) {
	exchanges := r.server.broker.Exchanges(r.vhost())
	if r.vhost() == "" {
		visible := r.visible()
		exchanges = slices.DeleteFunc(exchanges, func(x fsm.ExchangeView) bool { return !slices.Contains(visible, x.VHost) })
	}
	items := make([]object, len(exchanges))
	for i := range exchanges {
		items[i] = r.exchange(&exchanges[i])
	}
	return r.list(items)
}

func (r *request) exchange(x *fsm.ExchangeView) object {
	o := object{
		{"name", x.Name},
		{"vhost", x.VHost},
		{"type", x.Type},
		{"durable", x.Durable},
		{"auto_delete", x.AutoDelete},
		{"internal", x.Internal},
		{"arguments", tableJSON(x.Arguments)},
	}
	// RabbitMQ leaves it out where there is none: a null ends rabbitmqadmin.
	if x.Policy.Policy != "" {
		o = append(o, field{"policy", x.Policy.Policy})
	}
	if x.Type == fsm.DelayedExchangeType {
		o = append(o, field{"messages_delayed", x.Delayed})
	}
	if x.Meter.LastMillis != 0 {
		rates := r.server.broker.Rates().Of(x.Serial)
		o = append(o, field{"message_stats", messageStats(exchangeCounters, &x.Meter.Counts, &rates)})
	}
	return o
}

// exchangeName is the name of the exchange in the path.
func (r *request) exchangeName() string {
	if name := r.args["exchange"]; name != defaultExchangeName {
		return name
	}
	return ""
}

func (r *request) theExchange() (x fsm.ExchangeView, err error) {
	found := false
	r.view(func(s *fsm.State) { x, found = s.Exchange(r.vhost(), r.exchangeName()) })
	if !found {
		return x, notFound()
	}
	return x, nil
}

func (r *request) getExchange() (response, error) {
	x, err := r.theExchange()
	if err != nil {
		return response{}, err
	}
	return r.one(append(r.exchange(&x), field{"incoming", []object{}}, field{"outgoing", []object{}}))
}

func (r *request) putExchange() (response, error) {
	_, missing := r.theExchange()
	return r.declare(r.exchangeName(), exchangeDeclaration, missing == nil)
}

// declaration reads what a body declares, as definitions have it.
type declaration func(name string, body fields) (func(ref fsm.Ref) fsm.Command, error)

// declare answers a PUT with the user's own declaration. existed is what was there before: it tells 204 from 201.
func (r *request) declare(name string, read declaration, existed bool) (response, error) {
	body, err := r.body()
	if err == nil && !existed {
		err = r.mayDeclare()
	}
	if err != nil {
		return response{}, err
	}
	command, err := read(name, body)
	if err != nil {
		return response{}, err
	}
	err = r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		_, err := s.do(ctx, command)
		return err
	})
	if err != nil {
		return response{}, err
	}
	return put(existed)
}

// exchangeDeclaration reads an exchange as definitions have it: durable and direct unless it says otherwise.
func exchangeDeclaration(name string, body fields) (func(ref fsm.Ref) fsm.Command, error) {
	if len(name) > fsm.ShortStringBytesMax {
		return nil, badRequest("the name is longer than 255 bytes")
	}
	kind, err := body.name("type")
	if err != nil {
		return nil, err
	}
	if kind == "" {
		kind = "direct"
	}
	durable, err := body.bool("durable", true)
	if err != nil {
		return nil, err
	}
	autoDelete, err := body.bool("auto_delete", false)
	if err != nil {
		return nil, err
	}
	internal, err := body.bool("internal", false)
	if err != nil {
		return nil, err
	}
	table, err := body.table("arguments")
	if err != nil {
		return nil, err
	}
	return func(ref fsm.Ref) fsm.Command {
		return &fsm.DeclareExchange{Ref: ref, Name: name, Type: kind, Durable: durable, AutoDelete: autoDelete, Internal: internal, Arguments: table}
	}, nil
}

func (r *request) deleteExchange() (response, error) {
	x, err := r.theExchange()
	if err != nil {
		return response{}, err
	}
	err = r.withSession(r.vhost(), func(ctx context.Context, s *session) error {
		_, err := s.do(ctx, func(ref fsm.Ref) fsm.Command {
			return &fsm.DeleteExchange{Ref: ref, Name: x.Name, IfUnused: r.query.Get("if-unused") == "true"}
		})
		return err
	})
	if err != nil {
		return response{}, err
	}
	return noContent()
}
