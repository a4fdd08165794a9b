//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suiteAMQPTools is Debian's amqp-tools: the command line programs of the C client librabbitmq.
func suiteAMQPTools() Suite {
	return Suite{
		Name: "amqp-tools", About: "the command line programs of librabbitmq (C), every one", Debian: []string{"amqp-tools"},
		Timeout: 2 * time.Minute,
		Version: DebianVersion("amqp-tools"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("amqptools/suite.sh")
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "bash", script)
		},
	}
}
