package fsm

import "encoding/binary"

// Encodings of the commands for policies and runtime parameters.

// Append implements Command.
func (c *PutPolicy) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutPolicy, c.Ref)
	dst = append(dst, bits(c.Operator))
	dst = appendShort(dst, c.VHost)
	dst = appendShort(dst, c.Name)
	dst = appendLong(dst, c.Pattern)
	dst = appendShort(dst, c.ApplyTo)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.Priority))
	dst = appendTable(dst, c.Definition)
	return endCommand(dst, start, 0)
}

func (c *PutPolicy) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutPolicy{
		Ref:        ref,
		Operator:   r.flags(1)&(1<<0) != 0,
		VHost:      r.shortString(),
		Name:       r.shortString(),
		Pattern:    r.longString(),
		ApplyTo:    r.shortString(),
		Priority:   int64(r.uint64()),
		Definition: r.table(),
	}
	return r.end(KindPutPolicy)
}

// Append implements Command.
func (c *DeletePolicy) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeletePolicy, c.Ref)
	dst = append(dst, bits(c.Operator))
	dst = appendShort(dst, c.VHost)
	dst = appendShort(dst, c.Name)
	return endCommand(dst, start, 0)
}

func (c *DeletePolicy) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = DeletePolicy{Ref: ref, Operator: r.flags(1)&(1<<0) != 0, VHost: r.shortString(), Name: r.shortString()}
	return r.end(KindDeletePolicy)
}

// Append implements Command.
func (c *PutParameter) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPutParameter, c.Ref)
	dst = appendShort(dst, c.VHost)
	dst = appendShort(dst, c.Component)
	dst = appendShort(dst, c.Name)
	dst = appendLong(dst, c.Value)
	return endCommand(dst, start, 0)
}

func (c *PutParameter) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = PutParameter{
		Ref: ref, VHost: r.shortString(), Component: r.shortString(), Name: r.shortString(),
		Value: append([]byte(nil), r.long()...),
	}
	return r.end(KindPutParameter)
}

// Append implements Command.
func (c *DeleteParameter) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindDeleteParameter, c.Ref)
	dst = appendShort(dst, c.VHost)
	dst = appendShort(dst, c.Component)
	dst = appendShort(dst, c.Name)
	return endCommand(dst, start, 0)
}

func (c *DeleteParameter) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = DeleteParameter{Ref: ref, VHost: r.shortString(), Component: r.shortString(), Name: r.shortString()}
	return r.end(KindDeleteParameter)
}
