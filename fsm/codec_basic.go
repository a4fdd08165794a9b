package fsm

import (
	"encoding/binary"

	"github.com/triagemq/triagemq/fsm/content"
)

// Encodings of the commands that move messages.

// publishFixedBytes is a Publish without its strings, properties and body.
const publishFixedBytes = commandHeadSize + 1 + 1 + 8 + 1 + 1 + lengthBytes

// PublishSizeBytes is the size of an encoded Publish whose body has that many bytes. Whoever takes messages from outside compares it with
// CommandBytesMax before AppendPublishHead.
func PublishSizeBytes(p *Publish, bodySizeBytes int) int {
	return publishFixedBytes + len(p.Exchange) + len(p.RoutingKey) + len(p.Properties) + bodySizeBytes
}

// AppendPublishHead writes a Publish without its body, with the length prefix already counting bodySizeBytes.
func AppendPublishHead(dst []byte, p *Publish, bodySizeBytes int) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindPublish, p.Ref)
	dst = append(dst, bits(p.Mandatory), p.Priority)
	dst = binary.BigEndian.AppendUint64(dst, p.Confirm)
	dst = appendShort(dst, p.Exchange)
	dst = appendShort(dst, p.RoutingKey)
	dst = appendLong(dst, p.Properties)
	return endCommand(dst, start, bodySizeBytes)
}

// Append implements Command.
func (c *Publish) Append(dst []byte) []byte {
	return append(AppendPublishHead(dst, c, len(c.Body)), c.Body...)
}

// decode does not allocate: slices alias the payload. Properties are validated, so that whoever reads them later need not expect damage.
func (c *Publish) decode(ref Ref, payload []byte) error {
	_, err := c.scan(ref, payload)
	return err
}

// scan decodes and says what was found when the properties were validated.
func (c *Publish) scan(ref Ref, payload []byte) (summary content.Summary, err error) {
	r := fieldReader{b: payload}
	c.Ref = ref
	c.Mandatory = r.flags(1) != 0
	c.Priority = r.uint8()
	c.Confirm = r.uint64()
	c.Exchange = r.short()
	c.RoutingKey = r.short()
	c.Properties = r.long()
	c.Body = r.rest()
	if r.err == nil {
		summary, r.err = content.Scan(c.Properties)
	}
	return summary, r.end(KindPublish)
}

// Append implements Command.
func (c *Get) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindGet, c.Ref)
	dst = append(dst, bits(c.NoAck))
	dst = appendShort(dst, c.Queue)
	return endCommand(dst, start, 0)
}

func (c *Get) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(1)
	*c = Get{Ref: ref, NoAck: flags&1 != 0, Queue: r.shortString()}
	return r.end(KindGet)
}

// Append implements Command.
func (c *Consume) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindConsume, c.Ref)
	dst = append(dst, bits(c.NoAck, c.Exclusive, c.NoWait))
	dst = appendShort(dst, c.Queue)
	dst = appendShort(dst, c.Tag)
	dst = binary.BigEndian.AppendUint32(dst, c.GrantMessages)
	dst = binary.BigEndian.AppendUint32(dst, c.GrantBytes)
	dst = appendTable(dst, c.Arguments)
	return endCommand(dst, start, 0)
}

func (c *Consume) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(3)
	*c = Consume{
		Ref:           ref,
		NoAck:         flags&(1<<0) != 0,
		Exclusive:     flags&(1<<1) != 0,
		NoWait:        flags&(1<<2) != 0,
		Queue:         r.shortString(),
		Tag:           r.shortString(),
		GrantMessages: r.uint32(),
		GrantBytes:    r.uint32(),
		Arguments:     r.table(),
	}
	return r.end(KindConsume)
}

// Append implements Command.
func (c *Cancel) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindCancel, c.Ref)
	dst = append(dst, bits(c.NoWait))
	dst = appendShort(dst, c.Tag)
	return endCommand(dst, start, 0)
}

func (c *Cancel) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(1)
	*c = Cancel{Ref: ref, NoWait: flags&1 != 0, Tag: r.shortString()}
	return r.end(KindCancel)
}

// Append implements Command.
func (c *SetQos) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindSetQos, c.Ref)
	dst = append(dst, bits(c.Global))
	dst = binary.BigEndian.AppendUint16(dst, c.Count)
	return endCommand(dst, start, 0)
}

