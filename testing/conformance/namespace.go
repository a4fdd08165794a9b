package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideKey marks the process that runs in the namespace.
const insideKey = "TRIAGEMQ_CONFORMANCE_INSIDE"

// Inside tells whether this process is the one that EnterNamespace started.
func Inside() bool { return os.Getenv(insideKey) != "" }

// EnterNamespace runs this program again, with the same arguments, in a network namespace that holds nothing but a loopback interface, and returns its
// exit code. Without root it takes a user namespace as well, which some systems forbid; then the program runs on the machine's own ports if the given
// ones are free, and it is an error if they are not.
func EnterNamespace(ctx context.Context, ports []int, env ...string) (code int, err error) {
	own := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		own.Cloneflags |= syscall.CLONE_NEWUSER
		own.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		own.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd := again(ctx, append(env, insideKey+"=namespace"))
	cmd.SysProcAttr = own
	err = cmd.Start()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOSPC) {
		if err := free(ports); err != nil {
			return 0, fmt.Errorf("a network namespace needs root, or a system that allows user namespaces, and without one the standard ports must be free: %w", err)
		}
		cmd = again(ctx, append(env, insideKey+"=machine"))
		err = cmd.Start()
	}
	if err != nil {
		return 0, err
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func again(ctx context.Context, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

func free(ports []int) error {
	for _, p := range ports {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}

// RaiseLoopback makes the loopback interface of a new namespace usable.
func RaiseLoopback() error {
	if os.Getenv(insideKey) != "namespace" {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("raise the loopback interface: %w", err)
	}
	return nil
}
