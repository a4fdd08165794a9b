package mux

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRetransmitMax: neither end of a connection lets the kernel's pauses between attempts grow beyond retransmitMax.
func TestRetransmitMax(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := dialer.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	tune(accepted)
	for end, c := range map[string]net.Conn{"dialling": dialled, "accepting": accepted} {
		switch got, err := retransmitMaxOf(c.(*net.TCPConn)); {
		case errors.Is(err, unix.ENOPROTOOPT):
			t.Skip("this kernel cannot be told; Linux 6.15 can")
		case err != nil || got != retransmitMax:
			t.Errorf("the %s end waits up to %v (%v), want %v", end, got, err, retransmitMax)
		}
	}
}

func retransmitMaxOf(c *net.TCPConn) (time.Duration, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var millis int
	var got error
	if err := raw.Control(func(fd uintptr) { millis, got = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, optRetransmitMax) }); err != nil {
		return 0, err
	}
	return time.Duration(millis) * time.Millisecond, got
}
