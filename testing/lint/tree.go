package lint

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of our module.
const Module = "github.com/triagemq/triagemq"

// Tree is the parsed source below a root folder.
type Tree struct {
	Root     string
	Fset     *token.FileSet
	Packages []*Package // by Dir
}

// Package is the Go files of one folder.
type Package struct {
	Dir   string // slash-separated, relative to the root; "." is the root
	Files []*File
}

// File is one parsed Go file.
type File struct {
	Name  string // relative to the root
	AST   *ast.File
	Test  bool // _test.go
	Built bool // part of a build without extra tags on this machine
}

// Load parses every Go file below root, but for folders that the go tool ignores (testdata, names beginning with . or _)
// and the tree's own nested modules.
func Load(root string) (*Tree, error) {
	t := &Tree{Root: root, Fset: token.NewFileSet()}
	byDir := map[string]*Package{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && ignored(entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		f, err := t.parse(name)
		if err != nil {
			return err
		}
		dir := path.Dir(f.Name)
		if byDir[dir] == nil {
			byDir[dir] = &Package{Dir: dir}
			t.Packages = append(t.Packages, byDir[dir])
		}
		byDir[dir].Files = append(byDir[dir].Files, f)
		return nil
	})
	return t, err
}

func ignored(folder string) bool {
	return folder == "testdata" || folder == "tools" || folder == "node_modules" || strings.HasPrefix(folder, ".") || strings.HasPrefix(folder, "_")
}

func (t *Tree) parse(name string) (*File, error) {
	rel, err := filepath.Rel(t.Root, name)
	if err != nil {
		return nil, err
	}
	rel = filepath.ToSlash(rel)
	tree, err := parser.ParseFile(t.Fset, name, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	built, err := build.Default.MatchFile(filepath.Split(name))
	if err != nil {
		return nil, err
	}
	return &File{Name: rel, AST: tree, Test: strings.HasSuffix(rel, "_test.go"), Built: built}, nil
}

// at makes a finding.
func (t *Tree) at(pos token.Pos, text string) Finding {
	p := t.Fset.Position(pos)
	if rel, err := filepath.Rel(t.Root, p.Filename); err == nil {
		p.Filename = filepath.ToSlash(rel)
	}
	return Finding{Pos: p, Text: text}
}

func (t *Tree) line(pos token.Pos) int { return t.Fset.Position(pos).Line }

// files yields every file with its package.
func (t *Tree) files(yield func(*Package, *File) bool) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if !yield(p, f) {
				return
			}
		}
	}
}

// below tells whether a folder is one of roots or lies in one.
func below(dir string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return dir == root || strings.HasPrefix(dir, root+"/")
	})
}

// importPath is what an import names.
func importPath(spec *ast.ImportSpec) string {
	p, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
	return p
}

// ours returns the folder of a package of our module.
func ours(importPath string) (dir string, ok bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}

// standard tells whether an import is of the standard library, whose first element has no dot.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// importName is the name by which a file refers to an imported package, "" if it does not import it.
func (f *File) importName(wanted string) string {
	for _, spec := range f.AST.Imports {
		if importPath(spec) != wanted {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(wanted)
	}
	return ""
}

// generated tells whether a file carries the line that generators write (go help generate).
func (f *File) generated() bool { return ast.IsGenerated(f.AST) }

// markedLines are the lines that a marking comment excuses: its own and the next. A mark without a reason excuses nothing.
func markedLines(t *Tree, f *File, mark string) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.AST.Comments {
		for _, c := range group.List {
			if why, ok := strings.CutPrefix(c.Text, mark); ok && strings.TrimSpace(why) != "" {
				line := t.line(c.Pos())
				lines[line], lines[line+1] = true, true
			}
		}
	}
	return lines
}
