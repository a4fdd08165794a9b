package http

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// object is a JSON object whose fields keep their order. The API's resources are made of it: sort and columns address fields by path, and 50,000 of them
// are encoded without reflection.
type object []field

type field struct {
	name  string
	value any // string, bool, int, int64, uint64, float64, nil, object, []object, or what encoding/json takes
}

// get finds a field by its path, "message_stats.publish".
func (o object) get(path string) (any, bool) {
	name, rest, nested := strings.Cut(path, ".")
	for i := range o {
		if o[i].name != name {
			continue
		}
		if !nested {
			return o[i].value, true
		}
		inner, ok := o[i].value.(object)
		if !ok {
			return nil, false
		}
		return inner.get(rest)
	}
	return nil, false
}

// pick returns the fields at the given paths, in their order here.
func (o object) pick(paths []string) object {
	picked := object{}
	for _, f := range o {
		var below []string
		whole := false
		for _, path := range paths {
			name, rest, nested := strings.Cut(path, ".")
			if name != f.name {
				continue
			}
			if nested {
				below = append(below, rest)
			} else {
				whole = true
			}
		}
		switch inner, isObject := f.value.(object); {
		case whole:
			picked = append(picked, f)
		case len(below) > 0 && isObject:
			if inner = inner.pick(below); len(inner) > 0 {
				picked = append(picked, field{f.name, inner})
			}
		}
	}
	return picked
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) { return o.appendJSON(nil), nil }

func (o object) appendJSON(b []byte) []byte {
	b = append(b, '{')
	for i := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, o[i].name)
		b = append(b, ':')
		b = appendJSON(b, o[i].value)
	}
	return append(b, '}')
}

func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return appendString(b, v)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float64:
		return appendFloat(b, v)
	case object:
		return v.appendJSON(b)
	case []object:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = v[i].appendJSON(b)
		}
		return append(b, ']')
	}
	encoded, err := json.Marshal(v)
	if err != nil { // a value that JSON has no word for
		return append(b, "null"...)
	}
	return append(b, encoded...)
}

// appendFloat writes 0.0 where Go would write 0: some clients take a number without a point for an integer.
func appendFloat(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "0.0"...)
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.AppendFloat(b, v, 'f', 1, 64)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			encoded, _ := json.Marshal(s) // a string always has an encoding
			return append(b, encoded...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
