package offline

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/triagemq/triagemq/cmd/triagemq/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs one command line of this package's commands.
func run(t *testing.T, stdin []byte, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	root := cli.Command{Name: "triagemq", Commands: []cli.Command{Restore(), Recover(), Inspect()}}
	var out, err bytes.Buffer
	code = cli.Main(root, cli.Invocation{Context: t.Context(), Args: args, Stdin: bytes.NewReader(stdin), Stdout: &out, Stderr: &err, Getenv: func(string) string { return "" }})
	return code, out.String(), err.String()
}

func expect(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	got, out, errs := run(t, nil, args...)
	if got != code || !strings.Contains(out+errs, want) {
		t.Errorf("triagemq %s: code %d, want %d with %q:\n%s%s", strings.Join(args, " "), got, code, want, out, errs)
	}
}
