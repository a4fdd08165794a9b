package broker

import (
	"slices"
	"sync"

	"github.com/triagemq/triagemq/fsm"
)

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
	crowd        []*lane       // lanes with a large command for which all the others left no room
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
	full := l.waiting() > 0 && l.waiting()+len(commands) > p.share()
	crowded := len(commands) > pendingShareMin && p.waiting > 0 && p.waiting+len(commands) > p.totalMax
	if !full && !crowded {
		p.append(l, commands)
		return true, nil, nil
	}
	if l.room == nil {
		l.room = make(chan struct{}, 1)
	}
	l.waits = true
	if !full && !slices.Contains(p.crowd, l) {
		p.crowd = append(p.crowd, l)
	}
	return false, l.room, nil
}

// disperse tells the lanes of the crowd to try again, once half of what may wait in all is free.
func (p *pipeline) disperse() {
	if len(p.crowd) == 0 || p.waiting > p.totalMax/2 {
		return
	}
	for _, l := range p.crowd {
		l.waits = false
		notify(l.room)
	}
	clear(p.crowd)
	p.crowd = p.crowd[:0]
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
