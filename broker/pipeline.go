package broker

import (
	"sync"

	"github.com/triagemq/triagemq/fsm"
)

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

// pipeline turns the waiting commands of all lanes into batches and keeps those in a window until they are applied here. It decides what the sender sends next and
// does no I/O itself.
type pipeline struct {
	windowMax, shareMax, totalMax int // bytes
	age                           func() int64

	mu       sync.Mutex
	origin   fsm.Origin
	open     bool // OriginOpen has been applied here: batches may be cut
	stopping bool // lanes take nothing more
	ended    bool // the boot is over

	first, tail  *lane // ring of lanes with something waiting
	lanes        int   // in the ring
	waiting      int   // bytes over all lanes
	window       []*batch
	windowBytes  int
	next         uint64 // number of the next batch
	applied      uint64 // number of the last batch applied here
	drainers     []*lane
	idle         chan struct{} // closed when nothing waits and the window is empty; nil when nobody asks
	parts        [][]byte      // scratch of cut, as taken
	taken        []*lane
	spareBatches []*batch
	spareBuffers [][]byte

	// The present stream.
	stream    Stream
	stale     Stream // of a boot that has ended, to be closed
	pos       uint64 // number of the next batch to send on it
	gapAt     uint64 // number that was last sent again for a gap on it: once per stream and number
	openSent  bool   // OriginOpen went out on it
	downSent  bool
	everSent  bool  // OriginOpen of this boot was handed to some stream
	openedAt  int64 // age when it was last sent
	wantDown  bool  // the boot is to be closed from here (Stop)
	parked    bool  // the sender waits for wake
	wake      chan struct{}
	bootReady chan struct{} // capacity 1: a boot began, or ended: the sender looks again
}

func newPipeline(c *Config, age func() int64) *pipeline {
	return &pipeline{
		windowMax: c.WindowBytes, shareMax: c.PendingBytesPerConn, totalMax: c.PendingBytesTotal, age: age,
		ended: true, wake: make(chan struct{}, 1), bootReady: make(chan struct{}, 1),
	}
}

// begin starts a boot with nothing of the old one.
func (p *pipeline) begin(o fsm.Origin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.origin, p.open, p.ended = o, false, false
	p.next, p.applied, p.everSent, p.wantDown = 1, 0, false, false
	notify(p.bootReady)
}

// opened lets batches flow.
func (p *pipeline) opened() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = true
	p.unpark()
}

// end forgets the boot: what waits, its window, and its stream, which is stale from now on. Window buffers go to the garbage collector: the stream may refer to
// them yet.
func (p *pipeline) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropAll()
	clear(p.window)
	p.window, p.windowBytes = p.window[:0], 0
	clear(p.drainers)
	p.drainers = p.drainers[:0]
	p.open, p.ended, p.wantDown = false, true, false
	p.settleIdle()
	if p.stream != nil {
		p.stale, p.stream = p.stream, nil
	}
	p.unpark()
	notify(p.bootReady)
}

// closeStale closes the stream of a boot that has ended, which also frees a Send that blocks. It is not done in apply: closing a connection may take a while.
func (p *pipeline) closeStale() {
	p.mu.Lock()
	s := p.stale
	p.stale = nil
	p.mu.Unlock()
	if s != nil {
		s.Close()
	}
}

func (p *pipeline) boot() fsm.Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.origin
}

// stop makes lanes refuse more; what waits still flows.
func (p *pipeline) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
}

// closeOrigin asks for OriginDown of the present boot behind all numbered batches; what has no number yet is given up.
func (p *pipeline) closeOrigin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropAll()
	p.wantDown = true
	p.unpark()
}

// offer takes commands into a lane if its share allows. If not, room gets a token when it may.
func (p *pipeline) offer(l *lane, commands []byte) (accepted bool, room <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.over || l.closing || p.stopping || p.ended {
		return false, nil, ErrSessionOver
	}
	if w := l.waiting(); w > 0 && w+len(commands) > p.share() {
		if l.room == nil {
			l.room = make(chan struct{}, 1)
		}
		l.waits = true
		return false, l.room, nil
	}
	p.append(l, commands)
	return true, nil, nil
}

// share is what one lane may have waiting now.
func (p *pipeline) share() int {
	return max(pendingShareMin, min(p.shareMax, p.totalMax/max(1, p.lanes)))
}

// push takes commands whatever waits already: for the few that the node itself adds.
func (p *pipeline) push(l *lane, commands []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !l.over && !l.closing && !p.ended {
		p.append(l, commands)
	}
}

