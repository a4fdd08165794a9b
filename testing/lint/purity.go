package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
)

// pureImports is what fsm may import of the standard library: nothing with a clock, I/O, randomness or concurrency.
var pureImports = []string{
	"bufio", "bytes", "cmp", "encoding/binary", "errors", "fmt", "hash/crc32", "io", "iter", "maps", "math", "math/bits",
	"regexp", // RE2: no clock, no randomness, linear time
	"slices", "sort", "strconv", "strings", "unicode/utf8",
}

// unorderedMark, with a reason behind it, excuses a map range on its own line or the next.
const unorderedMark = "//fsm:unordered "

// Purity finds what could make two replicas of fsm differ, or block the goroutine that applies the log: imports beyond
// pureImports, goroutines, channels, floats, and iteration in map order that is not marked //fsm:unordered WHY. Tests are
// free. Floats and maps are found by type, so a package that does not type-check is a finding too.
func Purity(t *Tree) []Finding {
	check := newChecker(t)
	var found []Finding
	for _, p := range t.Packages {
		if !below(p.Dir, "fsm") {
			continue
		}
		pkg, err := check.load(p)
		if err != nil {
			found = append(found, t.at(p.Files[0].AST.Package, fmt.Sprintf("package %s does not type-check: %v", p.Dir, err)))
		}
		for _, f := range p.Files {
			if !f.Test {
				found = append(found, purityOf(t, f, pkg.info)...)
			}
		}
	}
	return found
}

func purityOf(t *Tree, f *File, info *types.Info) []Finding {
	v := &purityVisitor{tree: t, info: info, excused: markedLines(t, f, unorderedMark)}
	for _, spec := range f.AST.Imports {
		path := importPath(spec)
		if standard(path) && !slices.Contains(pureImports, path) {
			v.find(spec.Pos(), "fsm must not import "+path)
		}
	}
	ast.Walk(v, f.AST)
	return v.found
}

type purityVisitor struct {
	tree    *Tree
	info    *types.Info
	excused map[int]bool
	found   []Finding
	sorted  []ast.Node // iterators whose caller sorts what they yield
}

// find notes a finding, one of a kind for each line.
func (v *purityVisitor) find(pos token.Pos, text string) {
	f := v.tree.at(pos, text)
	if !slices.ContainsFunc(v.found, func(g Finding) bool { return g.Pos.Line == f.Pos.Line && g.Text == text }) {
		v.found = append(v.found, f)
	}
}

// Visit implements ast.Visitor.
func (v *purityVisitor) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.GoStmt:
		v.find(n.Pos(), "a goroutine in fsm")
	case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
		v.find(n.Pos(), "a channel in fsm")
	case *ast.RangeStmt:
		v.rangeOver(n)
	case *ast.CallExpr:
		v.call(n)
	}
	if e, ok := n.(ast.Expr); ok {
		v.float(e)
	}
	return v
}

func (v *purityVisitor) float(e ast.Expr) {
	basic, ok := typeOf(v.info, e).(*types.Basic)
	if ok && basic.Info()&(types.IsFloat|types.IsComplex) != 0 {
		v.find(e.Pos(), "a float in fsm")
	}
}

func (v *purityVisitor) rangeOver(n *ast.RangeStmt) {
	if _, ok := typeOf(v.info, n.X).(*types.Map); ok {
		v.unordered(n.Pos())
	}
}

// call finds iterators in map order whose result is not sorted at once.
func (v *purityVisitor) call(n *ast.CallExpr) {
	if isFunc(v.info, n, "slices", "Sorted", "SortedFunc", "SortedStableFunc") && len(n.Args) > 0 {
		v.sorted = append(v.sorted, n.Args[0])
	}
	if isFunc(v.info, n, "maps", "Keys", "Values", "All") && !slices.Contains(v.sorted, ast.Node(n)) {
		v.unordered(n.Pos())
	}
}

func (v *purityVisitor) unordered(pos token.Pos) {
	if !v.excused[v.tree.line(pos)] {
		v.find(pos, "a range in map order in fsm, without "+unorderedMark+"WHY")
	}
}

// typeOf is the underlying type of an expression, nil where it has none. Type parameters stand for their core type.
func typeOf(info *types.Info, e ast.Expr) types.Type {
	t := info.TypeOf(e)
	if t == nil {
		return nil
	}
	if p, ok := types.Unalias(t).(*types.TypeParam); ok {
		return coreType(p)
	}
	return t.Underlying()
}

// coreType is the underlying type that all types of a constraint have, nil if they differ.
func coreType(p *types.TypeParam) types.Type {
	constraint, ok := p.Constraint().Underlying().(*types.Interface)
	if !ok || constraint.NumEmbeddeds() != 1 {
		return nil
	}
	if union, ok := constraint.EmbeddedType(0).(*types.Union); ok && union.Len() == 1 {
		return union.Term(0).Type().Underlying()
	}
	return nil
}

// isFunc tells whether a call is of one of the package's functions.
func isFunc(info *types.Info, call *ast.CallExpr, pkg string, names ...string) bool {
	fun := ast.Unparen(call.Fun)
	if index, ok := fun.(*ast.IndexExpr); ok {
		fun = index.X
	}
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	obj, ok := info.Uses[sel.Sel].(*types.Func)
	return ok && obj.Pkg() != nil && obj.Pkg().Path() == pkg && slices.Contains(names, obj.Name())
}
