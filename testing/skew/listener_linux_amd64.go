package skew

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listener answers the calls that the filter of a thread and its children's keeps back.
type listener struct {
	fd            int
	ended, ending int // a pipe; closing ending ends answer
}

// notification is struct seccomp_notif, reply is struct seccomp_notif_resp of <linux/seccomp.h>.
type notification struct {
	id         uint64
	pid, flags uint32
	call       int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type reply struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// Offsets in struct seccomp_data, which a filter looks at.
const (
	dataCall = 0
	dataArch = 4
	dataArg0 = 16
)

// filter keeps back clock_gettime(CLOCK_REALTIME, …) and allows all else.
func filter() []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	give := func(verdict uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict}
	}
	return []unix.SockFilter{
		load(dataArch), unless(unix.AUDIT_ARCH_X86_64, 5),
		load(dataCall), unless(unix.SYS_CLOCK_GETTIME, 3),
		load(dataArg0), unless(unix.CLOCK_REALTIME, 1),
		give(unix.SECCOMP_RET_USER_NOTIF),
		give(unix.SECCOMP_RET_ALLOW),
	}
}

// listen puts the filter on the calling thread, for good.
func listen() (*listener, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("%w: no_new_privs: %w", ErrRefused, err)
	}
	rules := filter()
	program := unix.SockFprog{Len: uint16(len(rules)), Filter: &rules[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return nil, fmt.Errorf("%w: seccomp listener: %w", ErrRefused, errno)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		unix.Close(int(fd))
		return nil, os.NewSyscallError("pipe2", err)
	}
	return &listener{fd: int(fd), ended: pipe[0], ending: pipe[1]}, nil
}

// answer gives the machine's time, shifted by the clock, until stop.
func (l *listener) answer(clock *Clock) {
	for {
		ready := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(l.ended), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && err != unix.EINTR {
			return
		}
		if ready[1].Revents != 0 {
			return
		}
		var n notification // must be zero
		if ready[0].Revents&unix.POLLIN == 0 || l.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)) != 0 {
			continue // a caller that a signal has called away asks again
		}
		r := reply{id: n.id}
		if err := l.tell(&n, clock); err != nil {
			r.errno = -int32(unix.EFAULT)
		}
		l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)) // fails where the caller is gone, and with it the need
	}
}

// tell writes the time to where the caller wants it.
func (l *listener) tell(n *notification, clock *Clock) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return err
	}
	now = unix.NsecToTimespec(now.Nano() + int64(clock.Ahead()))
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&now)), unsafe.Sizeof(now))
	// The caller is held as long as its notification is valid: the id of its process is not another's by now.
	if errno := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&n.id)); errno != 0 {
		return errno
	}
	from := []unix.Iovec{{Base: &bytes[0], Len: uint64(len(bytes))}}
	to := []unix.RemoteIovec{{Base: uintptr(n.args[1]), Len: len(bytes)}}
	_, err := unix.ProcessVMWritev(int(n.pid), from, to, 0)
	return err
}

func (l *listener) ioctl(request uintptr, argument unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), request, uintptr(argument))
	return errno
}

func (l *listener) stop() { unix.Close(l.ending) }

func (l *listener) close() {
	unix.Close(l.ended)
	unix.Close(l.fd)
}
