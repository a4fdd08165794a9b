package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Build compiles the triagemq command into dir and returns the binary's path.
func Build(dir string, flags ...string) (string, error) { return buildIn(".", dir, flags...) }

// BuildCommit compiles the triagemq command of a commit of this repository into dir and returns the binary's path. The commit's source goes below dir too.
func BuildCommit(dir, commit string) (string, error) {
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	source, archive := filepath.Join(dir, "source"), filepath.Join(dir, "source.tar")
	if err := os.Mkdir(source, 0o700); err != nil {
		return "", err
	}
	for _, command := range [][]string{
		{"git", "-C", strings.TrimSpace(string(root)), "archive", "--format=tar", "--output", archive, commit}, {"tar", "-xf", archive, "-C", source},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("unpacking %s: %w\n%s", commit, err, out)
		}
	}
	return buildIn(source, dir)
}

func buildIn(source, dir string, flags ...string) (string, error) {
	bin := filepath.Join(dir, "triagemq")
	args := append([]string{"build", "-o", bin}, flags...)
	cmd := exec.Command("go", append(args, "github.com/triagemq/triagemq/cmd/triagemq")...)
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// binary is built once for all tests of a process; BuildOnce hands it out.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "triagemq-bin-")
	if err != nil {
		return "", err
	}
	return Build(dir)
})

// Binary returns the triagemq binary for tests. TRIAGEMQ_TEST_BINARY names one that is built already.
func Binary(t testing.TB) string {
	t.Helper()
	if b := os.Getenv("TRIAGEMQ_TEST_BINARY"); b != "" {
		return b
	}
	b, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RemoveBinary deletes what Binary built; TestMain calls it at the end.
func RemoveBinary() {
	if os.Getenv("TRIAGEMQ_TEST_BINARY") == "" {
		if b, err := binary(); err == nil {
			os.RemoveAll(filepath.Dir(b))
		}
	}
}

// Start opens a cluster for a test, waits until it is ready, and ends it with the test. When the test failed it shows the ends of the nodes' logs.
func Start(t testing.TB, nodes int, args ...string) *Cluster {
	t.Helper()
	return StartConfig(t, Config{Nodes: nodes, Args: args})
}

// StartBinary is Start with a program of its own.
func StartBinary(t testing.TB, binary string, nodes int, args ...string) *Cluster {
	t.Helper()
	return StartConfig(t, Config{Binary: binary, Nodes: nodes, Args: args})
}

// StartConfig is Start for a configuration; Binary and Dir are filled in where they are empty.
func StartConfig(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	if cfg.Binary == "" {
		cfg.Binary = Binary(t)
	}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			for _, n := range c.Nodes {
				t.Logf("the end of %s's log:\n%s", n.Name, n.LogTail(40))
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}
