package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/cmd/triagemq/cli"
)

// TestWrongCommandLines holds that what is wrong with a command line is said once, on standard error, with the exit code that tells supervisors not to try again.
func TestWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"server --help", cli.OK, "--node-id name", ""},
		{"help server", cli.OK, "Usage: triagemq server [flags]", ""},
		{"server --nonsense", cli.Usage, "", "-nonsense\ntriagemq server --help lists the flags\n"},
		{"server surplus", cli.Usage, "", `unexpected argument "surplus"`},
		{"server --bootstrap-expect 3", cli.Usage, "", "--bootstrap-expect 3 needs --join"},
		{"server --config /does/not/exist", cli.Usage, "", "/does/not/exist"},
		{"dev --help", cli.OK, "triagemq dev start-node NAME", ""},
		{"dev --nodes 0", cli.Usage, "", "--nodes 0: want 1 to 9"},
		{"dev start-node --help", cli.OK, "Usage: triagemq dev start-node NAME --data-dir DIR", ""},
		{"dev start-node n1", cli.Usage, "", "--data-dir is missing"},
		{"dev start-node --data-dir /does/not/exist", cli.Usage, "", "something is missing"},
		{"dev start-node --data-dir /does/not/exist n1", cli.Failed, "", "/does/not/exist"},
		{"inspect log --from 3 --to 2 /does/not/exist", cli.Usage, "", "--from 3 is behind --to 2"},
	} {
		var stdout, stderr bytes.Buffer
		code := cli.Main(commands(), cli.Invocation{
			Context: context.Background(), Args: strings.Fields(c.args), Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" },
		})
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("triagemq %s: %d\n%s%s", c.args, code, &stdout, &stderr)
		}
		if (stdout.Len() == 0) != (c.stdout == "") || (stderr.Len() == 0) != (c.stderr == "") || strings.Contains(stderr.String(), "--node-id name") {
			t.Errorf("triagemq %s: output on the wrong side\n%s%s", c.args, &stdout, &stderr)
		}
	}
}
