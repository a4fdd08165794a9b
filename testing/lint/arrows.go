package lint

import (
	"fmt"
	"slices"
)

// arrow says what the packages below From may import of our module, and, where External is not nil, of others. Below From
// everything may import From.
type arrow struct {
	From     string
	Ours     []string // folders, with what lies below them
	External []string // exact import paths beyond the standard library; nil: not restricted
}

// arrows are the import arrows (docs/architecture.md). The first that fits counts.
var arrows = []arrow{
	{From: "fsm", External: []string{}},
	{From: "cluster", Ours: []string{"transport/mux"}},
	{From: "broker", Ours: []string{"fsm"}},
	{From: "transport/mux"},
	{From: "transport/wire", Ours: []string{"broker", "fsm"}},
	{From: "transport/amqp", Ours: []string{"broker", "fsm", "transport/wire"}},
	{From: "transport/http", Ours: []string{"broker", "fsm", "transport/wire"}},
	{From: "client/clienttest", Ours: []string{"client", "transport/wire", "cmd/triagemq/node"}, External: []string{clientLibrary}},
	{From: "client", Ours: []string{"transport/wire"}, External: []string{clientLibrary}},
	{From: "cmd", Ours: []string{"fsm", "cluster", "broker", "transport", "client", "testing"}},
	{From: "testing", Ours: []string{"fsm", "cluster", "broker", "transport", "client", "cmd"}},
}

const clientLibrary = "github.com/rabbitmq/amqp091-go"

// testLibraries may be imported by any test.
var testLibraries = []string{"pgregory.net/rapid", "go.uber.org/goleak"}

// Arrows finds imports against the architecture. Tests keep the same arrows; they may also import what lies below testing,
// and testLibraries.
func Arrows(t *Tree) []Finding {
	var found []Finding
	for p, f := range t.files {
		i := slices.IndexFunc(arrows, func(a arrow) bool { return below(p.Dir, a.From) })
		if i < 0 {
			found = append(found, t.at(f.AST.Package, fmt.Sprintf("folder %s has no place in the architecture", p.Dir)))
			continue
		}
		for _, spec := range f.AST.Imports {
			if !arrows[i].allows(importPath(spec), f.Test) {
				found = append(found, t.at(spec.Pos(), fmt.Sprintf("%s must not import %s", arrows[i].From, importPath(spec))))
			}
		}
	}
	return found
}

func (a arrow) allows(path string, test bool) bool {
	if dir, ok := ours(path); ok {
		return below(dir, a.From) || below(dir, a.Ours...) || test && below(dir, "testing")
	}
	return standard(path) || a.External == nil || slices.Contains(a.External, path) || test && slices.Contains(testLibraries, path)
}
