//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suitePHPExtension is PHP's amqp extension with its own tests.
func suitePHPExtension() Suite {
	return Suite{
		Name: "php-amqp", About: "the amqp extension (on librabbitmq) with its own tests",
		Debian:  []string{"php-cli", "php-amqp"},
		Timeout: 4 * time.Minute,
		Install: func(ctx context.Context, c *Cache) error {
			_, err := c.Source(ctx, "php-amqp")
			return err
		},
		Version: DebianVersion("php-amqp"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("php/phpt.php")
			if err != nil {
				return nil, err
			}
			dir, err := w.Cache.Source(ctx, "php-amqp")
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "php", script, filepath.Join(dir, "tests"))
		},
	}
}
