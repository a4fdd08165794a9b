package cluster

import (
	"net"

	"golang.org/x/sys/unix"
)

// quiet reports whether an idle connection is still open and has nothing to read: a call on one that the other side closed meanwhile would fail, and could not
// be repeated, because nobody would know whether it was served. A TLS session has nothing of its own to say in between (mux issues no tickets), so its connection
// answers for it.
func quiet(c net.Conn) bool {
	if session, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = session.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		open = err == unix.EAGAIN
		return true // do not wait for data
	})
	return err == nil && open
}
