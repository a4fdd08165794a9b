package mux

import (
	"net"
	"sync"
	"time"
)

// Conn is a connection whose handshake is over.
type Conn struct {
	net.Conn
	Peer Identity

	keys [][]byte // of the secrets that it rests on
	port *Port
	once sync.Once
}

// Close closes the connection; later calls do nothing.
func (c *Conn) Close() (err error) {
	c.once.Do(func() {
		c.port.forget(c)
		err = c.Conn.Close()
	})
	return err
}

// Dead peers are noticed by keep-alives where nothing is sent, and by the kernel's user time-out where something is: without it a connection through
// a healed partition may stay silent for as long as the partition lasted.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 5}

const userTimeout = 8 * time.Second

func tune(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	// Best effort: a connection without them works, and tells sooner or later.
	_ = t.SetNoDelay(true)
	_ = t.SetKeepAliveConfig(keepAlive)
	_ = setUserTimeout(t, userTimeout)
}
