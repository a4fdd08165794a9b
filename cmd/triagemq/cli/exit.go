package cli

import (
	"errors"
	"fmt"
)

// Exit codes of every command of this package; docs/operations/cli.md lists them for scripts.
const (
	OK        = 0
	Failed    = 1 // nothing came of it: no node answered, a file could not be written, the node cannot do it now
	Usage     = 2 // the command line is wrong; nothing was asked of anybody
	Refused   = 3 // the cluster answered no: a login, a permission, an unknown node, a removal that would cost the quorum
	Unhealthy = 4 // the question was answered, and the answer is bad news
	Unknown   = 5 // asked for, and the effect was not seen in time: it may come yet
)

// Error is an error with an exit code. A nil Err says that everything was printed already.
type Error struct {
	Code int
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.Err }

// UsageErrorf is an error of the command line.
func UsageErrorf(format string, args ...any) error { return &Error{Usage, fmt.Errorf(format, args...)} }

// CodeOf is the exit code for an error: that of the outermost Error in it, else Failed.
func CodeOf(err error) int {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return Failed
}
