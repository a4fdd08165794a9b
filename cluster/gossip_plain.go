package cluster

import (
	"net"
	"sync"

	"github.com/hashicorp/memberlist"
)

// plainGossip is memberlist's own transport, UDP and TCP, with a bound on the streams that are served at a time: memberlist starts a goroutine for each, gives
// it two seconds, and counts none.
type plainGossip struct {
	*memberlist.NetTransport
	streams chan net.Conn
	slots   chan struct{}
	done    chan struct{}
	wg      sync.WaitGroup
}

const (
	gossipStreamsMax = 64
	bindAttempts     = 10 // a free port for TCP may be taken for UDP
)

func openPlainGossip(conf *memberlist.Config) (*plainGossip, error) {
	attempts := 1
	if conf.BindPort == 0 {
		attempts = bindAttempts
	}
	var inner *memberlist.NetTransport
	var err error
	for range attempts {
		inner, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{conf.BindAddr}, BindPort: conf.BindPort, Logger: conf.Logger})
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	g := &plainGossip{NetTransport: inner, streams: make(chan net.Conn), slots: make(chan struct{}, gossipStreamsMax), done: make(chan struct{})}
	g.wg.Go(g.admit)
	return g, nil
}

// admit passes streams on while there are slots, and closes those that are too many.
func (g *plainGossip) admit() {
	for {
		select {
		case c := <-g.NetTransport.StreamCh():
			g.pass(c)
		case <-g.done:
			return
		}
	}
}

func (g *plainGossip) pass(c net.Conn) {
	select {
	case g.slots <- struct{}{}:
	default:
		c.Close()
		return
	}
	s := &slottedConn{Conn: c, free: func() { <-g.slots }}
	select {
	case g.streams <- s:
	case <-g.done:
		s.Close()
	}
}

// StreamCh is memberlist.Transport.
func (g *plainGossip) StreamCh() <-chan net.Conn { return g.streams }

// Shutdown is memberlist.Transport. Its listeners end before the goroutine that takes what they accepted.
func (g *plainGossip) Shutdown() error {
	err := g.NetTransport.Shutdown()
	close(g.done)
	g.wg.Wait()
	return err
}

// slottedConn gives its slot back when it is closed.
type slottedConn struct {
	net.Conn
	once sync.Once
	free func()
}

// Close is net.Conn; the first call counts.
func (c *slottedConn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = c.Conn.Close()
		c.free()
	})
	return err
}
