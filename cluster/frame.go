package cluster

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// A forwarding connection carries frames, integers big-endian:
//
//	uint8   kind
//	uint32  length of the payload
//	payload
//
// The origin begins with frameHello (uint8 version 1, uint64 boot, uint64 term of the leader that it means), the leader answers with frameWelcome (nothing)
// or frameOver and a text. Then the origin sends frameItem, the leader frameAdmitted (uint64: bytes of items admitted since the stream began), and both
// send frameBeacon: a sign of life with the Machine's payload, at most beaconMax. frameOver, from either, ends the stream with a text for the log.
const (
	frameHello    byte = 1
	frameWelcome  byte = 2
	frameItem     byte = 3
	frameAdmitted byte = 4
	frameBeacon   byte = 5
	frameOver     byte = 6
)

const (
	// ItemMax is the most that an item may have, in bytes: the largest command and the batch around it.
	ItemMax = 33 << 20

	frameHead      = 5
	forwardVersion = 1
	helloSize      = 1 + 8 + 8
	beaconMax      = 4 << 10
	controlMax     = beaconMax // payload of any frame but an item's

	beaconInterval = 250 * time.Millisecond
	silenceMax     = 3 * time.Second // without a byte from the other side
)

var errFrame = errors.New("malformed frame")

func appendFrame(b []byte, kind byte, payload []byte) []byte {
	return append(appendFrameHead(b, kind, len(payload)), payload...)
}

func appendFrameHead(b []byte, kind byte, size int) []byte {
	return binary.BigEndian.AppendUint32(append(b, kind), uint32(size))
}

// frameReader reads frames; it fails when the other side is silent for too long. While nobody reads from it nobody is judged.
type frameReader struct {
	r       *bufio.Reader
	control [controlMax]byte
}

func newFrameReader(c net.Conn) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(patientReader{c}, 64<<10)}
}

// next reads a frame. The payload of an item goes into the buffer that room returns for its size, any other is valid until the next call.
func (f *frameReader) next(room func(size int) []byte) (kind byte, payload []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, err
	}
	kind, size := head[0], int64(binary.BigEndian.Uint32(head[1:]))
	switch {
	case kind == frameItem && room != nil && size <= ItemMax:
		payload = room(int(size))
	case kind != frameItem && size <= controlMax:
		payload = f.control[:size]
	default:
		return 0, nil, fmt.Errorf("%w: kind %d, %d bytes", errFrame, kind, size)
	}
	_, err = io.ReadFull(f.r, payload)
	return kind, payload, err
}

type patientReader struct{ c net.Conn }

func (p patientReader) Read(b []byte) (int, error) {
	if err := p.c.SetReadDeadline(time.Now().Add(silenceMax)); err != nil {
		return 0, err
	}
	return p.c.Read(b)
}

type forwardHello struct{ boot, term uint64 }

func (h forwardHello) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{forwardVersion}, h.boot)
	return appendFrame(nil, frameHello, binary.BigEndian.AppendUint64(b, h.term))
}

func decodeForwardHello(kind byte, payload []byte) (forwardHello, error) {
	if kind != frameHello || len(payload) < helloSize || payload[0] != forwardVersion {
		return forwardHello{}, fmt.Errorf("%w: not the beginning of a stream of version %d", errFrame, forwardVersion)
	}
	return forwardHello{binary.BigEndian.Uint64(payload[1:]), binary.BigEndian.Uint64(payload[9:])}, nil
}

func decodeCount(payload []byte) (uint64, error) {
	if len(payload) < 8 {
		return 0, errFrame
	}
	return binary.BigEndian.Uint64(payload), nil
}
