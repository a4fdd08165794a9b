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
	if err := ch.conn.growthAwaited(); err != nil {
		return nil, err
	}
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

// growthAhead is how many commands that make something a connection may have on their way. A declaration of 30 bytes makes a queue of 2 KiB: a mebibyte of them
// that waits for a batch while memory runs short would come to 60.
const growthAhead = 64

// growthAwaited counts such a command, and waits for those before it where they are too many.
func (c *connection) growthAwaited() error {
	if c.growth++; c.growth < growthAhead {
		return nil
	}
	c.growth = 0
	if err := c.submit(); err != nil {
		return err
	}
	return c.awaitApplied()
}

func memoryShort(method wire.MethodID) *exception {
	return exceptionf(preconditionFailed, method, "this node is short of memory: what is not there yet is refused until some is free")
}
