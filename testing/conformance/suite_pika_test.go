//go:build conformance

package conformance

import (
	"context"
	"path/filepath"
	"time"
)

// debianPython is the interpreter that Debian's python3-* packages belong to, whatever else PATH may offer.
const debianPython = "/usr/bin/python3"

// suitePika is a suite of ours for Debian's pika. The package comes without pika's own acceptance tests.
func suitePika() Suite {
	return Suite{
		Name: "pika", About: "ours, BlockingConnection and SelectConnection", Debian: []string{"python3-pika"},
		Timeout: 5 * time.Minute,
		Version: DebianVersion("python3-pika"),
		Run:     python("suite_pika.py"),
	}
}

// suiteRabbitMQAdmin is RabbitMQ's command line client of the management API.
func suiteRabbitMQAdmin() Suite {
	return Suite{
		Name: "rabbitmqadmin", About: "every verb of the client of the management API", Debian: []string{"python3-pika"}, Unpacked: []string{"rabbitmq-server"},
		Timeout: 5 * time.Minute,
		Version: UnpackedVersion("rabbitmq-server"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			return python("suite_rabbitmqadmin.py", filepath.Join(w.Cache.Unpacked("rabbitmq-server"), "usr", "bin", "rabbitmqadmin"))(ctx, w)
		},
	}
}

// python runs a suite of the folder python.
func python(script string, args ...string) func(context.Context, *World) ([]Outcome, error) {
	return func(ctx context.Context, w *World) ([]Outcome, error) {
		dir, err := filepath.Abs("python")
		if err != nil {
			return nil, err
		}
		return w.TAP(ctx, dir, debianPython, append([]string{"-B", script}, args...)...)
	}
}
