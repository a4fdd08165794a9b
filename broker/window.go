package broker

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
