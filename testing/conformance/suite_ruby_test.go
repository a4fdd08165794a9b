//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suiteRuby is Bunny, the client of Ruby.
func suiteRuby() Suite {
	return Suite{
		Name: "ruby", About: "Bunny: confirms, transactions, exchanges, dead letters, rpc, errors, recovery",
		Debian:  []string{"ruby", "ruby-bunny"},
		Timeout: 4 * time.Minute,
		Version: DebianVersion("ruby-bunny"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("ruby/suite.rb")
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "ruby", script)
		},
	}
}
