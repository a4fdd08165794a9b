package mux

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	optUserTimeout   = unix.TCP_USER_TIMEOUT
	optRetransmitMax = unix.TCP_RTO_MAX_MS // Linux 6.15; at least a second
)

// setTCP sets an option of a TCP socket that is a number of milliseconds.
func setTCP(raw syscall.RawConn, option int, d time.Duration) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, option, int(d.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return set
}
