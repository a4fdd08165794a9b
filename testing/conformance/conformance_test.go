//go:build conformance

package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// suites lists what there is, in the order of the table.
func suites() []Suite {
	return []Suite{
		suiteAMQP091(),
		suiteAMQPLib(),
		suiteAMQPLibOwn(),
		suiteAMQPTools(),
		suitePika(),
		suiteRabbitMQAdmin(),
		suiteRabbitHole(),
		suiteOracle(),
		suiteCelery(),
		suiteJava(),
		suiteRuby(),
		suitePHPExtension(),
		suitePHPLib(),
		suitePerl(),
		suiteC(),
	}
}

const (
	prepareBound = 10 * time.Minute // to install one suite's needs
	chaosEvery   = 5 * time.Second
	notPrepared  = "TRIAGEMQ_CONFORMANCE_NOT_PREPARED" // JSON: suite → error
)

// TestMain installs with the network what the chosen suites need, and then runs the tests in a namespace without one.
func TestMain(m *testing.M) {
	if Inside() {
		if err := RaiseLoopback(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	code, err := outside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func outside() (int, error) {
	chosen, err := chosenSuites()
	if err != nil {
		return 0, err
	}
	cache, err := OpenCache()
	if err != nil {
		return 0, err
	}
	failed := map[string]string{}
	for _, s := range chosen {
		fmt.Printf("preparing %s\n", s.Name)
		ctx, cancel := context.WithTimeout(context.Background(), prepareBound)
		if err := cache.Prepare(ctx, s); err != nil {
			failed[s.Name] = err.Error()
		}
		cancel()
	}
	text, err := json.Marshal(failed)
	if err != nil {
		return 0, err
	}
	binary := os.Getenv("TRIAGEMQ_TEST_BINARY")
	if binary == "" {
		dir, err := os.MkdirTemp("", "triagemq-bin-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		if binary, err = harness.Build(dir); err != nil {
			return 0, err
		}
	}
	return EnterNamespace(context.Background(), []int{StandardPort, StandardHTTPPort}, notPrepared+"="+string(text), "TRIAGEMQ_TEST_BINARY="+binary)
}

// chosenSuites are those that SUITE names, with commas; all without it.
func chosenSuites() ([]Suite, error) {
	all := suites()
	want := strings.FieldsFunc(os.Getenv("SUITE"), func(r rune) bool { return r == ',' || r == ' ' })
	if len(want) == 0 {
		return all, nil
	}
	var chosen []Suite
	for _, name := range want {
		k := slices.IndexFunc(all, func(s Suite) bool { return s.Name == name })
		if k < 0 {
			return nil, fmt.Errorf("no suite %q; there are %s", name, strings.Join(names(all), ", "))
		}
		chosen = append(chosen, all[k])
	}
	return chosen, nil
}

func names(all []Suite) (out []string) {
	for _, s := range all {
		out = append(out, s.Name)
	}
	return out
}

// TestConformance runs the suites one after the other, each against a cluster of its own.
func TestConformance(t *testing.T) {
	chosen, err := chosenSuites()
	check(t, err)
	failed := map[string]string{}
	check(t, json.Unmarshal([]byte(os.Getenv(notPrepared)), &failed))
	var rows []Row
	for _, s := range chosen {
		t.Run(s.Name, func(t *testing.T) {
			if failed[s.Name] != "" {
				t.Fatalf("could not install what it needs: %s", failed[s.Name])
			}
			rows = append(rows, runSuite(t, s))
		})
	}
	for _, r := range rows {
		t.Logf("%-16s %-28s passed %d, failed %d, excluded %d", r.Suite, r.Version, r.Passed, r.Failed, r.Excluded)
	}
	if os.Getenv("UPDATE") != "" {
		check(t, UpdateTable(filepath.Join("..", "..", "docs", "protocol.md"), rows, names(suites())))
	}
}

func runSuite(t *testing.T, s Suite) Row {
	cache, err := OpenCache()
	check(t, err)
	excluded, err := ReadExclusions(s.Name)
	check(t, err)
	row := Row{Suite: s.Name, About: s.About, Excluded: len(excluded), Chaos: os.Getenv("CHAOS") != ""}
	row.Version, err = s.Version(t.Context(), cache)
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), s.Timeout)
	defer cancel()
	w := openWorld(t, ctx, s, cache)
	stop := func() (int, error) { return 0, nil }
	if row.Chaos {
		stop = w.Chaos(ctx, chaosEvery)
	}
	outcomes, err := s.Run(ctx, w)
	times, failedChaos := stop()
	if row.Chaos {
		t.Logf("%s lost %d leaders", s.Name, times)
		if times == 0 {
			t.Error("no leader was lost meanwhile")
		}
	}
	for _, e := range []error{err, failedChaos} {
		if e != nil {
			t.Errorf("%s: %v", s.Name, e)
		}
	}
	var failures []Outcome
	row.Passed, failures = Judge(outcomes, excluded)
	row.Failed = len(failures)
	for _, f := range failures {
		t.Run(f.Name, func(t *testing.T) { t.Error(f.Text) })
	}
	t.Logf("%s %s: passed %d, failed %d, excluded %d", s.Name, row.Version, row.Passed, row.Failed, row.Excluded)
	if len(outcomes) == 0 {
		t.Errorf("%s ran no tests", s.Name)
	}
	return row
}

func openWorld(t *testing.T, ctx context.Context, s Suite, cache *Cache) *World {
	w, err := OpenWorld(ctx, harness.Binary(t), t.TempDir(), cache, t.Logf, s.NodeArgs...)
	check(t, err)
	t.Cleanup(func() {
		tails := map[string]string{}
		for _, n := range w.Cluster.Nodes {
			tails[n.Name] = n.LogTail(15)
			if !n.Running() {
				t.Errorf("%s is dead", n.Name)
			}
		}
		w.Close()
		if t.Failed() {
			for name, text := range tails {
				t.Logf("the end of %s's log:\n%s", name, text)
			}
		}
	})
	return w
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
