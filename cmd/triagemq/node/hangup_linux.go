package node

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// hangUp shuts down every socket of this process, listening ones too: peers are refused from then on, and clients see the end of their connections. The end of
// the process alone does not do that: a thread that waits in the kernel for a disk cannot be killed, and as long as it waits it keeps the process's
// sockets open, silent, and the others waiting for their time-outs.
func hangUp() {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range fds {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			_ = unix.Shutdown(fd, unix.SHUT_RDWR) // of what is no socket, or has no peer: refused, and no matter
		}
	}
}
