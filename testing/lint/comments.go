package lint

import (
	"fmt"
	"go/ast"
	"slices"
)

// Comments finds packages without a package comment and exported names without a comment. A name in a group is documented
// by its own comment, the one at the end of its line, or the group's; functions that follow one another without an empty line
// are a group. Methods in wellKnown need no comment. Tests and generated files are free.
func Comments(t *Tree) []Finding {
	var found []Finding
	for _, p := range t.Packages {
		var first *File
		described := false
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			if first == nil {
				first = f
			}
			described = described || f.AST.Doc != nil
			if !f.generated() {
				found = append(found, commentsOf(t, f)...)
			}
		}
		if first != nil && !described {
			found = append(found, t.at(first.AST.Package, fmt.Sprintf("package %s has no comment", first.AST.Name.Name)))
		}
	}
	return found
}

// wellKnown are methods whose meaning the standard library defines.
var wellKnown = []string{"Error", "Is", "String", "Unwrap"}

func commentsOf(t *Tree, f *File) []Finding {
	var found []Finding
	missing := func(name *ast.Ident) {
		found = append(found, t.at(name.Pos(), fmt.Sprintf("exported %s has no comment", name.Name)))
	}
	groupEnd := -1 // the last line of a group of functions whose first has a comment
	for _, decl := range f.AST.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			switch {
			case decl.Doc != nil || t.line(decl.Pos()) == groupEnd+1:
				groupEnd = t.line(decl.End())
			case exported(decl):
				missing(decl.Name)
			}
		case *ast.GenDecl:
			for _, name := range undocumented(decl) {
				missing(name)
			}
		}
	}
	return found
}

// exported tells whether a function can be named from outside the package and asks for a comment.
func exported(f *ast.FuncDecl) bool {
	if !f.Name.IsExported() {
		return false
	}
	if f.Recv == nil {
		return true
	}
	return receiver(f).IsExported() && !slices.Contains(wellKnown, f.Name.Name)
}

func receiver(f *ast.FuncDecl) *ast.Ident {
	e := f.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.Ident:
			return x
		default:
			return ast.NewIdent("_")
		}
	}
}

// undocumented are the exported names of a declaration that nothing describes.
func undocumented(decl *ast.GenDecl) []*ast.Ident {
	if decl.Doc != nil {
		return nil
	}
	var names []*ast.Ident
	for _, spec := range decl.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if spec.Doc == nil && spec.Comment == nil && spec.Name.IsExported() {
				names = append(names, spec.Name)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if spec.Doc == nil && spec.Comment == nil && name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}
