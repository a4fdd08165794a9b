package content

import "fmt"

func validateTable(t Table, depth int) error {
	if err := validateSize(len(t), depth); err != nil {
		return err
	}
	for _, f := range t {
		if len(f.Name) > shortStringMax {
			return fmt.Errorf("%w: a field name of %d bytes", ErrMalformed, len(f.Name))
		}
		if err := validateValue(f.Value, depth); err != nil {
			return fmt.Errorf("field %q: %w", f.Name, err)
		}
	}
	return nil
}

func validateArray(a Array, depth int) error {
	if err := validateSize(len(a), depth); err != nil {
		return err
	}
	for _, v := range a {
		if err := validateValue(v, depth); err != nil {
			return err
		}
	}
	return nil
}

func validateSize(entries, depth int) error {
	if depth > DepthMax {
		return errDepth
	}
	if entries > EntriesMax {
		return errEntries
	}
	return nil
}

func validateValue(v any, depth int) error {
	switch v := v.(type) {
	case nil, bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64,
		Float32, Float64, Decimal, Timestamp, string, []byte:
		return nil
	case Table:
		return validateTable(v, depth+1)
	case Array:
		return validateArray(v, depth+1)
	}
	return fmt.Errorf("%w: no field type holds a %T", ErrMalformed, v)
}
