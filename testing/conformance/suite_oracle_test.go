//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// suiteOracle plays some 1,200 operations, most of them wrong in some way, against a RabbitMQ and against the cluster, and compares the answers word by
// word. What differs on purpose stands in oracle/deviations.txt.
func suiteOracle() Suite {
	return Suite{
		Name: "oracle", About: "about 1,200 operations, right and wrong, answered as a RabbitMQ beside it answers them",
		Debian: []string{"python3-pika", "erlang-base", "erlang-crypto", "erlang-eldap", "erlang-inets", "erlang-mnesia", "erlang-os-mon", "erlang-parsetools",
			"erlang-public-key", "erlang-runtime-tools", "erlang-ssl", "erlang-syntax-tools", "erlang-tools", "erlang-xmerl"},
		Unpacked: []string{"rabbitmq-server"},
		Timeout:  6 * time.Minute,
		Version:  UnpackedVersion("rabbitmq-server"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			script, err := filepath.Abs("oracle/suite.sh")
			if err != nil {
				return nil, err
			}
			return w.TAP(ctx, w.Dir, "bash", script, w.Cache.Unpacked("rabbitmq-server"), w.Dir)
		},
	}
}
