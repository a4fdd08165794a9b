package content

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Equal compares two values as RabbitMQ compares arguments: integers by value, not by wire type; floats too, with 0 and -0
// alike; fields of tables in any order (fields of the same name in theirs). Values of different classes differ: the
// integer 1, the float 1, the string "1" and the bytes "1" are four things. It is an equivalence relation.
func Equal(a, b any) bool {
	if n, ok := Integer(a); ok {
		m, ok := Integer(b)
		return ok && n == m
	}
	if f, ok := double(a); ok {
		g, ok := double(b)
		return ok && f == g
	}
	switch a.(type) {
	case []byte, Array, Table: // what Go cannot compare
		return bytes.Equal(AppendCanonical(nil, a), AppendCanonical(nil, b))
	}
	return a == b
}

// AppendCanonical writes a value so that two values have the same bytes if and only if they are Equal. The bytes are for
// comparing and hashing; they are not wire format.
func AppendCanonical(dst []byte, v any) []byte {
	if n, ok := Integer(v); ok {
		return binary.BigEndian.AppendUint64(append(dst, typeInt64), uint64(n))
	}
	if f, ok := double(v); ok {
		return binary.BigEndian.AppendUint64(append(dst, typeFloat64), uint64(f))
	}
	switch v := v.(type) {
	case Array:
		dst, at := beginLong(append(dst, typeArray))
		for _, e := range v {
			dst = AppendCanonical(dst, e)
		}
		return endLong(dst, at)
	case Table:
		return appendCanonicalTable(dst, v)
	}
	return appendValue(dst, v)
}

func appendCanonicalTable(dst []byte, t Table) []byte {
	byName := func(a, b Field) int { return cmp.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(t, byName) {
		t = slices.Clone(t)
		slices.SortStableFunc(t, byName)
	}
	dst, at := beginLong(append(dst, typeTable))
	for _, f := range t {
		dst = appendShort(dst, f.Name)
		dst = AppendCanonical(dst, f.Value)
	}
	return endLong(dst, at)
}

// double is the value of a float in double precision, with one zero.
func double(v any) (f Float64, ok bool) {
	switch v := v.(type) {
	case Float32:
		f = v.widen()
	case Float64:
		f = v
	default:
		return 0, false
	}
	if f<<1 == 0 {
		f = 0
	}
	return f, true
}

// widen converts to double precision on the bits: every single is exactly a double.
func (f Float32) widen() Float64 {
	const (
		fractionBits = 23
		fractionMask = 1<<fractionBits - 1
		moreFraction = 52 - fractionBits
		biasShift    = 1023 - 127
	)
	sign := Float64(f>>31) << 63
	exponent := Float64(f>>fractionBits) & 0xff
	fraction := Float64(f & fractionMask)
	switch {
	case exponent == 0xff: // infinities and NaNs
		return sign | 0x7ff<<52 | fraction<<moreFraction
	case exponent == 0 && fraction == 0:
		return sign
	case exponent == 0: // subnormal: a double has the range to write it with a leading 1
		exponent = 1
		for fraction>>fractionBits == 0 {
			fraction <<= 1
			exponent--
		}
		fraction &= fractionMask
	}
	return sign | (exponent+biasShift)<<52 | fraction<<moreFraction
}
