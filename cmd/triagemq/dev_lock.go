package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A dev process holds DIR/dev.lock exclusively while it lives. Its nodes wait for a share of it and end when they get it: however dev ended, by kill -9 too,
// the kernel has released the lock. A node that start-node starts waits as well where a dev process lives, and outlives start-node, which holds nothing.

// devLockVariable names the lock to a node that dev or start-node starts.
const devLockVariable = "TRIAGEMQ_DEV_LOCK"

// devLockPatience is how long dev waits for the lock of a dev process that is ending: its nodes hold shares for the moment in which they end.
const devLockPatience = time.Second

func (p *devCluster) lockFile() string { return filepath.Join(p.Dir, "dev.lock") }

// lock makes this process the one whose nodes these are, until release or its end.
func (p *devCluster) lock() (release func(), err error) {
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(devLockPatience); ; time.Sleep(20 * time.Millisecond) {
		err = flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			break
		}
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another triagemq dev runs in %s: stop it first, or choose another folder", p.Dir)
	}
	return nil, err
}

// locked tells whether a dev process lives.
func (p *devCluster) locked() bool {
	f, err := os.Open(p.lockFile())
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(flock(f, syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// endWithDev ends this process when the dev process is gone that it was started under, if any: at once, as nobody is left to wait for an orderly stop.
func endWithDev(lockFile string) {
	if lockFile == "" {
		return
	}
	f, err := os.Open(lockFile)
	if err != nil {
		return // the folder is gone, and with it all that could say so
	}
	go func() { // ends with the process
		if flock(f, syscall.LOCK_SH) == nil {
			os.Exit(1)
		}
	}()
}

// flock is repeated when a signal interrupts it.
func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
