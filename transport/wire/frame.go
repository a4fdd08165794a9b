package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// FrameType is the first octet of a frame (AMQP 0-9-1 §4.2.3).
type FrameType uint8

// Frame types. Every other value is an error that ends the connection.
const (
	FrameMethod    FrameType = 1
	FrameHeader    FrameType = 2
	FrameBody      FrameType = 3
	FrameHeartbeat FrameType = 8
)

// Sizes in bytes.
const (
	FrameOverhead = 8    // type, channel, size and end octet around a payload
	FrameMinMax   = 4096 // the least frame_max that a peer may ask for (AMQP 0-9-1 §4.2.3, frame-min-size)

	// FrameMaxProvisional bounds frames before frame_max is negotiated. The specification's 4096 is too small for client
	// properties and tokens in the field; the size is that of our own offer.
	FrameMaxProvisional = 128 << 10
)

const (
	frameHeaderSize = 7
	frameEnd        = 0xCE
)

// ProtocolHeader opens a connection, and answers a peer that opened with another.
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// ErrFrame is a frame that cannot be, ErrSyntax a payload that does not decode, ErrUTF8 a short string that is no text. RabbitMQ has one reply code for them: 501.
var (
	ErrFrame  = errors.New("malformed frame")
	ErrSyntax = errors.New("malformed payload")
	//lint:ignore ST1005 RabbitMQ's words
	ErrUTF8 = errors.New("Malformed UTF-8 in shortstr")
)

// Frame is one frame; Payload aliases the Reader's buffer.
type Frame struct {
	Type    FrameType
	Channel uint16
	Payload []byte
}

// parseFrame reads the frame at the start of b. size is 0 while b is not enough to tell its length; ok is false while it is
// incomplete. frameMax counts the overhead.
func parseFrame(b []byte, frameMax int) (f Frame, size int, ok bool, err error) {
	if len(b) == 0 {
		return Frame{}, 0, false, nil
	}
	f.Type = FrameType(b[0])
	switch f.Type {
	case FrameMethod, FrameHeader, FrameBody, FrameHeartbeat:
	default:
		return Frame{}, 0, false, fmt.Errorf("%w: unknown frame type %d", ErrFrame, b[0])
	}
	if len(b) < frameHeaderSize {
		return Frame{}, 0, false, nil
	}
	f.Channel = binary.BigEndian.Uint16(b[1:])
	payloadSize := binary.BigEndian.Uint32(b[3:])
	if f.Type == FrameHeartbeat && payloadSize != 0 {
		return Frame{}, 0, false, fmt.Errorf("%w: heartbeat with %d bytes", ErrFrame, payloadSize)
	}
	if uint64(payloadSize)+FrameOverhead > uint64(frameMax) {
		return Frame{}, 0, false, fmt.Errorf("%w: type %d, channel %d: %d bytes exceed frame_max %d", ErrFrame, f.Type,
			f.Channel, uint64(payloadSize)+FrameOverhead, frameMax)
	}
	size = int(payloadSize) + FrameOverhead
	if len(b) < size {
		return Frame{}, size, false, nil
	}
	if b[size-1] != frameEnd {
		return Frame{}, size, false, fmt.Errorf("%w: type %d, channel %d: end octet is 0x%02X", ErrFrame, f.Type, f.Channel, b[size-1])
	}
	f.Payload = b[frameHeaderSize : size-1 : size-1]
	return f, size, true, nil
}

// AppendHeartbeat writes a heartbeat frame.
func AppendHeartbeat(dst []byte) []byte {
	return append(dst, byte(FrameHeartbeat), 0, 0, 0, 0, 0, 0, frameEnd)
}

// AppendMethod writes a method frame. Hot paths call the method's own AppendFrame, which needs no interface.
func AppendMethod(dst []byte, channel uint16, m Method) []byte {
	dst, at := beginFrame(dst, FrameMethod, channel)
	return endFrame(m.Append(dst), at)
}

// beginFrame writes a frame header with size 0 and returns where the frame starts.
func beginFrame(dst []byte, t FrameType, channel uint16) ([]byte, int) {
	at := len(dst)
	return append(dst, byte(t), byte(channel>>8), byte(channel), 0, 0, 0, 0), at
}

// endFrame fills in the size of the frame that starts at at.
func endFrame(dst []byte, at int) []byte {
	binary.BigEndian.PutUint32(dst[at+3:], uint32(len(dst)-at-frameHeaderSize))
	return append(dst, frameEnd)
}
