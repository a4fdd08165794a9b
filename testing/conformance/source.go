package conformance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// debLine begins a line of apt's sources that names binary packages, in the old form or the new.
var debLine = regexp.MustCompile(`(?m)^(Types:.*|deb )`)

// Source downloads the tarballs of a Debian source package and unpacks the main one into the folder that it returns. The Debian patches are not needed;
// an archive that does not have them any more will do.
func (c *Cache) Source(ctx context.Context, name string) (string, error) {
	to := filepath.Join(c.Dir, "source", name)
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(c.Dir, "source-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	options, err := sourceLists(dir)
	if err != nil {
		return "", err
	}
	if err := command(ctx, dir, append(append([]string{"apt-get"}, options...), "update", "-q")...); err != nil {
		return "", err
	}
	failed := command(ctx, dir, append(append([]string{"apt-get"}, options...), "source", "-q", "--download-only", name)...)
	found, err := filepath.Glob(filepath.Join(dir, name+"_*.orig.tar.*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("apt-get source %s left %d tarballs: %w", name, len(found), failed)
	}
	fresh := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return "", err
	}
	if err := command(ctx, dir, "tar", "-xf", found[0], "--strip-components=1", "-C", fresh); err != nil {
		return "", err
	}
	return to, os.Rename(fresh, to)
}

// sourceLists writes apt's sources anew, for source packages, into a folder, and returns the options that make apt-get use them and leave the machine's alone.
func sourceLists(dir string) ([]string, error) {
	options := []string{"-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=" + dir + "/parts", "-o", "Dir::State::lists=" + dir + "/lists",
		"-o", "Dir::Cache=" + dir + "/cache", "-o", "APT::Sandbox::User=root"}
	for _, d := range []string{"parts", "lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	files, err := filepath.Glob("/etc/apt/sources.list.d/*")
	if err != nil {
		return nil, err
	}
	for _, f := range append(files, "/etc/apt/sources.list") {
		text, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(text), "debian") {
			continue // not there, or another's packages
		}
		if err := os.WriteFile(filepath.Join(dir, "parts", filepath.Base(f)), debLine.ReplaceAllFunc(text, sourceLine), 0o644); err != nil {
			return nil, err
		}
	}
	return options, nil
}

func sourceLine(line []byte) []byte {
	if strings.HasPrefix(string(line), "Types:") {
		return []byte("Types: deb-src")
	}
	return []byte("deb-src ")
}
