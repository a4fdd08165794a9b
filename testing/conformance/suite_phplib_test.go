//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suitePHPLib is php-amqplib, the client that is written in PHP.
func suitePHPLib() Suite {
	return Suite{
		Name: "php-amqplib", About: "php-amqplib: confirms, transactions, exchanges, dead letters, rpc, errors",
		Debian:  []string{"php-cli", "php-amqplib", "php-mbstring"},
		Timeout: 4 * time.Minute,
		Version: DebianVersion("php-amqplib"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("php/amqplib.php")
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "php", script)
		},
	}
}
