package mux

import (
	"net"
	"sync"
)

// backlog is how many connections of a protocol may wait to be accepted; more are refused as busy.
const backlog = 64

// Listener hands out the connections of one protocol. It is a net.Listener; what it accepts are *Conn.
type Listener struct {
	port     *Port
	protocol Protocol
	queue    chan *Conn
	done     chan struct{}
	once     sync.Once
}

// Accept waits for a connection; ErrClosed after Close of the Listener or its Port.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptConn()
	if err != nil {
		return nil, err // not a typed nil
	}
	return c, nil
}

// AcceptConn is Accept with the type that knows the peer.
func (l *Listener) AcceptConn() (*Conn, error) {
	select {
	case <-l.done:
		return nil, ErrClosed
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, ErrClosed
	}
}

// Close stops accepting; the protocol is refused until Listener is called for it again. Connections that nobody accepted are closed.
func (l *Listener) Close() error {
	l.once.Do(func() {
		l.port.unlisten(l)
		close(l.done)
	})
	for {
		select {
		case c := <-l.queue:
			c.Close()
		default:
			return nil
		}
	}
}

// Addr is the address that the port is bound to.
func (l *Listener) Addr() net.Addr { return l.port.Addr() }
