package lint

import (
	"go/ast"
	"strings"
)

// fakeTimeMark, with a reason behind it, excuses a sleep on its own line or the next: it runs in the bubble of a synctest.Test
// that is elsewhere.
const fakeTimeMark = "//test:faketime "

// Sleeps finds time.Sleep in tests: a test waits for a condition or a signal, or it is slow and flaky at once. Allowed are the
// function literal of a synctest.Test, where time is fake, lines marked //test:faketime WHY, and, below testing/system and
// testing/bench, which watch other processes, functions whose names begin with poll.
func Sleeps(t *Tree) []Finding {
	var found []Finding
	for p, f := range t.files {
		if !f.Test {
			continue
		}
		v := &sleepVisitor{tree: t, file: f, excused: markedLines(t, f, fakeTimeMark), mayPoll: below(p.Dir, "testing/system", "testing/bench")}
		ast.Walk(v, f.AST)
		found = append(found, v.found...)
	}
	return found
}

type sleepVisitor struct {
	tree    *Tree
	file    *File
	excused map[int]bool
	mayPoll bool
	found   []Finding
}

// Visit implements ast.Visitor.
func (v *sleepVisitor) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.FuncDecl:
		if v.mayPoll && strings.HasPrefix(strings.ToLower(n.Name.Name), "poll") {
			return nil
		}
	case *ast.CallExpr:
		if v.isCall(n, "testing/synctest", "Test") {
			return nil
		}
	case *ast.SelectorExpr:
		if v.names(n, "time", "Sleep") && !v.excused[v.tree.line(n.Pos())] {
			v.found = append(v.found, v.tree.at(n.Pos(), "time.Sleep in a test: wait on a condition or a signal"))
		}
	}
	return v
}

func (v *sleepVisitor) isCall(call *ast.CallExpr, pkg, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && v.names(sel, pkg, name)
}

func (v *sleepVisitor) names(sel *ast.SelectorExpr, pkg, name string) bool {
	x, ok := sel.X.(*ast.Ident)
	return ok && sel.Sel.Name == name && x.Obj == nil && x.Name == v.file.importName(pkg)
}
