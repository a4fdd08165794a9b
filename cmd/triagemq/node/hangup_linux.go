package node

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// hangUp shuts down every TCP socket of this process, listening ones too: peers are refused from then on, and clients see the end of their connections. The end of
// the process alone does not do that: a thread that waits in the kernel for a disk cannot be killed, and as long as it waits it keeps the process's
// sockets open, silent, and the others waiting for their time-outs. Unix sockets stay: one may be where this process's last words go (systemd's journal), and
// a write to standard error that nobody reads any more would end it by a signal, without its exit status.
func hangUp() {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil && (domain == unix.AF_INET || domain == unix.AF_INET6) {
			_ = unix.Shutdown(fd, unix.SHUT_RDWR) // of one without a peer: refused, and no matter
		}
	}
}
