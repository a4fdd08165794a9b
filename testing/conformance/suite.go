package conformance

import (
	"context"
	"fmt"
	"time"
)

// Suite is a foreign client together with what exercises it.
type Suite struct {
	Name     string        // SUITE=Name selects it; its exclusions are in exclusions/Name.txt
	About    string        // what runs, for the table
	Debian   []string      // packages that must be installed; apt-get does it where they are not
	Unpacked []string      // packages that are only downloaded and unpacked, into Cache.Unpacked: installing them would start something
	Timeout  time.Duration // of Run
	NodeArgs []string      // further flags of every node

	Install func(context.Context, *Cache) error           // what else it needs from the network, into the cache; nil: nothing
	Version func(context.Context, *Cache) (string, error) // of the client
	Run     func(context.Context, *World) ([]Outcome, error)
}

// Status is how a test of a suite ended.
type Status int

// The three ends of a test.
const (
	Passed Status = iota
	Failed
	Skipped // the suite skipped it, or was told to
)

// Outcome is one test of a suite.
type Outcome struct {
	Name   string
	Status Status
	Text   string // what it printed, or why it was skipped
}

// Judge holds outcomes against the listed exclusions. A test that is excluded counts neither as passed nor as failed, whatever it did. Failures are the
// tests that failed, those that were skipped without being listed, and exclusions that name no test.
func Judge(outcomes []Outcome, excluded Exclusions) (passed int, failures []Outcome) {
	seen := map[string]bool{}
	for _, o := range outcomes {
		seen[o.Name] = true
		switch {
		case excluded[o.Name] != "":
		case o.Status == Passed:
			passed++
		case o.Status == Skipped:
			failures = append(failures, Outcome{o.Name, Failed, "skipped, and not listed as excluded: " + o.Text})
		default:
			failures = append(failures, o)
		}
	}
	for _, name := range excluded.Names() {
		if !seen[name] {
			failures = append(failures, Outcome{name, Failed, fmt.Sprintf("is excluded (%s), but no test has this name", excluded[name])})
		}
	}
	return passed, failures
}
