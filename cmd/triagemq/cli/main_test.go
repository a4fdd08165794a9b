package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// result is what a command line came to.
type result struct {
	code           int
	stdout, stderr string
}

// run runs one command line of this package's nouns, with an environment of its own.
func run(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	root := Command{Name: "triagemq", Help: "A broker.", Commands: []Command{Cluster()}}
	var out, err bytes.Buffer
	code := Main(root, Invocation{Context: t.Context(), Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err, Getenv: func(k string) string { return env[k] }})
	return result{code, out.String(), err.String()}
}

// parse reads arguments of a command with one flag of each kind.
func parse(t *testing.T, least, most int, args ...string) (words []string, force bool, name string, err error) {
	in := &Invocation{Context: context.Background(), Path: "triagemq x", Args: args, Command: &Command{Args: "NODE [flags]"}, Stdout: &bytes.Buffer{}}
	fs := in.Flags()
	f := fs.Bool("force", false, "")
	n := fs.String("name", "", "")
	words, err = in.Parse(fs, least, most)
	return words, *f, *n, err
}
