//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suiteC is a program on librabbitmq, compiled when it runs.
func suiteC() Suite {
	return Suite{
		Name: "c", About: "librabbitmq: confirms, transactions, exchanges, dead letters, rpc, errors",
		Debian:  []string{"gcc", "libc6-dev", "librabbitmq-dev"},
		Timeout: 4 * time.Minute,
		Version: DebianVersion("librabbitmq-dev"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("c/suite.c")
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "sh", "-c", `gcc -Wall -Werror -o suite "$1" -lrabbitmq && ./suite`, "suite", script)
		},
	}
}
