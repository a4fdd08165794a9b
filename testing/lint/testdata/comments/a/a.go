package a // want "package a has no comment"

// T has a comment.
type T struct{}

func (T) Error() string { return "" }

func (T) Bare() {} // want "exported Bare has no comment"

type hidden struct{}

func (hidden) Bare() {}

// Append implements something.
func (T) Append() {}
func (U) Append() {}

func (U) Append2() {} // want "exported Append2 has no comment"

type (
	U struct{}
	// want above "exported U has no comment"
)

type V struct{} // V has a comment at the end.

func F() {} // want "exported F has no comment"

// A group.
const (
	A = 1
	B = 2
)

const (
	C = 1 // C has its own.
	// D too.
	D = 2
	E = 3 // E. want
)

var G = 1 // G.

const (
	// H is here.
	H = 1

	I = 2
	// want above "exported I has no comment"
)

func g() {}
