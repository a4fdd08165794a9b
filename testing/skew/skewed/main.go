//go:build linux && amd64

// Command skewed runs a program under a wall clock of its own: see package skew.
//
//	skewed CLOCKFILE PROGRAM ARG…
//	skewed now
//
// It ends with the program's exit status, or 125 where it cannot run it. The second form prints the time in Unix milliseconds: what a program sees.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/triagemq/triagemq/testing/skew"
)

// cannotRun is the status of a failure that is not the program's own.
const cannotRun = 125

func main() {
	if len(os.Args) == 2 && os.Args[1] == "now" {
		fmt.Println(time.Now().UnixMilli())
		return
	}
	status, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "skewed:", err)
		status = cannotRun
	}
	os.Exit(status)
}

func run(args []string) (status int, err error) {
	if len(args) < 2 {
		return 0, errors.New("usage: skewed CLOCKFILE PROGRAM ARG…")
	}
	program, err := exec.LookPath(args[1])
	if err != nil {
		return 0, err
	}
	clock, err := skew.OpenClock(args[0])
	if err != nil {
		return 0, err
	}
	defer clock.Close()
	return skew.Run(clock, program, args[2:])
}
