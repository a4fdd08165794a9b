package amqp

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// pacedSocket is the TCP socket of a connection. Its Write knows how long a peer may take nothing; it lies below TLS, whose
// connection would never write again after a time-out of its own.
type pacedSocket struct {
	net.Conn
	c *connection
}

// Write writes all of b. Each piece of progress renews the peer's time; a peer that takes nothing is dropped, unless it may be
// stuck because we do not read what it sends.
func (s *pacedSocket) Write(b []byte) (written int, err error) {
	const slices = 4
	c := s.c
	slice := c.writeStallMax() / slices
	for stalled := 0; ; {
		if !c.armWrite(slice) {
			stalled = slices // a deadline of its own is running: the next time-out is the last
		}
		n, err := s.Conn.Write(b[written:])
		written += n
		if err == nil || !isTimeout(err) {
			return written, err
		}
		switch {
		case stalled >= slices:
			return written, err
		case n > 0 || c.held.Load():
			stalled = 0
		default:
			stalled++
		}
		if stalled >= slices {
			c.server.metrics.stalled.Add(1)
			c.log.Warn("client takes nothing, dropping it", "unsent_bytes", len(b)-written)
			return written, err
		}
	}
}

// CloseWrite tells the peer that nothing more will come.
func (s *pacedSocket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// armWrite sets the write deadline; false while the connection opens or ends, when that has set a deadline for all it writes.
func (c *connection) armWrite(limit time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finishing || !c.writerRuns {
		return false
	}
	_ = c.tcp.SetWriteDeadline(time.Now().Add(limit))
	return true
}

// secure makes the TLS handshake, where this door asks for one. The handshake's deadline bounds it.
func (c *connection) secure(ctx context.Context) error {
	t, ok := c.socket.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.tlsVersion = tls.VersionName(t.ConnectionState().Version)
	return nil
}
