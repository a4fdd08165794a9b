//go:build conformance

package conformance

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// suiteAMQPLib is a suite of ours that drives amqplib (Node.js) through all its features. Its faults are its last tests.
func suiteAMQPLib() Suite {
	return Suite{
		Name: "amqplib", About: "ours, through all features of the Node.js client",
		Timeout: 5 * time.Minute,
		Install: installAMQPLib,
		Version: npmVersion("amqplib"),
		Run: func(ctx context.Context, w *World) ([]Outcome, error) {
			return w.TAP(ctx, filepath.Join(w.Cache.Dir, "amqplib"), "node", "suite.js")
		},
	}
}

// suiteAMQPLibOwn is amqplib's own tests. They are in the package up to release 0.10; later ones come without.
func suiteAMQPLibOwn() Suite {
	return Suite{
		Name: "amqplib-own", About: "its own tests, of the last release that brings them along",
		Timeout: 5 * time.Minute,
		Install: installAMQPLib,
		Version: npmVersion("amqplib-with-tests"),
		Run:     runAMQPLibOwn,
	}
}

// installAMQPLib copies the suite into the cache and installs what package-lock.json pins beside it.
func installAMQPLib(ctx context.Context, c *Cache) error {
	dir, err := c.Folder("amqplib")
	if err != nil {
		return err
	}
	lock, err := os.ReadFile("amqplib/package-lock.json")
	if err != nil {
		return err
	}
	installed, _ := os.ReadFile(filepath.Join(dir, "installed.json"))
	if err := copyOver(dir, "amqplib"); err != nil || bytes.Equal(lock, installed) {
		return err
	}
	if err := c.Command(ctx, dir, "npm", "ci", "--no-audit", "--no-fund"); err != nil {
		return fmt.Errorf("%w\nnpm and Node.js 18 or later are needed, and the registry must be reachable", err)
	}
	return os.WriteFile(filepath.Join(dir, "installed.json"), lock, 0o644)
}

// copyOver copies the files of a folder, over those that are there.
func copyOver(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func npmVersion(name string) func(context.Context, *Cache) (string, error) {
	return func(ctx context.Context, c *Cache) (string, error) {
		text, err := os.ReadFile(filepath.Join(c.Dir, "amqplib", "node_modules", name, "package.json"))
		_, after, _ := strings.Cut(string(text), `"version": "`)
		version, _, _ := strings.Cut(after, `"`)
		return version, err
	}
}

func runAMQPLibOwn(ctx context.Context, w *World) ([]Outcome, error) {
	tests := filepath.Join("node_modules", "amqplib-with-tests", "test")
	return w.TAP(ctx, filepath.Join(w.Cache.Dir, "amqplib"), "node_modules/.bin/mocha", "--check-leaks", "-u", "tdd", "--exit", "--reporter", "tap", tests)
}
