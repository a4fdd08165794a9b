// Package lint keeps the rules of this code base that no general tool knows: which folder may import which, what the
// replicated state machine must not touch, and habits that readers rely on. It runs as a plain test (lint_test.go) over the
// source as it lies on disk, so a wrong import is a red test with a file and a line.
//
// Each rule is a function from a Tree to findings and has its file. Each is also run over a bad sample under testdata, where
// comments of the form
//
//	// want "part of the text"
//
// mark the lines that it must find, and no others: a rule that cannot fail is worth nothing. To add a rule, write the sample
// first and put both into the list in lint_test.go.
package lint

import (
	"fmt"
	"go/token"
)

// Finding is one violation.
type Finding struct {
	Pos  token.Position // Filename is relative to the root of the tree
	Text string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s", f.Pos.Filename, f.Pos.Line, f.Text)
}
