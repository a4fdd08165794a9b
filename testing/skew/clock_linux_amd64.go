package skew

import (
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Clock is how far a process's wall clock is ahead of the machine's. Its methods may be called by several goroutines, in several processes.
type Clock struct {
	memory []byte
	nanos  *atomic.Int64 // in memory
}

const clockBytes = 8

// OpenClock maps the clock in a file, which it creates with an offset of 0.
func OpenClock(path string) (*Clock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(clockBytes); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, clockBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &Clock{memory: memory, nanos: (*atomic.Int64)(unsafe.Pointer(&memory[0]))}, nil
}

// Ahead is the offset; negative where the clock is behind.
func (c *Clock) Ahead() time.Duration { return time.Duration(c.nanos.Load()) }

// SetAhead makes the clock jump.
func (c *Clock) SetAhead(d time.Duration) { c.nanos.Store(int64(d)) }

// JumpTo makes the clock jump to a moment; it runs on from there.
func (c *Clock) JumpTo(t time.Time) { c.SetAhead(time.Until(t)) }

// Close gives the mapping back; the clock must not be used afterwards.
func (c *Clock) Close() error { return unix.Munmap(c.memory) }
