package amqp

import "time"

// encoder returns the output buffer to append to. Called with mu held.
func (c *connection) encoder() *buffer {
	if c.out == nil {
		c.out = takeBuffer()
	}
	return c.out
}

// unwritten is what waits for the socket, in bytes. Called with mu held.
func (c *connection) unwritten() int {
	if c.out == nil {
		return c.writing
	}
	return c.writing + len(c.out.b)
}

func (c *connection) signalWriter() { notify(c.writerSignal) }

// finishWriter lets the writer end once everything is written, within the close time-out.
func (c *connection) finishWriter() {
	c.mu.Lock()
	c.finishing = true
	c.mu.Unlock()
	_ = c.socket.SetWriteDeadline(time.Now().Add(c.config.CloseTimeout)) // also for a write that is under way
	c.signalWriter()
}

func (c *connection) startWriter() {
	c.mu.Lock()
	c.writerRuns = true
	c.mu.Unlock()
	go c.write()
}

// write is the writer goroutine: it takes whatever has gathered and writes it whole, so that the confirms and deliveries of a
// log entry, and of all entries that came while it wrote, share one write.
func (c *connection) write() {
	defer close(c.writerDone)
	interval := c.heartbeat() / 2
	wakeup := time.NewTimer(interval)
	defer wakeup.Stop()
	if interval == 0 {
		wakeup.Stop()
	}
	var delivered []*consumer // used again
	written := time.Now()
	for {
		b, finish := c.takeOutput(&delivered)
		if b != nil {
			_, err := c.socket.Write(b.b)
			c.wrote(b, delivered)
			if err != nil {
				c.abandon()
				return
			}
			written = time.Now()
			continue
		}
		if finish {
			return
		}
		select {
		case <-c.writerSignal:
		case now := <-wakeup.C:
			quiet := now.Sub(written)
			if quiet >= interval {
				c.sendHeartbeat()
				quiet = 0
			}
			wakeup.Reset(interval - quiet)
		}
	}
}

// takeOutput swaps the output buffer, and the list of consumers with deliveries in it, away.
func (c *connection) takeOutput(delivered *[]*consumer) (b *buffer, finish bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b = c.out
	c.out = nil
	if b != nil {
		c.writing = len(b.b)
	}
	*delivered, c.delivered = c.delivered, (*delivered)[:0]
	for _, consumer := range *delivered {
		consumer.take()
	}
	return b, c.finishing
}

// wrote settles what takeOutput took.
func (c *connection) wrote(b *buffer, delivered []*consumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server.metrics.bytesOut.Add(uint64(c.writing))
	c.writing = 0
	for _, consumer := range delivered {
		if consumer.drained() {
			c.due = append(c.due, consumer)
		}
	}
	if len(c.due) > 0 || c.readerAt == placeRoom && c.unwritten() <= c.config.OutputBytesMax {
		c.wakeReader()
	}
	b.free()
}
