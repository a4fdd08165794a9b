// Package skew gives a process a wall clock of its own, so that tests can have a node's clock jump to 2099 and back while the machine's, and every other
// process's, stays as it is. It needs no root and no change to the program. Linux on amd64 alone; elsewhere the package is empty.
//
// The command testing/skew/skewed starts the program and supervises it:
//
//	skewed CLOCKFILE PROGRAM ARG…
//
// A Clock, a file of eight bytes that both sides map, holds how far the program's clock is ahead; whoever has the file sets it at any time. The offset outlives
// the process, as a machine's clock does. How it works:
//
//  1. skewed puts a seccomp filter on one of its threads and starts the program from there, which so inherits it: clock_gettime(CLOCK_REALTIME) is no longer
//     answered by the kernel but by whoever listens. Every other call, and the monotonic clock, goes through untouched.
//  2. Programs do not make that call as a rule: they read the clock from the vDSO, a page of code that the kernel maps into each process. So the program is
//     stopped at its exec (ptrace), and in the vector that tells it of the vDSO that entry (AT_SYSINFO_EHDR) is marked as to be ignored. The Go runtime then
//     falls back to the system call. The program is let go at once; no debugger stays attached.
//  3. skewed answers each call with the machine's time plus the offset, written straight into the caller's memory.
//
// A reading costs the program some 10 µs instead of 50 ns, so a skewed node is not one to measure. File times, and timers of the kernel that follow the wall
// clock, stay the machine's; TriageMQ uses neither. A stop signal to skewed stops the program too, as soon as it asks for the time.
//
// Start reading at Run.
package skew
