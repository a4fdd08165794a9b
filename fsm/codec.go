package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/triagemq/triagemq/fsm/content"
)

// Commands are encoded by hand: big-endian integers, one encoding per value, and every length checked against what is there before anything is
// allocated. docs/formats.md has the tables. Fields are written in the order in which they are read back, flags first, so that an Append and its decode
// can be compared line by line.

// Faults of an encoding. They are wrapped in the name of what did not decode.
var (
	errTruncated = errors.New("a field ends beyond its bytes")
	errTrailing  = errors.New("bytes follow the last field")
	errFlags     = errors.New("an unknown flag is set")
	errTooLong   = errors.New("longer than a command may be")
	errKind      = errors.New("unknown kind")
	errRef       = errors.New("a command of another channel")
	errValue     = errors.New("a number is out of its range")
	errEarly     = errors.New("of a feature level that the cluster has not reached")
)

const (
	lengthBytes     = 4
	refBytes        = 4 + 2 + 4
	commandHeadSize = lengthBytes + 1 + refBytes
)

// beginCommand writes the head with a length that endCommand fills in.
func beginCommand(dst []byte, kind CommandKind, ref Ref) []byte {
	dst = append(dst, 0, 0, 0, 0, uint8(kind))
	dst = binary.BigEndian.AppendUint32(dst, ref.Conn)
	dst = binary.BigEndian.AppendUint16(dst, ref.Channel)
	return binary.BigEndian.AppendUint32(dst, ref.Incarnation)
}

// endCommand sets the length of the command that begins at start and of which followBytes are still to come.
func endCommand(dst []byte, start, followBytes int) []byte {
	sizeBytes := len(dst) - start + followBytes
	if followBytes < 0 || sizeBytes > CommandBytesMax {
		panic(fmt.Sprintf("fsm: a command of %d bytes was encoded, at most %d are allowed", sizeBytes, CommandBytesMax))
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(sizeBytes-lengthBytes))
	return dst
}

// bits packs flags into a byte, the first into bit 0.
func bits(flags ...bool) (b uint8) {
	for i, set := range flags {
		if set {
			b |= 1 << i
		}
	}
	return b
}

func appendShort[S string | []byte](dst []byte, s S) []byte {
	if len(s) > ShortStringBytesMax {
		panic(fmt.Sprintf("fsm: a string of %d bytes was encoded where AMQP allows %d", len(s), ShortStringBytesMax))
	}
	dst = append(dst, uint8(len(s)))
	return append(dst, s...)
}

func appendUint32(dst []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(dst, n) }

func appendUint64(dst []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(dst, n) }

// appendShorts writes a list of short strings, its length first. There are at most math.MaxUint16.
func appendShorts(dst []byte, list []string) []byte {
	if len(list) > math.MaxUint16 {
		panic(fmt.Sprintf("fsm: a list of %d strings was encoded, at most %d are allowed", len(list), math.MaxUint16))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(list)))
	for _, s := range list {
		dst = appendShort(dst, s)
	}
	return dst
}

func appendLong[S string | []byte](dst []byte, s S) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// appendTable writes an encoded field table, which brings its own length; nil is the empty one.
func appendTable(dst, table []byte) []byte {
	if len(table) == 0 {
		return append(dst, 0, 0, 0, 0)
	}
	return append(dst, table...)
}

// NextCommand splits the first command off a concatenation of encoded commands, without decoding it. ok is false when b is empty or damaged.
func NextCommand(b []byte) (command, rest []byte, ok bool) {
	if len(b) < commandHeadSize {
		return nil, b, false
	}
	length := binary.BigEndian.Uint32(b)
	if length < commandHeadSize-lengthBytes || length > CommandBytesMax-lengthBytes || int(length) > len(b)-lengthBytes {
		return nil, b, false
	}
	end := lengthBytes + int(length)
	return b[:end:end], b[end:], true
}

