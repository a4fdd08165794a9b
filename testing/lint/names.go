package lint

import (
	"fmt"
	"path"
	"slices"
)

// emptyNames say nothing about what a package is for.
var emptyNames = []string{"base", "common", "helper", "helpers", "misc", "shared", "tools", "type", "types", "util", "utils"}

// Names finds packages whose names say nothing.
func Names(t *Tree) []Finding {
	var found []Finding
	for _, p := range t.Packages {
		for _, name := range []string{p.Files[0].AST.Name.Name, path.Base(p.Dir)} {
			if slices.Contains(emptyNames, name) {
				found = append(found, t.at(p.Files[0].AST.Package, fmt.Sprintf("a package named %s: name what it is for", name)))
				break
			}
		}
	}
	return found
}
