package amqp

import (
	"strings"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

func (ch *channel) declareExchange(m *wire.ExchangeDeclare) error {
	return ch.probeOrAsk(&fsm.DeclareExchange{
		Ref: ch.ref, Name: stripNewlines(m.Exchange), Type: m.Type, Passive: m.Passive, Durable: m.Durable, AutoDelete: m.AutoDelete,
		Internal: m.Internal, NoWait: m.NoWait, Arguments: m.Arguments,
	}, expectation{fsm.KindDeclareExchange, wire.IDExchangeDeclareOk, m.ID()}, m.NoWait)
}

func (ch *channel) deleteExchange(m *wire.ExchangeDelete) {
	ch.ask(&fsm.DeleteExchange{Ref: ch.ref, Name: stripNewlines(m.Exchange), IfUnused: m.IfUnused, NoWait: m.NoWait},
		expectation{fsm.KindDeleteExchange, wire.IDExchangeDeleteOk, m.ID()}, m.NoWait)
}

func (ch *channel) bindExchange(m *wire.ExchangeBind) {
	ch.ask(&fsm.Bind{
		Ref: ch.ref, Source: stripNewlines(m.Source), Destination: stripNewlines(m.Destination), ToExchange: true, Key: m.RoutingKey,
		Arguments: m.Arguments, NoWait: m.NoWait,
	}, expectation{fsm.KindBind, wire.IDExchangeBindOk, m.ID()}, m.NoWait)
}

func (ch *channel) unbindExchange(m *wire.ExchangeUnbind) {
	ch.ask(&fsm.Unbind{
		Ref: ch.ref, Source: stripNewlines(m.Source), Destination: stripNewlines(m.Destination), ToExchange: true, Key: m.RoutingKey,
		Arguments: m.Arguments, NoWait: m.NoWait,
	}, expectation{fsm.KindUnbind, wire.IDExchangeUnbindOk, m.ID()}, m.NoWait)
}

var newlines = strings.NewReplacer("\r", "", "\n", "")

// stripNewlines: as RabbitMQ does with names.
func stripNewlines(name string) string { return newlines.Replace(name) }
