package harness

import (
	"net"
	"syscall"
)

// tcpRTOMaxMillis is TCP_RTO_MAX_MS of Linux 6.15 and later.
const tcpRTOMaxMillis = 44

// retransmitSoon bounds the time between retransmissions to a second, where the kernel can: it doubles with each that is lost, so that a connection which
// outlived a cut of ten seconds would go on up to ten seconds after it. The pace at which work goes on after a heal is to be the broker's, not that of this
// process's kernel.
func retransmitSoon(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRTOMaxMillis, 1000) })
}
