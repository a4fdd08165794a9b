package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
)

// State finds what makes packages hard to reason about before any of their functions is called: init functions, and
// package-level variables that can change. A variable of a package may hold a table, an error, a compiled expression: what
// nothing in the package assigns to, takes the address of, or changes an element or field of. Types of sync and sync/atomic
// are there to be changed and therefore refused, but for sync.Pool and the Once functions, which hold nothing that anyone
// can tell apart. Tests and the packages below testing are free.
func State(t *Tree) []Finding {
	var found []Finding
	for _, p := range t.Packages {
		if below(p.Dir, "testing") {
			continue
		}
		found = append(found, stateOf(t, p)...)
	}
	return found
}

func stateOf(t *Tree, p *Package) []Finding {
	var found []Finding
	variables := map[string]*ast.ValueSpec{}
	for _, f := range p.Files {
		if f.Test {
			continue
		}
		for _, decl := range f.AST.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv == nil && decl.Name.Name == "init" {
					found = append(found, t.at(decl.Pos(), "an init function"))
				}
			case *ast.GenDecl:
				found = append(found, collectVariables(t, f, decl, variables)...)
			}
		}
	}
	for _, f := range p.Files {
		if !f.Test {
			w := &writeVisitor{tree: t, variables: variables}
			ast.Walk(w, f.AST)
			found = append(found, w.found...)
		}
	}
	return found
}

// collectVariables adds the variables of a declaration and finds those whose type alone is reason enough.
func collectVariables(t *Tree, f *File, decl *ast.GenDecl, variables map[string]*ast.ValueSpec) []Finding {
	if decl.Tok != token.VAR {
		return nil
	}
	var found []Finding
	for _, spec := range decl.Specs {
		spec := spec.(*ast.ValueSpec)
		for _, name := range spec.Names {
			if name.Name != "_" {
				variables[name.Name] = spec
			}
		}
		if isLock(f, spec) {
			found = append(found, t.at(spec.Pos(), fmt.Sprintf("package-level variable %s is made to be changed", spec.Names[0].Name)))
		}
	}
	return found
}

// harmless are the names of package sync that a package-level variable may use.
var harmless = []string{"Pool", "OnceFunc", "OnceValue", "OnceValues"}

// isLock tells whether a declaration names a type of sync or sync/atomic, or makes a channel.
func isLock(f *File, spec *ast.ValueSpec) bool {
	locks := false
	inspect := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ChanType:
			locks = true
		case *ast.SelectorExpr:
			pkg, ok := n.X.(*ast.Ident)
			if !ok {
				return true
			}
			inSync := pkg.Name == f.importName("sync") && !slices.Contains(harmless, n.Sel.Name)
			locks = locks || inSync || pkg.Name == f.importName("sync/atomic")
		}
		return true
	}
	if spec.Type != nil {
		ast.Inspect(spec.Type, inspect)
	}
	for _, v := range spec.Values {
		ast.Inspect(v, inspect)
	}
	return locks
}

// writeVisitor finds what changes a package-level variable.
type writeVisitor struct {
	tree      *Tree
	variables map[string]*ast.ValueSpec
	found     []Finding
}

// Visit implements ast.Visitor.
func (w *writeVisitor) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			for _, target := range n.Lhs {
				w.written(target)
			}
		}
	case *ast.IncDecStmt:
		w.written(n.X)
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			w.written(n.Key)
			w.written(n.Value)
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			w.written(n.X)
		}
	case *ast.CallExpr:
		if fun, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, fun.Name) {
			w.written(n.Args[0])
		}
	}
	return w
}

// written finds a target that is a package-level variable or a part of one.
func (w *writeVisitor) written(target ast.Expr) {
	switch e := target.(type) {
	case *ast.ParenExpr:
		w.written(e.X)
	case *ast.IndexExpr:
		w.written(e.X)
	case *ast.SliceExpr:
		w.written(e.X)
	case *ast.SelectorExpr:
		w.written(e.X)
	case *ast.StarExpr:
		w.written(e.X)
	case *ast.Ident:
		spec, ok := w.variables[e.Name]
		if ok && (e.Obj == nil || e.Obj.Decl == spec) { // not a local variable of that name
			w.found = append(w.found, w.tree.at(target.Pos(), fmt.Sprintf("package-level variable %s is changed", e.Name)))
		}
	}
}
