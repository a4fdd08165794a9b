package skew

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrRefused is what the kernel, or a sandbox around the process, does not allow: seccomp listeners or tracing one's own children.
var ErrRefused = errors.New("skew: refused by the kernel")

// Run runs a program (a path, and its arguments) under the clock until it ends, and returns its exit status. Standard streams and environment are this process's;
// SIGTERM and SIGINT are handed on. The program dies with this process.
func Run(clock *Clock, program string, args []string) (status int, err error) {
	// The filter stays on this thread for good, and the kernel takes the death of this thread for the death of the parent: it is never unlocked, so it ends
	// with the goroutine that calls Run.
	runtime.LockOSThread()
	listener, err := listen()
	if err != nil {
		return 0, err
	}
	defer listener.close()
	var answering sync.WaitGroup
	answering.Go(func() { listener.answer(clock) }) // on another thread: this one's filter must never wait for itself
	defer answering.Wait()
	defer listener.stop()
	pid, err := start(program, args)
	if err != nil {
		return 0, err
	}
	return attend(pid)
}

// start forks from this thread, hides the vDSO from the new program and lets it run.
func start(program string, args []string) (pid int, err error) {
	pid, err = syscall.ForkExec(program, append([]string{program}, args...), &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, fmt.Errorf("%w: starting %s: %w", ErrRefused, program, err)
	}
	if err = atExec(pid); err != nil {
		// It is stopped, or gone; nobody else will end it.
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = wait(pid)
	}
	return pid, err
}

// atExec waits for the stop at the program's first instruction, changes its auxiliary vector and detaches.
func atExec(pid int) error {
	w, err := wait(pid)
	if err != nil {
		return err
	}
	if !w.Stopped() || w.StopSignal() != unix.SIGTRAP {
		return fmt.Errorf("%w: the program did not stop at its exec: status %#x", ErrRefused, w)
	}
	if err := hideVDSO(pid); err != nil {
		return err
	}
	return os.NewSyscallError("ptrace detach", unix.PtraceDetach(pid))
}

func wait(pid int) (w unix.WaitStatus, err error) {
	for {
		if _, err = unix.Wait4(pid, &w, 0, nil); err != unix.EINTR {
			return w, os.NewSyscallError("wait4", err)
		}
	}
}

// attend hands signals on until the program ends.
func attend(pid int) (status int, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	var handing sync.WaitGroup
	handing.Go(func() {
		for s := range signals {
			_ = unix.Kill(pid, s.(unix.Signal)) // it may be gone already
		}
	})
	w, err := wait(pid)
	signal.Stop(signals)
	close(signals)
	handing.Wait()
	if w.Signaled() {
		return 128 + int(w.Signal()), err
	}
	return w.ExitStatus(), err
}
