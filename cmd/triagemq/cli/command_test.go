package cli

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestWordsAndHelp(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
	}{
		{"", Usage, "", "triagemq cluster COMMAND"},
		{"help", OK, "triagemq cluster COMMAND", ""},
		{"--help", OK, "A broker.", ""},
		{"nonsense", Usage, "", `unknown command "nonsense"; triagemq help lists them`},
		{"cluster", Usage, "", "triagemq cluster members [flags]"},
		{"cluster --help", OK, "triagemq cluster members [flags]", ""},
		{"help cluster", OK, "triagemq cluster members [flags]", ""},
		{"cluster help members", OK, "Usage: triagemq cluster members [flags]", ""},
		{"help cluster members", OK, "--password-file file", ""},
		{"cluster members surplus", Usage, "", `unexpected argument "surplus"`},
		{"cluster members --nonsense", Usage, "", "triagemq cluster members --help lists the flags"},
		{"cluster members --url ftp://x", Usage, "", `--url "ftp://x": want http://host:port`},
		{"cluster members --password x", Usage, "", "a password without --user"},
	} {
		got := run(t, nil, strings.Fields(c.args)...)
		if got.code != c.code || !strings.Contains(got.stdout, c.stdout) || !strings.Contains(got.stderr, c.stderr) {
			t.Errorf("triagemq %s: %+v, want %d, %q and %q", c.args, got, c.code, c.stdout, c.stderr)
		}
		if (got.stderr == "") != (c.stderr == "") || (got.stdout == "") != (c.stdout == "") {
			t.Errorf("triagemq %s: output on the wrong side: %+v", c.args, got)
		}
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	for args, want := range map[string][]string{
		"n3 --force --name x":    {"n3"},
		"--force n3 --name x":    {"n3"},
		"--name x --force n3":    {"n3"},
		"--force --name=x n3":    {"n3"},
		"--force --name x -- n3": {"n3"},
	} {
		words, force, name, err := parse(t, 1, 1, strings.Fields(args)...)
		if err != nil || !slices.Equal(words, want) || !force || name != "x" {
			t.Errorf("%s: %v %v %v %v", args, words, force, name, err)
		}
	}
	if words, force, _, err := parse(t, 0, 2, "a", "--", "--force"); err != nil || force || !slices.Equal(words, []string{"a", "--force"}) {
		t.Errorf("after --: %v %v %v", words, force, err)
	}
	if _, _, _, err := parse(t, 1, 1); CodeOf(err) != Usage {
		t.Errorf("a missing word: %v", err)
	}
}

func TestPasswordIsNotInHelp(t *testing.T) {
	got := run(t, map[string]string{"TRIAGEMQ_PASSWORD": "sesame", "TRIAGEMQ_USER": "root"}, "cluster", "members", "--help")
	if strings.Contains(got.stdout, "sesame") || !strings.Contains(got.stdout, "(default root)") {
		t.Error(got.stdout)
	}
}

func TestNobodySitsAtTheNullDevice(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) || isTerminal(strings.NewReader("")) {
		t.Error("a script would be asked and never answer")
	}
}
