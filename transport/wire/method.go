package wire

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/triagemq/triagemq/fsm/content"
)

// MethodID is class id << 16 | method id.
type MethodID uint32

// Class and Method are the two halves.
func (id MethodID) Class() uint16  { return uint16(id >> 16) }
func (id MethodID) Method() uint16 { return uint16(id) }

// String is the method's name as the specification has it, "queue.declare".
func (id MethodID) String() string {
	if name := methodName(id); name != "" {
		return name
	}
	return fmt.Sprintf("%d.%d", id.Class(), id.Method())
}

// Method is one of the generated structs. Append writes ids and arguments, Decode reads the arguments alone and refuses bytes
// that are left over (ErrSyntax), and short strings that are not UTF-8 (ErrUTF8). Byte slices that Decode sets alias its input.
type Method interface {
	ID() MethodID
	Append(dst []byte) []byte
	Decode(arguments []byte) error
}

// SplitMethod takes the ids off a method frame's payload.
func SplitMethod(payload []byte) (id MethodID, arguments []byte, err error) {
	if len(payload) < 4 {
		return 0, nil, fmt.Errorf("%w: method frame of %d bytes", ErrSyntax, len(payload))
	}
	return MethodID(binary.BigEndian.Uint32(payload)), payload[4:], nil
}

// arguments reads a method's arguments one by one; after the first fault it reads zeros and finish tells.
type arguments struct {
	b      []byte
	broken bool
	noText bool // a short string is not UTF-8
}

func (a *arguments) take(n int) []byte {
	if a.broken || len(a.b) < n {
		a.broken = true
		return nil
	}
	p := a.b[:n:n]
	a.b = a.b[n:]
	return p
}

func (a *arguments) octet() uint8 {
	if p := a.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (a *arguments) short() uint16 {
	if p := a.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (a *arguments) long() uint32 {
	if p := a.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (a *arguments) longlong() uint64 {
	if p := a.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (a *arguments) shortstr() []byte {
	s := a.take(int(a.octet()))
	a.noText = a.noText || !utf8.Valid(s)
	return s
}

func (a *arguments) longstr() []byte {
	n := a.long()
	if uint64(n) > uint64(len(a.b)) { // before the conversion, which could overflow where int has 32 bits
		a.broken = true
		return nil
	}
	return a.take(int(n))
}

// table returns an encoded table with its length, or nil for an empty one. It has been validated: who carries it on may trust it.
func (a *arguments) table() []byte {
	if a.broken {
		return nil
	}
	encoded, rest, err := content.ScanTable(a.b)
	if err != nil {
		a.broken = true
		return nil
	}
	a.b = rest
	if len(encoded) == 4 { // the length alone
		return nil
	}
	return encoded
}

func (a *arguments) finish(id MethodID) error {
	if a.broken {
		return fmt.Errorf("%w: arguments of %v", ErrSyntax, id)
	}
	if len(a.b) > 0 {
		return fmt.Errorf("%w: %d bytes after the arguments of %v", ErrSyntax, len(a.b), id)
	}
	if a.noText {
		return ErrUTF8
	}
	return nil
}

// appendShortstr writes at most 255 bytes of s: only texts for people can be longer. They lose their end as in RabbitMQ, but never
// half a character: some clients refuse what is not UTF-8.
func appendShortstr[S string | []byte](dst []byte, s S) []byte {
	if len(s) <= 255 {
		return append(append(dst, byte(len(s))), s...)
	}
	const dots = "..."
	end := 255 - len(dots)
	for i := end; i > end-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			end = i
			break
		}
	}
	dst = append(dst, byte(end+len(dots)))
	return append(append(dst, s[:end]...), dots...)
}

func appendLongstr(dst, s []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

func appendTable(dst, encoded []byte) []byte {
	if len(encoded) == 0 {
		return append(dst, 0, 0, 0, 0)
	}
	return append(dst, encoded...)
}

func bit(set bool, mask byte) byte {
	if set {
		return mask
	}
	return 0
}
