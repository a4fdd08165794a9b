package lint

import (
	"errors"
	"go/ast"
	"go/importer"
	"go/types"
	"path"
)

// checker type-checks packages of a tree, and what they import of it, from the parsed files; the standard library from its
// source. It needs neither compiled packages nor the go command.
type checker struct {
	tree     *Tree
	standard types.Importer
	done     map[string]*checked // by folder
}

type checked struct {
	types *types.Package
	info  *types.Info
	err   error
}

func newChecker(t *Tree) *checker {
	return &checker{tree: t, standard: importer.ForCompiler(t.Fset, "source", nil), done: map[string]*checked{}}
}

var errNotFound = errors.New("no such package in the tree")

// Import implements types.Importer.
func (c *checker) Import(importPath string) (*types.Package, error) {
	dir, ok := ours(importPath)
	if !ok {
		return c.standard.Import(importPath)
	}
	for _, p := range c.tree.Packages {
		if p.Dir == dir {
			pkg, err := c.load(p)
			return pkg.types, err
		}
	}
	return nil, errNotFound
}

// load type-checks the files of a package that are in the build, without its tests. What could be found out is there even
// if there is an error, the first one.
func (c *checker) load(p *Package) (*checked, error) {
	if pkg, ok := c.done[p.Dir]; ok {
		return pkg, pkg.err
	}
	pkg := &checked{info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}}
	c.done[p.Dir] = pkg
	var files []*ast.File
	for _, f := range p.Files {
		if f.Built && !f.Test {
			files = append(files, f.AST)
		}
	}
	config := types.Config{Importer: c, Error: func(err error) {
		if pkg.err == nil {
			pkg.err = err
		}
	}}
	pkg.types, _ = config.Check(path.Join(Module, p.Dir), c.tree.Fset, files, pkg.info) // Error has seen every fault
	return pkg, pkg.err
}
