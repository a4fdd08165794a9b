package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDevRefusals(t *testing.T) {
	for args, want := range map[string]string{
		"--nodes 0":                           "--nodes 0: want 1 to 9",
		"--data-dir=":                         "--data-dir is empty",
		"--amqp-port 70000":                   "--amqp-port 70000",
		"--http-port 20001 --peer-port 20003": "--peer-port 20003 and --http-port overlap",
		"surplus":                             `unexpected argument "surplus"`,
	} {
		if _, err := parseDev(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("dev %s: %v, want %q", args, err, want)
		}
	}
	if _, err := parseDev(nil); err != nil {
		t.Errorf("dev without flags: %v", err)
	}
}

func TestDevFolderKeepsItsSize(t *testing.T) {
	dir := t.TempDir()
	text := `{"dir":"d","binary":"b","nodes":[{"name":"n1"},{"name":"n2"},{"name":"n3"}]}`
	if err := os.WriteFile(filepath.Join(dir, "dev.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := parseDev([]string{"--nodes", "5", "--data-dir", dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := devPlan(f); err == nil || !strings.Contains(err.Error(), "--nodes 3") {
		t.Errorf("a folder of three nodes was taken for five: %v", err)
	}
}
