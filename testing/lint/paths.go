package lint

import (
	"bytes"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// machinePath matches an absolute path that exists on one person's machine only. It is written so as not to match itself.
var machinePath = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:,\[])(/(root|work|Users|home/[a-z][a-z0-9_-]*)/[\w.]|[A-Z]:\\Users\\)`)

// Paths finds absolute paths of somebody's machine in text files. Names are relative to root.
func Paths(root string, names []string) ([]Finding, error) {
	var found []Finding
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted, and not yet committed
		}
		if err != nil {
			return nil, err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			continue // not text
		}
		line := 0
		for s := range strings.Lines(string(text)) {
			line++
			if hit := machinePath.FindString(s); hit != "" {
				found = append(found, Finding{token.Position{Filename: name, Line: line}, "an absolute path of one machine: " + strings.TrimSpace(hit)})
			}
		}
	}
	return found, nil
}
