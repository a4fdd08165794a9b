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
	if a, ok := a.(string); ok { // by far the most frequent, and without allocation
		b, ok := b.(string)
		return ok && a == b
	}
	var bufA, bufB [64]byte
	return bytes.Equal(AppendCanonical(bufA[:0], a), AppendCanonical(bufB[:0], b))
}

// AppendCanonical writes a value so that two values have the same bytes if and only if they are Equal. The bytes are for
// comparing and hashing; they are not wire format.
func AppendCanonical(dst []byte, v any) []byte {
	if n, ok := Integer(v); ok {
		return binary.BigEndian.AppendUint64(append(dst, typeInt64), uint64(n))
	}
	switch v := v.(type) {
	case Float32:
		return AppendCanonical(dst, v.widen())
	case Float64:
		if v<<1 == 0 {
			v = 0
		}
		return appendValue(dst, v)
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
