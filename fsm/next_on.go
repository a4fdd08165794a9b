//go:build nextlevel

package fsm

import (
	"maps"
	"math"
	"slices"
)

// This is a feature level that no release has: the smallest one with a command, a replicated object and a replicated number, so that everything a level can
// bring is brought by one in tests. Its numbers are the last ones, where no release will come.

// FeatureLevelMax is the newest feature level that this program can apply.
const FeatureLevelMax = 2

// KindPutNote is the kind of PutNote. objectNote is the kind of its object.
const (
	KindPutNote CommandKind = math.MaxUint8

	objectNote uint8 = math.MaxUint8
)

// PutNote keeps a text under a name. Operator call. Reply: PreconditionFailed without a name, NotYet before level 2.
type PutNote struct {
	Ref        Ref
	Name, Text string
}

// nextState is what level 2 adds to the state.
type nextState struct {
	notes map[string]*note
	puts  uint64 // number of PutNote ever
}

type note struct {
	cold
	name, text string
}

func nextVersionOfLevel(level uint32) string {
	if level == 2 {
		return "nextlevel"
	}
	return ""
}

func nextKindLevel(kind CommandKind) uint32 {
	if kind == KindPutNote {
		return 2
	}
	return 0
}

func nextKindName(kind CommandKind) string {
	if kind == KindPutNote {
		return "note.put"
	}
	return ""
}

func newNextCommand(kind CommandKind) decodable {
	if kind == KindPutNote {
		return new(PutNote)
	}
	return nil
}

// Append writes the command.
func (c *PutNote) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutNote, c.Ref)
	dst = appendLong(appendShort(dst, c.Name), c.Text)
	return endCommand(dst, start, 0)
}

func (c *PutNote) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutNote{Ref: ref, Name: r.shortString(), Text: r.longString()}
	return r.end(KindPutNote)
}

func (s *State) operateNext(kind CommandKind, ref Ref, payload []byte) *refusal {
	if kind != KindPutNote {
		return refuse(NotImplemented, "%v is no operator's command", kind)
	}
	var c PutNote
	s.decoded(c.decode(ref, payload))
	if c.Name == "" {
		return refuse(PreconditionFailed, "a note needs a name")
	}
	s.next.puts++
	s.addNote(c.Name, c.Text)
	return nil
}

func (s *State) addNote(name, text string) {
	if s.next.notes == nil {
		s.next.notes = map[string]*note{}
	}
	n := s.next.notes[name]
	if n == nil {
		n = &note{name: name}
		s.next.notes[name] = n
	}
	n.text = text
	s.touch(n)
}

// Note returns a note.
func (s *State) Note(name string) (text string, ok bool) {
	if n := s.next.notes[name]; n != nil {
		return n.text, true
	}
	return "", false
}

func (n *note) encode(dst []byte) []byte {
	return putText(putText(append(dst, objectNote), n.name), n.text)
}

// objects are those that level 2 adds, in the order of their names.
func (n *nextState) objects() (notes []object) {
	for _, name := range slices.Sorted(maps.Keys(n.notes)) {
		notes = append(notes, n.notes[name])
	}
	return notes
}

// encodeNextHead writes what level 2 adds to the head, behind what level 1 has: numbers belong there, because the digest hashes the head whole.
func (s *State) encodeNextHead(dst []byte) []byte {
	if s.level < 2 {
		return dst
	}
	return putUint(dst, s.next.puts)
}

// encodeNext writes the lists of objects that level 2 adds, behind those of level 1.
func (s *State) encodeNext(dst []byte) []byte {
	if s.level < 2 {
		return dst
	}
	return encodeAll(dst, s.next.objects())
}

// nextHead reads what encodeNextHead writes.
func (r *restorer) nextHead() {
	if r.err == nil && r.s.level >= 2 {
		r.s.next.puts = r.uint(math.MaxUint64)
	}
}

// next reads what encodeNext writes.
func (r *restorer) next() {
	if r.err != nil || r.s.level < 2 {
		return
	}
	r.each(r.note)
}

func (r *restorer) note() {
	r.kind(objectNote)
	name, text := r.text(), r.text()
	if _, twice := r.s.Note(name); twice || name == "" {
		r.fail(errSnapshotReference)
	}
	if r.err == nil {
		r.s.addNote(name, text)
	}
}
