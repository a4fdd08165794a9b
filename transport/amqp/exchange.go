package amqp

import (
	"strings"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

func (ch *channel) declareExchange(m *wire.ExchangeDeclare) (*exception, error) {
	command := fsm.DeclareExchange{
		Ref: ch.ref, Name: stripNewlines(m.Exchange), Type: m.Type, Passive: m.Passive, Durable: m.Durable, AutoDelete: m.AutoDelete,
		Internal: m.Internal, Arguments: m.Arguments,
	}
	expected := expectation{command: fsm.KindDeclareExchange, ok: wire.IDExchangeDeclareOk, asked: m.ID()}
	if m.Passive {
		return nil, ch.probeOrAsk(&command, expected, m.NoWait)
	}
	return ch.askGrowth(&command, expected, m.NoWait)
}

func (ch *channel) deleteExchange(m *wire.ExchangeDelete) {
	ch.ask(&fsm.DeleteExchange{Ref: ch.ref, Name: stripNewlines(m.Exchange), IfUnused: m.IfUnused},
		expectation{command: fsm.KindDeleteExchange, ok: wire.IDExchangeDeleteOk, asked: m.ID()}, m.NoWait)
}

func (ch *channel) bindExchange(m *wire.ExchangeBind) (*exception, error) {
	return ch.bind(&fsm.Bind{
		Ref: ch.ref, Source: stripNewlines(m.Source), Destination: stripNewlines(m.Destination), ToExchange: true, Key: m.RoutingKey,
		Arguments: m.Arguments,
	}, expectation{command: fsm.KindBind, ok: wire.IDExchangeBindOk, asked: m.ID()}, m.NoWait)
}

func (ch *channel) unbindExchange(m *wire.ExchangeUnbind) {
	ch.ask(&fsm.Unbind{
		Ref: ch.ref, Source: stripNewlines(m.Source), Destination: stripNewlines(m.Destination), ToExchange: true, Key: m.RoutingKey,
		Arguments: m.Arguments,
	}, expectation{command: fsm.KindUnbind, ok: wire.IDExchangeUnbindOk, asked: m.ID()}, m.NoWait)
}

var newlines = strings.NewReplacer("\r", "", "\n", "")

// stripNewlines: as RabbitMQ does with names.
func stripNewlines(name string) string { return newlines.Replace(name) }
