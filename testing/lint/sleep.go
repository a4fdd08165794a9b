package lint

import (
	"go/ast"
	"slices"
	"strings"
)

// fakeTimeMark, with a reason behind it, excuses a sleep on its own line or the next, where Sleeps cannot see that it runs in
// the bubble of a synctest.Test.
const fakeTimeMark = "//test:faketime "

// Sleeps finds time.Sleep in tests: a test waits for a condition or a signal, or it is slow and flaky at once. Allowed are
// sleeps in the bubble of a synctest.Test, where time is fake, and, below testing/system and testing/bench, which watch other
// processes, in functions whose names begin with poll.
//
// What runs in a bubble is told by names: the function literals that are given to synctest.Test, or to a function of the
// tests that calls it, and what is reached from the tests of the package only through them.
func Sleeps(t *Tree) []Finding {
	var found []Finding
	for _, p := range t.Packages {
		found = append(found, sleepsOf(t, p)...)
	}
	return found
}

// testFunc is a function or method of a package's tests.
type testFunc struct {
	file *File
	decl *ast.FuncDecl
}

// sleepsOf follows the names that a package's tests mention, from those that the testing package calls.
func sleepsOf(t *Tree, p *Package) []Finding {
	funcs := testFuncs(p)
	var waiting []string // names of what runs in real time and was not yet looked at
	for name, list := range funcs {
		if isRoot(list[0].decl) {
			waiting = append(waiting, name)
		}
	}
	var found []Finding
	bubbles := wrappers(funcs)
	mayPoll := below(p.Dir, "testing/system", "testing/bench")
	for len(waiting) > 0 {
		name := waiting[0]
		waiting = waiting[1:]
		reached := funcs[name]
		delete(funcs, name)
		if mayPoll && strings.HasPrefix(strings.ToLower(name), "poll") {
			continue
		}
		for _, fn := range reached {
			v := &sleepVisitor{tree: t, fn: fn, funcs: funcs, wrappers: bubbles, excused: markedLines(t, fn.file, fakeTimeMark)}
			ast.Walk(v, fn.decl.Body)
			found = append(found, v.found...)
			waiting = append(waiting, v.mentioned...)
		}
	}
	return found
}

// testFuncs are the functions of a package's tests by name; several methods may have one.
func testFuncs(p *Package) map[string][]testFunc {
	funcs := map[string][]testFunc{}
	for _, f := range p.Files {
		if !f.Test {
			continue
		}
		for _, decl := range f.AST.Decls {
			if decl, ok := decl.(*ast.FuncDecl); ok && decl.Body != nil {
				funcs[decl.Name.Name] = append(funcs[decl.Name.Name], testFunc{f, decl})
			}
		}
	}
	return funcs
}

// isRoot tells whether the testing package calls a function.
func isRoot(f *ast.FuncDecl) bool {
	for _, prefix := range []string{"Test", "Benchmark", "Fuzz", "Example"} {
		if f.Recv == nil && strings.HasPrefix(f.Name.Name, prefix) {
			return true
		}
	}
	return false
}

// wrappers are the names of functions, other than tests, that call synctest.Test, or hand a parameter on to one of these.
func wrappers(funcs map[string][]testFunc) map[string]bool {
	names := map[string]bool{}
	for more := true; more; {
		more = false
		for name, list := range funcs {
			for _, fn := range list {
				if !names[name] && !isRoot(fn.decl) && fn.wraps(names) {
					names[name], more = true, true
				}
			}
		}
	}
	return names
}

func (fn testFunc) wraps(known map[string]bool) bool {
	found := false
	ast.Inspect(fn.decl.Body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch fun := ast.Unparen(call.Fun).(type) {
		case *ast.SelectorExpr:
			found = found || fn.file.selects(fun, "testing/synctest", "Test")
		case *ast.Ident:
			found = found || known[fun.Name] && slices.ContainsFunc(call.Args, fn.isParameter)
		}
		return true
	})
	return found
}

// isParameter tells whether an expression is a parameter whose type is spelled as a function.
func (fn testFunc) isParameter(e ast.Expr) bool {
	name, ok := e.(*ast.Ident)
	if !ok || name.Obj == nil {
		return false
	}
	field, ok := name.Obj.Decl.(*ast.Field)
	if !ok {
		return false
	}
	_, ok = field.Type.(*ast.FuncType)
	return ok
}

// sleepVisitor walks a function that runs in real time.
type sleepVisitor struct {
	tree      *Tree
	fn        testFunc
	funcs     map[string][]testFunc // not yet reached
	wrappers  map[string]bool
	excused   map[int]bool
	mentioned []string // functions of the tests that it may call
	found     []Finding
}

// Visit implements ast.Visitor.
func (v *sleepVisitor) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.CallExpr:
		if v.opensBubble(n) {
			v.besideBubble(n)
			return nil
		}
	case *ast.SelectorExpr:
		if v.fn.file.selects(n, "time", "Sleep") && !v.excused[v.tree.line(n.Pos())] {
			v.found = append(v.found, v.tree.at(n.Pos(), "time.Sleep in a test: wait on a condition or a signal"))
		}
	case *ast.Ident:
		if _, ok := v.funcs[n.Name]; ok {
			v.mentioned = append(v.mentioned, n.Name)
		}
	}
	return v
}

func (v *sleepVisitor) opensBubble(call *ast.CallExpr) bool {
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		return v.wrappers[fun.Name]
	case *ast.SelectorExpr:
		return v.wrappers[fun.Sel.Name] || v.fn.file.selects(fun, "testing/synctest", "Test")
	}
	return false
}

// besideBubble walks the parts of a call that are not the bubble's function.
func (v *sleepVisitor) besideBubble(call *ast.CallExpr) {
	ast.Walk(v, call.Fun)
	for _, arg := range call.Args {
		if _, ok := arg.(*ast.FuncLit); !ok {
			ast.Walk(v, arg)
		}
	}
}

// selects tells whether a selector names something of an imported package.
func (f *File) selects(sel *ast.SelectorExpr, pkg, name string) bool {
	x, ok := sel.X.(*ast.Ident)
	return ok && sel.Sel.Name == name && x.Obj == nil && x.Name == f.importName(pkg)
}
