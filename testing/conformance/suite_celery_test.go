//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suiteCelery is an application on Debian's Celery, with workers on several nodes.
func suiteCelery() Suite {
	return Suite{
		Name: "celery", About: "an application: routing, priorities, acks_late, retries, groups, remote control, events, killed workers and nodes",
		Debian:  []string{"celery", "python3-celery", "python3-kombu", "python3-amqp"},
		Timeout: 6 * time.Minute,
		Version: DebianVersion("python3-celery"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("celery/suite.py")
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "/usr/bin/python3", script)
		},
	}
}
