package broker

import "sync"

// gate is a condition that goroutines wait on: shut or open. The zero value is not usable.
type gate struct {
	mu     sync.Mutex
	isOpen bool
	opened chan struct{} // closed while open
}

func newGate(open bool) *gate {
	g := &gate{opened: make(chan struct{})}
	g.set(open)
	return g
}

// set opens or shuts the gate.
func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case open && !g.isOpen:
		close(g.opened)
	case !open && g.isOpen:
		g.opened = make(chan struct{})
	}
	g.isOpen = open
}

// state tells whether the gate is open, with a channel that is closed once it is.
func (g *gate) state() (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.isOpen, g.opened
}

// notify leaves a token in a channel of capacity one: however often it is called, the receiver looks once more.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
