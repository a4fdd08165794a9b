package broker

import "github.com/triagemq/triagemq/fsm"

const (
	// fillBytes is what has to wait before another batch is cut while eagerBatches are under way: writes of 64 KiB cost a twentieth of writes of 1 KiB,
	// and the leader joins what waits for its one entry in flight anyway. When less waits, the apply of an earlier batch releases it: no timer is needed.
	fillBytes    = 64 << 10
	eagerBatches = 2

	spareBatchesMax  = 32        // batch buffers kept for reuse
	spareBatchBytes  = 512 << 10 // the largest that is kept
	spareBuffersMax  = 64        // lane buffers kept for reuse
	spareBufferBytes = 256 << 10
)

// batch is a numbered origin batch: from its number on, item never changes until it is applied here.
type batch struct {
	seq     uint64
	item    []byte
	cutAt   int64 // watch.now at its cutting
	sends   int   // streams and gaps over which it went
	sending bool  // the sender is inside Send with it
	applied bool  // here
}

// recycle keeps the memory of a batch that is applied, if no stream can refer to it: it was sent once, that one copy is in the log, and Send has returned.
func (p *pipeline) recycle(b *batch) {
	if b.applied && b.sends == 1 && !b.sending && len(p.spareBatches) < spareBatchesMax && cap(b.item) <= spareBatchBytes {
		*b = batch{item: b.item[:0]}
		p.spareBatches = append(p.spareBatches, b)
	}
}

// mayCut says whether a batch should be cut now: at once when little is under way, well filled otherwise, and only within the window.
func (p *pipeline) mayCut() bool {
	if !p.open || p.waiting == 0 {
		return false
	}
	if len(p.window) < eagerBatches {
		return p.fits(p.waiting)
	}
	return p.waiting >= fillBytes && p.fits(p.waiting)
}

// fits says whether a batch of what waits fits the window; one batch always does.
func (p *pipeline) fits(sizeBytes int) bool {
	return len(p.window) == 0 || p.windowBytes+min(sizeBytes, fsm.BatchBytesTarget) <= p.windowMax
}

// cut forms the next batch, taking turns over the lanes by bytes. It returns nil if the command whose turn it is does not fit the window beside others.
func (p *pipeline) cut() *batch {
	limit := fsm.BatchBytesTarget
	if len(p.window) > 0 {
		limit = min(limit, p.windowMax-p.windowBytes)
	}
	size := 0
	for p.first != nil && size < limit {
		l := p.first
		if !l.credited {
			l.credit, l.credited = l.credit+turnBytes, true
		}
		alone := p.first == p.tail
		part := l.take(limit-size, alone, size == 0 && len(p.window) == 0)
		if len(part) > 0 {
			size += len(part)
			p.parts, p.taken = append(p.parts, part), append(p.taken, l)
			l.last = p.next
		}
		if l.waiting() == 0 {
			p.dequeue()
			continue
		}
		command, _, ok := fsm.NextCommand(l.buf[l.head:])
		if !ok {
			panic("broker: a connection submitted what is no sequence of commands")
		}
		if alone || len(command) <= l.credit {
			break // its turn goes on, but the batch or the window is full
		}
		l.credited = false
		p.rotate()
	}
	if size == 0 {
		return nil
	}
	return p.number(size)
}

// number makes a batch of parts: from here on its content stands.
func (p *pipeline) number(size int) *batch {
	b := &batch{}
	if k := len(p.spareBatches); k > 0 {
		b, p.spareBatches = p.spareBatches[k-1], p.spareBatches[:k-1]
	}
	if cap(b.item) < size {
		b.item = make([]byte, 0, size+size/8+128)
	}
	b.item = fsm.AppendBatch(b.item[:0], p.origin, p.next, p.parts...)
	b.seq, b.cutAt = p.next, p.age()
	clear(p.parts)
	p.parts = p.parts[:0]
	p.next++
	p.window = append(p.window, b)
	p.windowBytes += len(b.item)
	p.waiting -= size
	p.releaseTaken()
	p.disperse()
	return b
}

// releaseTaken gives back the buffers of lanes that were emptied, and tells those that wait for room. The copies in the batch are made by now.
func (p *pipeline) releaseTaken() {
	for i, l := range p.taken {
		p.release(l)
		p.taken[i] = nil
	}
	p.taken = p.taken[:0]
}

// release gives back an empty lane's buffer and wakes its Submit once half of its share is free.
func (p *pipeline) release(l *lane) {
	if l.waiting() == 0 && l.buf != nil {
		if len(p.spareBuffers) < spareBuffersMax && cap(l.buf) <= spareBufferBytes {
			p.spareBuffers = append(p.spareBuffers, l.buf[:0])
		}
		l.buf, l.head = nil, 0
	}
	if l.waits && (l.waiting() <= p.share()/2 || l.over || l.closing) {
		l.waits = false
		notify(l.room)
	}
}

// drop forgets what a lane in the ring has waiting.
func (p *pipeline) drop(l *lane) {
	p.unlink(l)
	p.waiting -= l.waiting()
	l.head = len(l.buf)
	p.release(l)
	p.disperse()
}

func (p *pipeline) dropAll() {
	for p.first != nil {
		p.drop(p.first)
	}
}
