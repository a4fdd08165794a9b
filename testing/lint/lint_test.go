package lint

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rules are all rules over Go source; each has a sample of its name below testdata.
var rules = []struct {
	name  string
	check func(*Tree) []Finding
}{
	{"arrows", Arrows},
	{"purity", Purity},
	{"state", State},
	{"names", Names},
	{"sleeps", Sleeps},
	{"comments", Comments},
}

const repository = "../.."

// TestRepository is the point of this package.
func TestRepository(t *testing.T) {
	tree, err := Load(repository)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Packages) < 5 {
		t.Fatalf("only %d packages were found", len(tree.Packages))
	}
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) { report(t, rule.check(tree)) })
	}
	t.Run("paths", func(t *testing.T) {
		found, err := Paths(repository, tracked(t))
		if err != nil {
			t.Fatal(err)
		}
		report(t, found)
	})
}

func report(t *testing.T, found []Finding) {
	slices.SortFunc(found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Pos.Filename, b.Pos.Filename), cmp.Compare(a.Pos.Line, b.Pos.Line))
	})
	for _, f := range found {
		t.Error(f)
	}
}

// tracked lists what git has or would add; all files where the source came without its history.
func tracked(t *testing.T) []string {
	out, err := exec.Command("git", "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ":!:testing/lint/testdata").Output()
	if err != nil {
		return walk(t, repository)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func walk(t *testing.T, root string) []string {
	var names []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		names = append(names, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestSamples runs each rule over its bad sample: it must find every line that wants a finding, and no other.
func TestSamples(t *testing.T) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			root := filepath.Join("testdata", rule.name)
			tree, err := Load(root)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, wanted(tree), rule.check(tree))
		})
	}
}

func TestPathsSample(t *testing.T) {
	root := filepath.Join("testdata", "paths")
	found, err := Paths(root, append(walk(t, root), "deleted.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "bad.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range strings.Split(string(text), "\n") {
		at := fmt.Sprintf("bad.txt:%d", i+1)
		hit := slices.ContainsFunc(found, func(f Finding) bool { return line(f) == at })
		if hit != strings.HasSuffix(s, "BAD") {
			t.Errorf("%s: found: %v", at, hit)
		}
	}
}

// want is what a comment in a sample asks for.
type want struct {
	line string // file:line
	text string
}

// wantComment captures what a line wants; "above" speaks of the line before, where a comment would be taken for documentation.
var wantComment = regexp.MustCompile(`// want( above)? "([^"]*)"`)

func wanted(tree *Tree) []want {
	var list []want
	for _, f := range tree.files {
		for _, group := range f.AST.Comments {
			for _, c := range group.List {
				for _, m := range wantComment.FindAllStringSubmatch(c.Text, -1) {
					at := tree.at(c.Pos(), "")
					if m[1] != "" {
						at.Pos.Line--
					}
					list = append(list, want{line(at), m[2]})
				}
			}
		}
	}
	return list
}

func line(f Finding) string { return fmt.Sprintf("%s:%d", f.Pos.Filename, f.Pos.Line) }

func compare(t *testing.T, wants []want, found []Finding) {
	if len(wants) == 0 {
		t.Fatal("the sample wants nothing")
	}
	for _, f := range found {
		i := slices.IndexFunc(wants, func(w want) bool { return w.line == line(f) && strings.Contains(f.Text, w.text) })
		if i < 0 {
			t.Errorf("not wanted: %v", f)
			continue
		}
		wants = slices.Delete(wants, i, i+1)
	}
	for _, w := range wants {
		t.Errorf("%s: not found: %s", w.line, w.text)
	}
}
