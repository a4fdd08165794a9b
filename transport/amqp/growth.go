package amqp

import (
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// consumersWhenShort is how many consumers a connection may have while memory is short: enough to drain, and no flood.
const consumersWhenShort = 64

// askGrowth is probeOrAsk for what makes something that stays. While memory is short it is refused, unless it is there already: consumers declare what they
// consume from.
func (ch *channel) askGrowth(command fsm.Command, x expectation, noWait bool) (*exception, error) {
	if !ch.conn.server.broker.MemoryShort() {
		return nil, ch.probeOrAsk(command, x, noWait)
	}
	if noWait {
		x.ok = 0
	}
	answered, err := ch.probe(command, x.ok)
	if answered || err != nil {
		return nil, err
	}
	return memoryShort(x.asked), nil
}

func memoryShort(method wire.MethodID) *exception {
	return exceptionf(preconditionFailed, method, "this node is short of memory: what is not there yet is refused until some is free")
}
