package offline

import (
	"fmt"
	"math"
	"reflect"

	"github.com/triagemq/triagemq/fsm/content"
)

// describeTable shows an AMQP table as a map. Of a name that comes twice the first counts.
func describeTable(t content.Table) any {
	if len(t) == 0 {
		return nil
	}
	out := map[string]any{}
	for _, f := range t {
		if _, twice := out[f.Name]; !twice {
			out[f.Name] = describeValue(f.Value)
		}
	}
	return out
}

func describeValue(v any) any {
	switch v := v.(type) {
	case content.Float32:
		return finite(float64(math.Float32frombits(uint32(v))))
	case content.Float64:
		return finite(math.Float64frombits(uint64(v)))
	case content.Decimal:
		return fmt.Sprintf("%de-%d", v.Value, v.Scale)
	case []byte:
		return text(v)
	case content.Array:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = describeValue(x)
		}
		return out
	case content.Table:
		if len(v) == 0 {
			return map[string]any{}
		}
		return describeTable(v)
	}
	return v
}

// finite is a number that JSON has, or its name.
func finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Sprint(f)
	}
	return f
}

// describeProperties shows the properties that a message has.
func describeProperties(p content.Properties) any {
	out := map[string]any{}
	v := reflect.ValueOf(p)
	for i := 1; i < v.NumField(); i++ { // the first says which are there; they follow in the order of its bits
		if p.Has>>(16-i)&1 == 0 {
			continue
		}
		value := v.Field(i).Interface()
		if t, isTable := value.(content.Table); isTable {
			value = describeTable(t)
		}
		out[v.Type().Field(i).Name] = value
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
