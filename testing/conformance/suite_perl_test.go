//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suitePerl is AnyEvent::RabbitMQ, on Net::AMQP.
func suitePerl() Suite {
	return Suite{
		Name: "perl", About: "AnyEvent::RabbitMQ: every method that it has",
		Debian:  []string{"perl", "libanyevent-rabbitmq-perl", "libnet-amqp-perl"},
		Timeout: 4 * time.Minute,
		Version: DebianVersion("libanyevent-rabbitmq-perl"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("perl/suite.pl")
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "/usr/bin/perl", script)
		},
	}
}