// KindOf is the kind of an encoded command; 0 where there is none.
func KindOf(command []byte) CommandKind {
	if len(command) < commandHeadSize {
		return 0
	}
	return CommandKind(command[lengthBytes])
}

// decodeCommandHead splits the first command off a concatenation. payload is what its decode takes, and aliases b.
func decodeCommandHead(b []byte) (kind CommandKind, ref Ref, payload, rest []byte, err error) {
	if len(b) < commandHeadSize {
		return 0, Ref{}, nil, b, fmt.Errorf("fsm: command head: %w", errTruncated)
	}
	if binary.BigEndian.Uint32(b) > CommandBytesMax-lengthBytes {
		return 0, Ref{}, nil, b, fmt.Errorf("fsm: command head: %w", errTooLong)
	}
	command, rest, ok := NextCommand(b)
	if !ok {
		return 0, Ref{}, nil, b, fmt.Errorf("fsm: command head: %w", errTruncated)
	}
	kind = CommandKind(command[4])
	if kind.Level() == 0 {
		return kind, Ref{}, nil, rest, fmt.Errorf("fsm: command head: %w %d", errKind, kind)
	}
	ref = Ref{
		Conn:        binary.BigEndian.Uint32(command[5:]),
		Channel:     binary.BigEndian.Uint16(command[9:]),
		Incarnation: binary.BigEndian.Uint32(command[11:]),
	}
	return kind, ref, command[commandHeadSize:], rest, nil
}

// fieldReader reads fields until one is faulty; after that every field reads as zero and end reports the first fault. What it returns aliases its input.
type fieldReader struct {
	b   []byte
	err error
}

// take returns the next n bytes, capped so that appending to them cannot reach into the entry. n may come straight from a uint32, which a 32-bit int
// turns negative.
func (r *fieldReader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b) {
		r.err = errTruncated
		return nil
	}
	field := r.b[:n:n]
	r.b = r.b[n:]
	return field
}

func (r *fieldReader) uint8() uint8 {
	if f := r.take(1); f != nil {
		return f[0]
	}
	return 0
}

func (r *fieldReader) uint16() uint16 {
	if f := r.take(2); f != nil {
		return binary.BigEndian.Uint16(f)
	}
	return 0
}

func (r *fieldReader) uint32() uint32 {
	if f := r.take(4); f != nil {
		return binary.BigEndian.Uint32(f)
	}
	return 0
}

func (r *fieldReader) uint64() uint64 {
	if f := r.take(8); f != nil {
		return binary.BigEndian.Uint64(f)
	}
	return 0
}

func (r *fieldReader) int64() int64 { return int64(r.uint64()) }

// shortStrings reads a list of short strings; the empty list is nil.
func (r *fieldReader) shortStrings() []string {
	var list []string
	for n := r.uint16(); n > 0 && r.err == nil; n-- {
		list = append(list, r.shortString())
	}
	return list
}

// flags reads a byte of which the lowest n bits may be set.
func (r *fieldReader) flags(n int) uint8 {
	f := r.uint8()
	if f>>n != 0 && r.err == nil {
		r.err = errFlags
	}
	return f
}

func (r *fieldReader) short() []byte { return r.take(int(r.uint8())) }

func (r *fieldReader) long() []byte { return r.take(int(r.uint32())) }

func (r *fieldReader) shortString() string { return string(r.short()) }

func (r *fieldReader) longString() string { return string(r.long()) }

// table reads a field table, validates it wholly and copies its encoding, length included; the empty table is nil, so that a value has one form in
// memory as it has one in the log.
func (r *fieldReader) table() []byte {
	if r.err != nil {
		return nil
	}
	encoded, rest, err := content.ScanTable(r.b)
	if err != nil {
		r.err = err
		return nil
	}
	r.b = rest
	if len(encoded) == lengthBytes {
		return nil
	}
	return append([]byte(nil), encoded...)
}

