package amqp

import (
	"strings"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// declareQueue generates the name where the client leaves it to the server: names are drawn before the log, which knows no chance.
func (ch *channel) declareQueue(m *wire.QueueDeclare) (*exception, error) {
	command := fsm.DeclareQueue{
		Ref: ch.ref, Name: stripNewlines(m.Queue), Passive: m.Passive, Durable: m.Durable, Exclusive: m.Exclusive, AutoDelete: m.AutoDelete,
		Arguments: m.Arguments,
	}
	if strings.HasPrefix(command.Name, directReplyTo) {
		return ch.declareReplies(command.Name, m)
	}
	expected := expectation{command: fsm.KindDeclareQueue, ok: wire.IDQueueDeclareOk, asked: m.ID()}
	switch {
	case command.Name == "" && m.Passive: // neither a new one nor the last
		return exceptionf(notFound, m.ID(), "no queue '' in vhost '%s'", ch.conn.vhost), nil
	case command.Name == "":
		command.Name, command.ServerNamed = uniqueName("amq.gen-"), true
		if err := ch.conn.growthAwaited(); err != nil {
			return nil, err
		}
		if ch.conn.server.broker.MemoryShort() {
			return memoryShort(m.ID()), nil
		}
		ch.lastQueue = command.Name
		ch.ask(&command, expected, m.NoWait) // there is nothing that a probe could find
		return nil, nil
	}
	ch.lastQueue = command.Name // if it fails the channel goes with it
	if m.Passive {
		return nil, ch.probeOrAsk(&command, expected, m.NoWait)
	}
	return ch.askGrowth(&command, expected, m.NoWait)
}

// queueName resolves the empty name to the queue declared last on the channel.
func (ch *channel) queueName(name string, method wire.MethodID) (string, *exception) {
	if name = stripNewlines(name); name != "" {
		return name, nil
	}
	if ch.lastQueue == "" {
		return "", exceptionf(notFound, method, "no previously declared queue")
	}
	return ch.lastQueue, nil
}

// bindingKey: with queue and key both empty, the key is the queue's name too (AMQP 0-9-1 §1.7.2.3).
func bindingKey(queue, key, resolved string) string {
	if queue == "" && key == "" {
		return resolved
	}
	return key
}

func (ch *channel) bindQueue(m *wire.QueueBind) (*exception, error) {
	name, x := ch.queueName(m.Queue, m.ID())
	if x != nil {
		return x, nil
	}
	if strings.HasPrefix(name, directReplyTo) {
		return exceptionf(accessRefused, m.ID(), "operation not permitted on queue '%s' in vhost '%s'", name, ch.conn.vhost), nil
	}
	return ch.bind(&fsm.Bind{
		Ref: ch.ref, Source: stripNewlines(m.Exchange), Destination: name, Key: bindingKey(m.Queue, m.RoutingKey, name),
		Arguments: m.Arguments,
	}, expectation{command: fsm.KindBind, ok: wire.IDQueueBindOk, asked: m.ID()}, m.NoWait)
}

// bind asks without a probe as long as memory is not short: bindings are mostly new.
func (ch *channel) bind(command *fsm.Bind, x expectation, noWait bool) (*exception, error) {
	if ch.conn.server.broker.MemoryShort() {
		return ch.askGrowth(command, x, noWait)
	}
	if err := ch.conn.growthAwaited(); err != nil {
		return nil, err
	}
	ch.ask(command, x, noWait)
	return nil, nil
}

func (ch *channel) unbindQueue(m *wire.QueueUnbind) *exception {
	name, x := ch.queueName(m.Queue, m.ID())
	if x != nil {
		return x
	}
	ch.ask(&fsm.Unbind{
		Ref: ch.ref, Source: stripNewlines(m.Exchange), Destination: name, Key: bindingKey(m.Queue, m.RoutingKey, name), Arguments: m.Arguments,
	}, expectation{command: fsm.KindUnbind, ok: wire.IDQueueUnbindOk, asked: m.ID()}, false)
	return nil
}

func (ch *channel) purgeQueue(m *wire.QueuePurge) *exception {
	name, x := ch.queueName(m.Queue, m.ID())
	if x != nil {
		return x
	}
	ch.ask(&fsm.PurgeQueue{Ref: ch.ref, Name: name}, expectation{command: fsm.KindPurgeQueue, ok: wire.IDQueuePurgeOk, asked: m.ID()}, m.NoWait)
	return nil
}

func (ch *channel) deleteQueue(m *wire.QueueDelete) *exception {
	name, x := ch.queueName(m.Queue, m.ID())
	if x != nil {
		return x
	}
	ch.ask(&fsm.DeleteQueue{Ref: ch.ref, Name: name, IfUnused: m.IfUnused, IfEmpty: m.IfEmpty},
		expectation{command: fsm.KindDeleteQueue, ok: wire.IDQueueDeleteOk, asked: m.ID()}, m.NoWait)
	return nil
}
