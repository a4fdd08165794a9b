package content

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Field types as RabbitMQ and its clients use them. They differ from the letters of AMQP 0-9-1 §4.2.1 where the specification
// and what was deployed disagreed: 's' is a 16-bit integer, 'l' signed. 'L' is what py-amqp writes for integers beyond int64.
const (
	typeBool      = 't'
	typeInt8      = 'b'
	typeUint8     = 'B'
	typeInt16     = 's'
	typeUint16    = 'u'
	typeInt32     = 'I'
	typeUint32    = 'i'
	typeInt64     = 'l'
	typeUint64    = 'L'
	typeFloat32   = 'f'
	typeFloat64   = 'd'
	typeDecimal   = 'D'
	typeString    = 'S'
	typeBytes     = 'x'
	typeTimestamp = 'T'
	typeArray     = 'A'
	typeTable     = 'F'
	typeVoid      = 'V'
)

// Float32 and Float64 are IEEE 754 bits: the state machine carries floats and never computes with them.
type (
	Float32 uint32
	Float64 uint64
)

// Timestamp is seconds since 1970 (AMQP 0-9-1 §4.2.5.4).
type Timestamp uint64

// Decimal is Value / 10^Scale.
type Decimal struct {
	Scale uint8
	Value uint32
}

// Integer widens any integer value to int64; ok is false for other types and for uint64 beyond int64.
func Integer(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= 1<<63-1
	}
	return 0, false
}

// appendValue writes a type octet and the value.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, typeVoid)
	case bool:
		return append(dst, typeBool, boolOctet(v))
	case string:
		return append(appendLongLen(append(dst, typeString), len(v)), v...)
	case []byte:
		return append(appendLongLen(append(dst, typeBytes), len(v)), v...)
	case Table:
		return v.Append(append(dst, typeTable))
	case Array:
		return appendArray(append(dst, typeArray), v)
	case Timestamp:
		return binary.BigEndian.AppendUint64(append(dst, typeTimestamp), uint64(v))
	case Decimal:
		return binary.BigEndian.AppendUint32(append(dst, typeDecimal, v.Scale), v.Value)
	}
	return appendNumber(dst, v)
}

func appendNumber(dst []byte, v any) []byte {
	switch v := v.(type) {
	case int8:
		return append(dst, typeInt8, byte(v))
	case uint8:
		return append(dst, typeUint8, v)
	case int16:
		return binary.BigEndian.AppendUint16(append(dst, typeInt16), uint16(v))
	case uint16:
		return binary.BigEndian.AppendUint16(append(dst, typeUint16), v)
	case int32:
		return binary.BigEndian.AppendUint32(append(dst, typeInt32), uint32(v))
	case uint32:
		return binary.BigEndian.AppendUint32(append(dst, typeUint32), v)
	case int64:
		return binary.BigEndian.AppendUint64(append(dst, typeInt64), uint64(v))
	case uint64:
		return binary.BigEndian.AppendUint64(append(dst, typeUint64), v)
	case Float32:
		return binary.BigEndian.AppendUint32(append(dst, typeFloat32), uint32(v))
	case Float64:
		return binary.BigEndian.AppendUint64(append(dst, typeFloat64), uint64(v))
	}
	panic(fmt.Sprintf("content: a field table cannot hold a %T", v))
}

func appendArray(dst []byte, a Array) []byte {
	dst, at := beginLong(dst)
	for _, v := range a {
		dst = appendValue(dst, v)
	}
	return endLong(dst, at)
}

func appendShort(dst []byte, s string) []byte {
	if len(s) > shortStringMax {
		panic(fmt.Sprintf("content: a short string of %d bytes", len(s)))
	}
	return append(append(dst, byte(len(s))), s...)
}

func boolOctet(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendLongLen(dst []byte, n int) []byte {
	if uint64(n) > math.MaxUint32 {
		panic(fmt.Sprintf("content: a long string of %d bytes", n))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}

// beginLong leaves room for a 4-byte length that endLong fills in.
func beginLong(dst []byte) (_ []byte, at int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

func endLong(dst []byte, at int) []byte {
	appendLongLen(dst[at:at], len(dst)-at-4)
	return dst
}

// TypeName is RabbitMQ's name of the type of a table's value, for texts.
func TypeName(v any) string {
	switch v.(type) {
	case bool:
		return "bool"
	case int8:
		return "byte"
	case uint8:
		return "unsignedbyte"
	case int16:
		return "short"
	case uint16:
		return "unsignedshort"
	case int32:
		return "signedint"
	case uint32:
		return "unsignedint"
	case int64:
		return "long"
	case Float32:
		return "float"
	case Float64:
		return "double"
	case Decimal:
		return "decimal"
	case Timestamp:
		return "timestamp"
	case string:
		return "longstr"
	case []byte:
		return "binary"
	case Array:
		return "array"
	case Table:
		return "table"
	case nil:
		return "void"
	}
	return "unknown"
}
