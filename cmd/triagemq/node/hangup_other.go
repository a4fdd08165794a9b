//go:build !linux

package node

// hangUp is left to the end of the process.
func hangUp() {}
