package content

import "encoding/binary"

// reader consumes encoded content from the front. Its methods fail before they read or allocate beyond what is there.
type reader struct{ rest []byte }

func (r *reader) take(n int) ([]byte, error) {
	if n > len(r.rest) {
		return nil, errTruncated
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b, nil
}

func (r *reader) uint8() (uint8, error) {
	b, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (r *reader) uint16() (uint16, error) {
	b, err := r.take(2)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(b), nil
}

func (r *reader) uint32() (uint32, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(b), nil
}

func (r *reader) uint64() (uint64, error) {
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}

// short and long read a string with its length; the bytes alias the input.
func (r *reader) short() ([]byte, error) {
	n, err := r.uint8()
	if err != nil {
		return nil, err
	}
	return r.take(int(n))
}

func (r *reader) long() ([]byte, error) {
	n, err := r.uint32()
	if err != nil {
		return nil, err
	}
	if uint64(n) > uint64(len(r.rest)) { // compared wide: int may have 32 bits
		return nil, errTruncated
	}
	return r.take(int(n))
}

// table reads a table at a nesting depth, 1 being the outermost.
func (r *reader) table(depth int) (Table, error) {
	body, err := r.nested(depth)
	if err != nil {
		return nil, err
	}
	var t Table
	for len(body.rest) > 0 {
		if len(t) == EntriesMax {
			return nil, errEntries
		}
		name, err := body.short()
		if err != nil {
			return nil, err
		}
		v, err := body.value(depth)
		if err != nil {
			return nil, err
		}
		t = append(t, Field{Name: string(name), Value: v})
	}
	return t, nil
}

func (r *reader) array(depth int) (Array, error) {
	body, err := r.nested(depth)
	if err != nil {
		return nil, err
	}
	var a Array
	for len(body.rest) > 0 {
		if len(a) == EntriesMax {
			return nil, errEntries
		}
		v, err := body.value(depth)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	return a, nil
}

// nested splits off the body of a table or array.
func (r *reader) nested(depth int) (reader, error) {
	if depth > DepthMax {
		return reader{}, errDepth
	}
	b, err := r.long()
	return reader{rest: b}, err
}

// value reads a type octet and the value, in a table or array at that depth.
func (r *reader) value(depth int) (any, error) {
	typ, err := r.uint8()
	if err != nil {
		return nil, err
	}
	switch typ {
	case typeVoid:
		return nil, nil
	case typeString:
		b, err := r.long()
		return string(b), err
	case typeBytes:
		b, err := r.long()
		return append([]byte{}, b...), err
	case typeTable:
		return asValue(r.table(depth + 1))
	case typeArray:
		return asValue(r.array(depth + 1))
	}
	return r.fixed(typ)
}

// fixed reads a value whose size its type gives.
func (r *reader) fixed(typ byte) (any, error) {
	b, err := r.take(fixedSize(typ))
	if err != nil {
		return nil, err
	}
	switch typ {
	case typeBool:
		return b[0] != 0, nil
	case typeInt8:
		return int8(b[0]), nil
	case typeUint8:
		return b[0], nil
	case typeInt16:
		return int16(binary.BigEndian.Uint16(b)), nil
	case typeUint16:
		return binary.BigEndian.Uint16(b), nil
	case typeInt32:
		return int32(binary.BigEndian.Uint32(b)), nil
	case typeUint32:
		return binary.BigEndian.Uint32(b), nil
	case typeInt64:
		return int64(binary.BigEndian.Uint64(b)), nil
	case typeUint64:
		return binary.BigEndian.Uint64(b), nil
	case typeFloat32:
		return Float32(binary.BigEndian.Uint32(b)), nil
	case typeFloat64:
		return Float64(binary.BigEndian.Uint64(b)), nil
	case typeDecimal:
		return Decimal{Scale: b[0], Value: binary.BigEndian.Uint32(b[1:])}, nil
	case typeTimestamp:
		return Timestamp(binary.BigEndian.Uint64(b)), nil
	}
	return nil, errType
}

// fixedSize is the size of a value in bytes, 0 for types of variable size and for unknown ones.
func fixedSize(typ byte) int {
	switch typ {
	case typeBool, typeInt8, typeUint8:
		return 1
	case typeInt16, typeUint16:
		return 2
	case typeInt32, typeUint32, typeFloat32:
		return 4
	case typeDecimal:
		return 5
	case typeInt64, typeUint64, typeFloat64, typeTimestamp:
		return 8
	}
	return 0
}

// asValue keeps a failed decode from returning a typed nil.
func asValue[T Table | Array](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}
