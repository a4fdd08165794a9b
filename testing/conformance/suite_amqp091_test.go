//go:build conformance

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const amqp091Module = "github.com/rabbitmq/amqp091-go"

// suiteAMQP091 is the tests that amqp091-go brings along, those with the build tag integration included.
func suiteAMQP091() Suite {
	return Suite{
		Name: "amqp091-go", About: "its own tests, with the tag `integration`",
		Timeout: 10 * time.Minute,
		Install: compileAMQP091,
		Version: func(ctx context.Context, _ *Cache) (string, error) { return goModule(ctx, "{{.Version}}") },
		Run:     runAMQP091,
	}
}

func goModule(ctx context.Context, format string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", format, amqp091Module).Output()
	return strings.TrimSpace(string(out)), err
}

// compileAMQP091 copies the module's source, as it is in the module cache, and compiles its tests.
func compileAMQP091(ctx context.Context, c *Cache) error {
	source, err := goModule(ctx, "{{.Dir}}")
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "amqp091-go")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return err
	}
	if err := nameProduct(filepath.Join(dir, "integration_test.go")); err != nil {
		return err
	}
	return c.Command(ctx, dir, "go", "test", "-c", "-tags", "integration", "-o", "integration.test", ".")
}

// nameProduct lets tests that are for the product RabbitMQ alone run against ours: they would end at once, pass, and leave a connection open.
func nameProduct(file string) error {
	const theirs, ours = `"RabbitMQ"`, `"TriageMQ"`
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(theirs)) {
		return fmt.Errorf("%s: no test asks for the product any more", file)
	}
	if err := os.Chmod(file, 0o644); err != nil { // the module cache is read-only
		return err
	}
	return os.WriteFile(file, bytes.ReplaceAll(text, []byte(theirs), []byte(ours)), 0o644)
}

func runAMQP091(ctx context.Context, w *World) ([]Outcome, error) {
	dir := filepath.Join(w.Cache.Dir, "amqp091-go")
	excluded, err := ReadExclusions("amqp091-go")
	if err != nil {
		return nil, err
	}
	args := []string{"tool", "test2json", "./integration.test", "-test.v=test2json", "-test.timeout=9m"}
	if len(excluded) > 0 {
		args = append(args, "-test.skip=^("+strings.Join(excluded.Names(), "|")+")$")
	}
	cmd := w.Command(ctx, dir, "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	outcomes := ParseGoTest(string(out))
	for _, name := range excluded.Names() {
		outcomes = append(outcomes, Outcome{name, Skipped, ""})
	}
	if err != nil && passed(outcomes) {
		return outcomes, fmt.Errorf("%w\n%s%s", err, tail(string(out), 30), stderr.String())
	}
	return outcomes, nil
}