func (c *SetQos) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(1)
	*c = SetQos{Ref: ref, Global: flags&1 != 0, Count: r.uint16()}
	return r.end(KindSetQos)
}

// Append implements Command.
func (c *Grant) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindGrant, c.Ref)
	dst = appendShort(dst, c.Tag)
	dst = binary.BigEndian.AppendUint32(dst, c.Messages)
	dst = binary.BigEndian.AppendUint32(dst, c.Bytes)
	return endCommand(dst, start, 0)
}

// decode allocates only where the tag differs from the one that c holds: a struct that is used again for the next grant of the same consumer costs
// nothing.
func (c *Grant) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	c.Ref = ref
	if tag := r.short(); string(tag) != c.Tag { // the comparison does not allocate
		c.Tag = string(tag)
	}
	c.Messages = r.uint32()
	c.Bytes = r.uint32()
	return r.end(KindGrant)
}

// Append implements Command.
func (c *Ack) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindAck, c.Ref)
	dst = append(dst, bits(c.Multiple))
	dst = binary.BigEndian.AppendUint64(dst, c.Tag)
	return endCommand(dst, start, 0)
}

func (c *Ack) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(1)
	*c = Ack{Ref: ref, Multiple: flags&1 != 0, Tag: r.uint64()}
	return r.end(KindAck)
}

// Append implements Command.
func (c *Nack) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindNack, c.Ref)
	dst = append(dst, bits(c.Multiple, c.Requeue, c.Reject))
	dst = binary.BigEndian.AppendUint64(dst, c.Tag)
	return endCommand(dst, start, 0)
}

func (c *Nack) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	flags := r.flags(3)
	*c = Nack{
		Ref:      ref,
		Multiple: flags&(1<<0) != 0,
		Requeue:  flags&(1<<1) != 0,
		Reject:   flags&(1<<2) != 0,
		Tag:      r.uint64(),
	}
	return r.end(KindNack)
}

// Append implements Command.
func (c *Recover) Append(dst []byte) []byte {
	return endCommand(beginCommand(dst, KindRecover, c.Ref), len(dst), 0)
}

func (c *Recover) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	*c = Recover{Ref: ref}
	return r.end(KindRecover)
}

// TxSizeBytes is the size of an encoded Tx whose commands have that many bytes.
func TxSizeBytes(commandsSizeBytes int) int { return commandHeadSize + 4 + commandsSizeBytes }

// Append implements Command.
func (c *Tx) Append(dst []byte) []byte {
	start := len(dst)
	dst = beginCommand(dst, KindTx, c.Ref)
	count := uint32(0)
	for rest, ok := c.Commands, true; ok; count++ {
		_, rest, ok = NextCommand(rest)
	}
	dst = binary.BigEndian.AppendUint32(dst, count-1)
	dst = append(dst, c.Commands...)
	return endCommand(dst, start, 0)
}

// decode does not allocate but for what the commands allocate: they alias the payload.
func (c *Tx) decode(ref Ref, payload []byte) error {
	r := fieldReader{b: payload}
	left := r.uint32()
	*c = Tx{Ref: ref, Commands: r.rest()}
	if left > TxCommandsMax {
		r.err = errTooLong
	}
	for rest := c.Commands; r.err == nil && len(rest) > 0; left-- {
		if left == 0 {
			r.err = errTrailing
			break
		}
		rest, r.err = nextInTx(rest, ref)
	}
	if r.err == nil && left > 0 {
		r.err = errTruncated
	}
	return r.end(KindTx)
}

// nextInTx checks the first of a transaction's commands.
func nextInTx(commands []byte, ref Ref) (rest []byte, err error) {
	kind, inner, payload, rest, err := decodeCommandHead(commands)
	switch {
	case err != nil:
		return nil, err
	case inner != ref:
		return nil, errRef
	}
	return rest, checkInTx(kind, ref, payload)
}

func checkInTx(kind CommandKind, ref Ref, payload []byte) error {
	switch kind {
	case KindPublish:
		var c Publish
		if err := c.decode(ref, payload); err != nil {
			return err
		}
		if c.Confirm != 0 {
			return errValue
		}
		return nil
	case KindAck, KindNack:
		return checkCommand(kind, ref, payload)
	}
	return errKind
}
