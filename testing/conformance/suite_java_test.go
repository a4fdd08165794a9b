//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suiteJava is the test suite of RabbitMQ's own Java client.
func suiteJava() Suite {
	const source = "rabbitmq-java-client"
	return Suite{
		Name: "java", About: "RabbitMQ's Java client with its own functional tests",
		Debian:  []string{"default-jdk-headless", "librabbitmq-client-java", "junit4", "libhamcrest-java", "libslf4j-java", "curl"},
		Timeout: 20 * time.Minute,
		Install: func(ctx context.Context, c *Cache) error {
			_, err := c.Source(ctx, source)
			return err
		},
		Version: DebianVersion("librabbitmq-client-java"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("java/suite.sh")
			if err != nil {
				return nil, err
			}
			dir, err := w.Cache.Source(ctx, source)
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "bash", script, dir, w.Dir)
		},
	}
}
