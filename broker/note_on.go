//go:build nextlevel

package broker

import (
	"context"

	"github.com/triagemq/triagemq/fsm"
)

// PutNote is the command of the feature level that no release has (fsm.PutNote).
func (n *Node) PutNote(ctx context.Context, name, text string) error {
	return n.administer(ctx, []string{name}, func(ref fsm.Ref) fsm.Command { return &fsm.PutNote{Ref: ref, Name: name, Text: text} })
}

// Note is what PutNote left.
func (n *Node) Note(name string) (text string, ok bool) {
	n.replica.view(func(s *fsm.State) { text, ok = s.Note(name) })
	return text, ok
}
