package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// ClassBasic is the only class with content.
const ClassBasic = 60

const contentHeaderFixed = 12 // class, weight, body size

// noProperties is a property flags word without a bit: what a message without properties carries.
var noProperties = []byte{0, 0}

// ContentHeader is a content header frame's payload (AMQP 0-9-1 §4.2.6.1). Properties are flags and list, not validated
// (content.Scan does), and alias the payload.
type ContentHeader struct {
	Class      uint16
	Weight     uint16 // 0: there is no other
	BodySize   uint64
	Properties []byte
}

// DecodeContentHeader reads a content header.
func DecodeContentHeader(payload []byte) (ContentHeader, error) {
	if len(payload) < contentHeaderFixed+2 {
		return ContentHeader{}, fmt.Errorf("%w: content header of %d bytes", ErrSyntax, len(payload))
	}
	return ContentHeader{
		Class:      binary.BigEndian.Uint16(payload),
		Weight:     binary.BigEndian.Uint16(payload[2:]),
		BodySize:   binary.BigEndian.Uint64(payload[4:]),
		Properties: payload[contentHeaderFixed:],
	}, nil
}

// AppendContentHeader writes a content header frame; nil properties are none.
func AppendContentHeader(dst []byte, channel uint16, properties []byte, bodySize uint64) []byte {
	if len(properties) == 0 {
		properties = noProperties
	}
	dst, at := beginFrame(dst, FrameHeader, channel)
	dst = append(dst, 0, ClassBasic, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, bodySize)
	return endFrame(append(dst, properties...), at)
}

// AppendContent writes a content header frame and the body in frames of at most frameMax bytes, overhead included. A header
// cannot be split: it is as long as the properties are.
func AppendContent(dst []byte, channel uint16, frameMax uint32, properties, body []byte) []byte {
	dst = slices.Grow(dst, ContentSize(frameMax, properties, body)) // at once: frame by frame a body of 16 MiB would leave as much again and more behind
	dst = AppendContentHeader(dst, channel, properties, uint64(len(body)))
	payloadMax := int(frameMax) - FrameOverhead
	for len(body) > 0 {
		part := body[:min(len(body), payloadMax)]
		body = body[len(part):]
		dst = append(dst, byte(FrameBody), byte(channel>>8), byte(channel))
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
		dst = append(dst, part...)
		dst = append(dst, frameEnd)
	}
	return dst
}

// ContentSize is how many bytes AppendContent writes.
func ContentSize(frameMax uint32, properties, body []byte) int {
	payloadMax := int(frameMax) - FrameOverhead
	frames := 1 + (len(body)+payloadMax-1)/payloadMax
	return frames*FrameOverhead + contentHeaderFixed + max(len(properties), len(noProperties)) + len(body)
}
