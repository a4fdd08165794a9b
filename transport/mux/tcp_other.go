//go:build !linux

package mux

import (
	"syscall"
	"time"
)

const (
	optUserTimeout = iota
	optRetransmitMax
)

// setTCP does nothing here.
func setTCP(syscall.RawConn, int, time.Duration) error { return nil }