// pushLast is push of what ends the lane.
func (p *pipeline) pushLast(l *lane, commands []byte) {
	p.push(l, commands)
	p.mu.Lock()
	defer p.mu.Unlock()
	l.closing = true
	p.release(l)
}

func (p *pipeline) append(l *lane, commands []byte) {
	if l.buf == nil {
		if k := len(p.spareBuffers); k > 0 {
			l.buf, p.spareBuffers = p.spareBuffers[k-1], p.spareBuffers[:k-1]
		}
	}
	l.add(commands)
	p.waiting += len(commands)
	if !l.inRing {
		p.enqueue(l)
	}
	if p.mayCut() {
		p.unpark()
	}
}

// overLane forgets what a session that ended has waiting.
func (p *pipeline) overLane(l *lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.over = true
	if l.inRing {
		p.drop(l)
	}
	p.settleIdle()
}

// drained returns a channel that is closed when all that the lane was given is applied here; nil when it is.
func (p *pipeline) drained(l *lane) (<-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.over || p.ended {
		return nil, ErrSessionOver
	}
	if l.waiting() == 0 && l.last <= p.applied {
		return nil, nil
	}
	if l.drained == nil {
		l.drained = make(chan struct{})
		p.drainers = append(p.drainers, l)
	}
	return l.drained, nil
}

// whenIdle returns a channel that is closed when nothing waits and nothing is unapplied, or the boot ends.
func (p *pipeline) whenIdle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	c := p.idle
	p.settleIdle()
	return c
}

func (p *pipeline) settleIdle() {
	if p.idle != nil && (p.ended || p.waiting == 0 && len(p.window) == 0) {
		close(p.idle)
		p.idle = nil
	}
}

// batchApplied takes what is applied out of the window.
func (p *pipeline) batchApplied(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := 0
	for k < len(p.window) && p.window[k].seq <= seq {
		p.windowBytes -= len(p.window[k].item)
		p.window[k].applied = true
		p.recycle(p.window[k])
		k++
	}
	n := copy(p.window, p.window[k:])
	clear(p.window[n:])
	p.window = p.window[:n]
	p.applied = max(p.applied, seq)
	p.pos = max(p.pos, p.applied+1)
	p.settleDrainers()
	p.settleIdle()
	if p.mayCut() || p.wantDown {
		p.unpark()
	}
}

func (p *pipeline) settleDrainers() {
	kept := p.drainers[:0]
	for _, l := range p.drainers {
		switch {
		case l.drained == nil:
		case l.waiting() == 0 && l.last <= p.applied:
			close(l.drained)
			l.drained = nil
		default:
			kept = append(kept, l)
		}
	}
	clear(p.drainers[len(kept):])
	p.drainers = kept
}

// gap sends again from the number that this node's own apply expected, at most once per stream and number: a lost head of a full window shows one gap for
// each batch behind it, and all but the first tell nothing new.
func (p *pipeline) gap(expected uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream == nil || p.gapAt == expected || expected <= p.applied {
		return
	}
	p.gapAt = expected
	p.pos = expected
	p.unpark()
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
}

func (p *pipeline) dropAll() {
	for p.first != nil {
		p.drop(p.first)
	}
}

// The ring: a queue whose front lane has the turn.

func (p *pipeline) enqueue(l *lane) {
	l.inRing, l.next = true, nil
	if p.first == nil {
		p.first = l
	} else {
		p.tail.next = l
	}
	p.tail = l
	p.lanes++
}

// dequeue takes the front lane out; what it could still have moved in its turn is lost, as it has nothing to move.
func (p *pipeline) dequeue() {
	l := p.first
	p.first = l.next
	if p.first == nil {
		p.tail = nil
	}
	l.next, l.inRing, l.credit, l.credited = nil, false, 0, false
	p.lanes--
}

// rotate ends the front lane's turn; it keeps the credit that its next command was too large for.
func (p *pipeline) rotate() {
	l := p.first
	credit := l.credit
	p.dequeue()
	p.enqueue(l)
	l.credit = credit
}

// unlink takes a lane out of wherever it stands in the ring.
func (p *pipeline) unlink(l *lane) {
	if p.first == l {
		p.dequeue()
		return
	}
	before := p.first
	for before.next != l {
		before = before.next
	}
	before.next = l.next
	if p.tail == l {
		p.tail = before
	}
	l.next, l.inRing, l.credit, l.credited = nil, false, 0, false
	p.lanes--
}
