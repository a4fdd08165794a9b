package content

import "slices"

// Table is an AMQP field table (AMQP 0-9-1 §4.2.5.5) in wire order. Values are one of: nil, bool, int8, uint8, int16, uint16,
// int32, uint32, int64, uint64, Float32, Float64, Decimal, string (long string 'S'), []byte ('x'), Timestamp, Array, Table.
// A name may occur twice: the first one counts.
type Table []Field

// Field is one entry of a Table. Name is at most 255 bytes.
type Field struct {
	Name  string
	Value any
}

// Array is an AMQP field array; its values are those of Table.
type Array []any

// DecodeTable reads a table with its leading 4-byte length and returns it with the bytes that follow. An empty table is nil.
// The table shares no memory with b. Errors wrap ErrMalformed.
func DecodeTable(b []byte) (t Table, rest []byte, err error) {
	r := reader{rest: b}
	t, err = r.table(1)
	if err != nil {
		return nil, nil, err
	}
	return t, r.rest, nil
}

// Append writes the table with its leading length. It panics where Validate would return an error.
func (t Table) Append(dst []byte) []byte {
	dst, at := beginLong(dst)
	for _, f := range t {
		dst = appendShort(dst, f.Name)
		dst = appendValue(dst, f.Value)
	}
	return endLong(dst, at)
}

// Get returns the first value called name.
func (t Table) Get(name string) (any, bool) {
	if i := t.index(name); i >= 0 {
		return t[i].Value, true
	}
	return nil, false
}

// With returns a copy in which name has the value; it keeps its position, or goes to the end.
func (t Table) With(name string, value any) Table {
	c := make(Table, len(t), len(t)+1)
	copy(c, t)
	if i := t.index(name); i >= 0 {
		c[i].Value = value
		return c
	}
	return append(c, Field{Name: name, Value: value})
}

// Without returns a copy that lacks name, every occurrence of it.
func (t Table) Without(name string) Table {
	return slices.DeleteFunc(slices.Clone(t), func(f Field) bool { return f.Name == name })
}

// Validate reports the first thing that Append would panic on or that DecodeTable would refuse of what it wrote.
func (t Table) Validate() error { return validateTable(t, 1) }

func (t Table) index(name string) int {
	return slices.IndexFunc(t, func(f Field) bool { return f.Name == name })
}