// rest takes all that is left.
func (r *fieldReader) rest() []byte { return r.take(len(r.b)) }

// fault is the first fault, or that bytes are left.
func (r *fieldReader) fault() error {
	if r.err != nil {
		return r.err
	}
	if len(r.b) != 0 {
		return errTrailing
	}
	return nil
}

// end ends the reading of a command's payload.
func (r *fieldReader) end(kind CommandKind) error {
	if err := r.fault(); err != nil {
		return fmt.Errorf("fsm: %v: %w", kind, err)
	}
	return nil
}

// checkCommand decodes a command of any kind and drops it.
func checkCommand(kind CommandKind, ref Ref, payload []byte) error {
	switch kind { // the frequent ones without allocation
	case KindPublish:
		var c Publish
		return c.decode(ref, payload)
	case KindAck:
		var c Ack
		return c.decode(ref, payload)
	case KindGrant:
		var c Grant
		return c.decode(ref, payload)
	}
	c := newCommand(kind)
	if c == nil {
		return fmt.Errorf("fsm: command: %w %d", errKind, kind)
	}
	return c.decode(ref, payload)
}

// decodable is a command that can be filled from a payload.
type decodable interface {
	Command
	decode(ref Ref, payload []byte) error
}

// newCommand returns an empty command of a kind, or nil.
func newCommand(kind CommandKind) decodable {
	switch kind {
	case KindOpenSession:
		return new(OpenSession)
	case KindCloseSession:
		return new(CloseSession)
	case KindOpenChannel:
		return new(OpenChannel)
	case KindCloseChannel:
		return new(CloseChannel)
	case KindDeclareExchange:
		return new(DeclareExchange)
	case KindDeleteExchange:
		return new(DeleteExchange)
	case KindDeclareQueue:
		return new(DeclareQueue)
	case KindDeleteQueue:
		return new(DeleteQueue)
	case KindPurgeQueue:
		return new(PurgeQueue)
	case KindBind:
		return new(Bind)
	case KindUnbind:
		return new(Unbind)
	case KindPublish:
		return new(Publish)
	case KindGet:
		return new(Get)
	case KindConsume:
		return new(Consume)
	case KindCancel:
		return new(Cancel)
	case KindSetQos:
		return new(SetQos)
	case KindGrant:
		return new(Grant)
	case KindAck:
		return new(Ack)
	case KindNack:
		return new(Nack)
	case KindRecover:
		return new(Recover)
	case KindTx:
		return new(Tx)
	}
	return newOperatorCommand(kind)
}

// newOperatorCommand returns an empty command of the kinds that operators alone give, or nil.
func newOperatorCommand(kind CommandKind) decodable {
	switch kind {
	case KindDeleteVHost:
		return new(DeleteVHost)
	case KindEndSession:
		return new(EndSession)
	case KindPutVHost:
		return new(PutVHost)
	case KindPutVHostLimits:
		return new(PutVHostLimits)
	case KindInitUsers:
		return new(InitUsers)
	case KindPutUser:
		return new(PutUser)
	case KindDeleteUser:
		return new(DeleteUser)
	case KindPutUserLimits:
		return new(PutUserLimits)
	case KindPutPermission:
		return new(PutPermission)
	case KindDeletePermission:
		return new(DeletePermission)
	case KindPutTopicPermission:
		return new(PutTopicPermission)
	case KindDeleteTopicPermission:
		return new(DeleteTopicPermission)
	}
	return newPolicyCommand(kind)
}

// newPolicyCommand returns an empty command of the kinds for policies and parameters, or nil.
func newPolicyCommand(kind CommandKind) decodable {
	switch kind {
	case KindPutPolicy:
		return new(PutPolicy)
	case KindDeletePolicy:
		return new(DeletePolicy)
	case KindPutParameter:
		return new(PutParameter)
	case KindDeleteParameter:
		return new(DeleteParameter)
	}
	return newNextCommand(kind)
}
