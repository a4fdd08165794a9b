package http

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/triagemq/triagemq/fsm/content"
)

// tableJSON is an encoded AMQP field table as a JSON object.
func tableJSON(encoded []byte) object {
	if len(encoded) == 0 {
		return object{}
	}
	t, _, err := content.DecodeTable(encoded)
	if err != nil {
		return object{} // never: it was validated when it came in
	}
	return fieldsJSON(t)
}

func fieldsJSON(t content.Table) object {
	o := make(object, 0, len(t))
	for _, f := range t {
		o = append(o, field{f.Name, valueJSON(f.Value)})
	}
	return o
}

func valueJSON(v any) any {
	switch v := v.(type) {
	case content.Table:
		return fieldsJSON(v)
	case content.Array:
		list := make([]json.RawMessage, len(v))
		for i := range v {
			list[i] = appendJSON(nil, valueJSON(v[i]))
		}
		return list
	case []byte:
		return textJSON(v)
	case string:
		return textJSON([]byte(v))
	case content.Float32:
		return float64(math.Float32frombits(uint32(v)))
	case content.Float64:
		return math.Float64frombits(uint64(v))
	case content.Timestamp:
		return uint64(v)
	case content.Decimal:
		return float64(v.Value) / math.Pow10(int(v.Scale))
	}
	return v // integers, bool, nil
}

// textJSON is text where it is UTF-8, else base64.
func textJSON(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// tableOf turns a JSON object into a field table: numbers without a fraction are 64-bit integers, others doubles, as in RabbitMQ. Fields are in the order of
// their names.
func tableOf(o map[string]any) (content.Table, error) {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	var t content.Table
	for _, name := range names {
		v, err := valueOf(o[name])
		if err != nil {
			return nil, err
		}
		t = append(t, content.Field{Name: name, Value: v})
	}
	if err := t.Validate(); err != nil {
		return nil, badRequest(err.Error())
	}
	return t, nil
}

// encodedTable is a field table for a command; nil where it is empty.
func encodedTable(o map[string]any) ([]byte, error) {
	t, err := tableOf(o)
	if err != nil || len(t) == 0 {
		return nil, err
	}
	return t.Append(nil), nil
}

func valueOf(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, badRequest(fmt.Sprintf("%s is not a number that AMQP can carry", v))
		}
		return content.Float64(math.Float64bits(f)), nil
	case []any:
		a := content.Array{}
		for _, element := range v {
			e, err := valueOf(element)
			if err != nil {
				return nil, err
			}
			a = append(a, e)
		}
		return a, nil
	case map[string]any:
		return tableOf(v)
	}
	return nil, badRequest("a value of no known type")
}
