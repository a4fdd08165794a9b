package mux

import (
	"net"
	"sync"
	"syscall"
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

// retransmitMax is the longest pause between two attempts of the kernel to get a segment through. By itself it doubles the pause each time, up to two minutes:
// after a network that was away for four seconds, nodes would hear nothing of one another for two more. Linux 6.15 and later can be told; elsewhere it stays.
const retransmitMax = time.Second

func tune(c net.Conn) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	// Best effort: a connection without them works, and tells sooner or later.
	_ = t.SetNoDelay(true)
	_ = t.SetKeepAliveConfig(keepAlive)
	if raw, err := t.SyscallConn(); err == nil {
		_ = setTCP(raw, optUserTimeout, userTimeout)
		_ = setTCP(raw, optRetransmitMax, retransmitMax)
	}
}

// dialer counts the first segment of a connection among those that are repeated every retransmitMax.
var dialer = net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
	_ = setTCP(raw, optRetransmitMax, retransmitMax)
	return nil
}}
