//go:build !nextlevel

package fsm

// FeatureLevelMax is the newest feature level that this program can apply (version.go lists them). Programs built with the tag nextlevel know one more, with
// a command and an object of its own, so that the way from one level to the next is tested before a release takes it (next_on.go).
const FeatureLevelMax = 1

type nextState struct{}

func nextVersionOfLevel(uint32) string { return "" }

func nextKindLevel(CommandKind) uint32 { return 0 }

func nextKindName(CommandKind) string { return "" }

func newNextCommand(CommandKind) decodable { return nil }

func (s *State) operateNext(kind CommandKind, _ Ref, _ []byte) *refusal {
	return refuse(NotImplemented, "%v is no operator's command", kind)
}

func (*nextState) objects() []object { return nil }

func (s *State) encodeNextHead(dst []byte) []byte { return dst }

func (s *State) encodeNext(dst []byte) []byte { return dst }

func (r *restorer) nextHead() {}

func (r *restorer) next() {}
