package amqp

import (
	"time"

	"github.com/triagemq/triagemq/transport/wire"
)

// Heartbeats (AMQP 0-9-1 §4.2.7): we send one when nothing was written for half the interval, and take a peer for dead that was
// silent for two. 0 switches both off. What the peer cannot help is not held against it: while we do not read its socket, its
// silence is not judged.

func (c *connection) heartbeat() time.Duration {
	return time.Duration(c.tuned.Heartbeat) * time.Second
}

// armRead sets the read deadline to when the peer will be dead. Setting it costs as much as decoding a message, so an earlier
// deadline stands while it is at most a quarter of an interval old: the margin is that quarter.
func (c *connection) armRead(now time.Time) {
	interval := c.heartbeat()
	switch {
	case !c.armed.IsZero() && (interval == 0 || now.Sub(c.armed) < interval/4):
		return
	case interval == 0:
		_ = c.socket.SetReadDeadline(time.Time{})
	default:
		_ = c.socket.SetReadDeadline(now.Add(2*interval + interval/4))
	}
	c.armed = now
}

// sendHeartbeat puts a heartbeat into the output buffer.
func (c *connection) sendHeartbeat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == phaseRunning {
		c.encoder().b = wire.AppendHeartbeat(c.out.b)
	}
}

// writeStallMax is how long a peer may take nothing at all while there is something to take.
func (c *connection) writeStallMax() time.Duration {
	if interval := c.heartbeat(); interval > 0 {
		return max(2*interval, 2*time.Second)
	}
	return c.config.WriteStallMax
}
