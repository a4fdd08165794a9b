package amqp

import (
	"context"
	"errors"
	"time"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// readerPlace is where the reader waits, for whoever wants its attention.
type readerPlace uint8

const (
	placeRunning  readerPlace = iota // it looks at woken before it waits again
	placeReading                     // in the socket's Read
	placeAwaiting                    // for an alarm to end, cancelled by connection.awaiting
	placeRoom                        // for room in the output buffer, on readerSignal
)

// wakeReader makes the reader look at what is due, wherever it waits. Called with mu held. Only the reader submits commands, so
// the writer, which learns that a consumer's window is half used up, hands the grant to it in this way: the writer itself never
// waits for the broker, and heartbeats go on.
func (c *connection) wakeReader() {
	c.woken = true
	switch c.readerAt {
	case placeReading:
		_ = c.socket.SetReadDeadline(time.Unix(1, 0)) // in the past: Read returns
	case placeAwaiting:
		c.awaiting()
	case placeRoom:
		notify(c.readerSignal)
	}
}

func notify(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

// read decodes and submits until the connection ends; the error says why.
func (c *connection) read() error {
	for {
		if err := c.attend(); err != nil {
			return err
		}
		if err := c.handleFrames(); err != nil {
			return errors.Join(err, c.submit()) // what came before the fault counts
		}
		if err := c.submit(); err != nil {
			return err
		}
		if err := c.awaitPublish(); err != nil {
			return err
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// handleFrames takes every complete frame of the read buffer.
func (c *connection) handleFrames() error {
	for {
		f, ok, err := c.in.Next()
		switch {
		case err != nil:
			return malformed(0, err)
		case !ok:
			return nil
		}
		if err := c.handleFrame(f); err != nil {
			return err
		}
	}
}

func (c *connection) handleFrame(f wire.Frame) error {
	if f.Type == wire.FrameHeartbeat {
		if f.Channel != 0 {
			return exceptionf(unexpectedFrame, 0, "expected a heartbeat on channel 0, got one on channel %d", f.Channel)
		}
		return nil
	}
	if f.Channel == 0 {
		return c.handleConnectionFrame(f)
	}
	if ch := c.channels[f.Channel]; ch != nil { // the reader alone changes the map: it may look without the lock
		return ch.handleFrame(f)
	}
	return c.openChannel(f)
}

// fill reads once from the socket.
func (c *connection) fill() error {
	for {
		c.mu.Lock()
		if c.woken {
			c.mu.Unlock()
			if err := c.attend(); err != nil {
				return err
			}
			continue
		}
		c.armRead(time.Now())
		c.readerAt = placeReading
		c.mu.Unlock()

		before := len(c.in.Buffered())
		err := c.in.Fill(c.socket)

		c.mu.Lock()
		c.readerAt = placeRunning
		woken := c.woken
		c.mu.Unlock()
		switch {
		case err == nil:
			c.server.metrics.bytesIn.Add(uint64(len(c.in.Buffered()) - before))
			return nil
		case woken && isTimeout(err):
			c.armed = time.Time{} // the deadline was moved to wake us
		case isTimeout(err):
			c.server.metrics.stalled.Add(1)
			return errSilent
		default:
			return err
		}
	}
}

// attend does what the reader was woken for: it submits grants, stops if the connection was ended, and waits while the output
// buffer is full or a get is under way.
func (c *connection) attend() error {
	for {
		c.mu.Lock()
		if c.woken {
			c.armed = time.Time{} // the deadline may have been moved
		}
		c.woken = false
		if c.phase != phaseRunning {
			c.mu.Unlock()
			return errEnded
		}
		granted := c.appendGrants()
		full := c.gets > 0 || c.unwritten() > c.config.OutputBytesMax
		if full && !granted {
			c.readerAt = placeRoom
		}
		getting := c.gets > 0
		c.mu.Unlock()
		if granted {
			if err := c.submit(); err != nil {
				return err
			}
			continue
		}
		if !full {
			return nil
		}
		if err := c.awaitRoom(getting); err != nil {
			return err
		}
	}
}

// awaitRoom waits for wakeReader. While a get is under way it is the broker that is waited for; a full buffer is the peer's doing.
func (c *connection) awaitRoom(getting bool) error {
	c.held.Store(getting)
	defer c.held.Store(false)
	var err error
	select {
	case <-c.readerSignal:
	case <-c.ctx.Done():
		err = c.ctx.Err()
	}
	c.mu.Lock()
	c.readerAt = placeRunning
	c.mu.Unlock()
	return err
}

// awaitPublish waits, after something that publishes, while publishers are held. Grants and the connection's end interrupt it.
func (c *connection) awaitPublish() error {
	if !c.published {
		return nil
	}
	c.published = false
	for {
		if err := c.attend(); err != nil {
			return err
		}
		done, err := c.awaitGate(c.session.AwaitPublish)
		if done || err != nil {
			return err
		}
	}
}

// awaitGate waits for the broker (done) or until the reader is wanted.
func (c *connection) awaitGate(wait func(context.Context) error) (done bool, err error) {
	if c.gate == nil || c.gate.Err() != nil { // mostly it is never cancelled and serves for good
		c.gate, c.leaveGate = context.WithCancel(c.ctx)
	}
	c.mu.Lock()
	if c.woken {
		c.mu.Unlock()
		return false, nil
	}
	c.awaiting, c.readerAt = c.leaveGate, placeAwaiting
	c.mu.Unlock()

	c.held.Store(true)
	err = wait(c.gate)
	c.held.Store(false)

	c.mu.Lock()
	c.readerAt = placeRunning
	woken := c.woken
	c.mu.Unlock()
	if err != nil && woken && c.ctx.Err() == nil {
		return false, nil
	}
	return err == nil, c.sessionError(err)
}

// beginCommand returns the buffer to append a command to. An unfinished publish at its end has to leave first.
func (c *connection) beginCommand() *buffer {
	c.evictTail()
	if c.commands == nil {
		c.commands = takeBuffer()
	}
	return c.commands
}

// submit hands over what was decoded. It blocks while the session has no room: the back-pressure to the socket.
func (c *connection) submit() error {
	c.evictTail()
	b := c.commands
	if b == nil {
		return nil
	}
	c.commands = nil
	defer b.free()
	if len(b.b) == 0 {
		return nil
	}
	return c.submitBytes(b.b)
}

func (c *connection) submitBytes(commands []byte) error {
	c.held.Store(true)
	err := c.session.Submit(c.ctx, commands)
	c.held.Store(false)
	return c.sessionError(err)
}

// awaitApplied waits until everything that was submitted is applied on this node.
func (c *connection) awaitApplied() error {
	c.held.Store(true)
	err := c.session.AwaitApplied(c.ctx)
	c.held.Store(false)
	return c.sessionError(err)
}

// sessionError takes the session's refusal of a call: the node is ending it, which End or SessionFailed tells. A stopping node
// first applies what it has, so what it still has to say to this client is waited for, bounded.
func (c *connection) sessionError(err error) error {
	if err == nil || c.ctx.Err() != nil {
		return err
	}
	c.held.Store(true)
	defer c.held.Store(false)
	bound := time.NewTimer(farewellBound)
	defer bound.Stop()
	for {
		c.mu.Lock()
		if c.phase != phaseRunning {
			c.mu.Unlock()
			return errEnded
		}
		c.readerAt = placeRoom
		c.mu.Unlock()
		select {
		case <-c.readerSignal:
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-bound.C:
			return exceptionf(connectionForced, 0, "the session is over")
		}
	}
}

// farewellBound is above what an orderly stop of the node may take.
const farewellBound = 10 * time.Second

// probe asks for a reply that needs no log entry; ok is false when the command has to be submitted. It waits, so everything
// before must be on its way.
func (c *connection) probe(command []byte) (reply fsm.Effect, ok bool, err error) {
	if err := c.submit(); err != nil {
		return fsm.Effect{}, false, err
	}
	c.held.Store(true)
	defer c.held.Store(false)
	reply, ok, err = c.session.Probe(c.ctx, command)
	if err != nil {
		// No leader answered in time, or the session is over: Submit holds the command through an election, and knows the end.
		return fsm.Effect{}, false, c.ctx.Err()
	}
	return reply, ok, nil
}
