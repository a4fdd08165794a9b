package broker

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
