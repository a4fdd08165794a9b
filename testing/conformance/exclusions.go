package conformance

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Exclusions gives the reason why a test is left out, by its name.
type Exclusions map[string]string

// ReadExclusions reads exclusions/NAME.txt of a suite: lines of the form `TEST # REASON`, empty ones and comments. No file: no exclusions.
func ReadExclusions(suite string) (Exclusions, error) {
	file := filepath.Join("exclusions", suite+".txt")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := parseExclusions(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all, nil
}

func parseExclusions(text string) (Exclusions, error) {
	all := Exclusions{}
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " # ")
		name, reason = strings.TrimSpace(name), strings.TrimSpace(reason)
		if !ok || name == "" || reason == "" {
			return nil, fmt.Errorf("%q: want TEST # REASON", line)
		}
		if all[name] != "" {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		all[name] = reason
	}
	return all, nil
}

// Names returns the excluded tests in order.
func (e Exclusions) Names() []string { return slices.Sorted(maps.Keys(e)) }
