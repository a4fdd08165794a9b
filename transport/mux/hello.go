package mux

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Handshake messages share one frame, integers big-endian:
//
//	"TMQP"  magic, 4 bytes
//	uint8   version of the handshake, 1
//	uint16  length of the body, at most bodySizeMax
//	body
//
// hello, from the side that dialled:
//
//	uint8    flags, bit 0: this side has a cluster secret
//	uint8    protocol
//	16 bytes nonce
//	uint64   boot
//	strings  cluster, server, name, expected server ("" = any), each uint8 length and bytes
//	32 bytes SHA-256 of the certificate that this side will show in the session that follows, see session.go; missing where it will begin none
//
// welcome, from the side that was dialled:
//
//	uint8    status, see handshake.go; anything but statusOK ends the connection
//	uint8    flags, as above
//	16 bytes nonce
//	uint64   boot
//	strings  cluster, server, name, text (why it refuses)
//	32 bytes as above; only in answer to a hello that has them
//
// proof (mac), from either side where both have a secret: 32 bytes, see auth.go
const (
	magic       = "TMQP"
	version     = 1
	frameHeader = len(magic) + 1 + 2
	nonceSize   = 16
	flagSecret  = 1
	bodySizeMax = 2 + nonceSize + 8 + 4*(1+255) + sha256.Size // 32 more than earlier versions take; real identities are far shorter than 255 bytes each
)

// The first byte of TLS records.
const (
	recordAlert     = 0x15
	recordHandshake = 0x16
)

var (
	errNotPeer   = errors.New("not a TriageMQ peer")
	errTruncated = errors.New("truncated handshake")
)

type hello struct {
	secret   bool
	protocol Protocol
	nonce    [nonceSize]byte
	from     Identity
	expect   string
	session  []byte // sum of the key for the session that follows; nil: none
}

type welcome struct {
	status status
	secret bool
	nonce  [nonceSize]byte
	from   Identity
	text   string
	// session is as in hello.
	session []byte
}

func (h *hello) encode() []byte {
	b := append(make([]byte, 0, bodySizeMax), flags(h.secret), byte(h.protocol))
	return frame(append(appendParty(b, h.nonce, h.from, h.expect), h.session...))
}

func (w *welcome) encode() []byte {
	b := append(make([]byte, 0, bodySizeMax), byte(w.status), flags(w.secret))
	return frame(append(appendParty(b, w.nonce, w.from, w.text), w.session...))
}

func decodeHello(body []byte) (h hello, err error) {
	d := decoder{rest: body}
	h.secret, h.protocol = d.byte()&flagSecret != 0, Protocol(d.byte())
	h.nonce, h.from, h.expect = d.party()
	h.session = d.sum()
	return h, d.end()
}

func decodeWelcome(body []byte) (w welcome, err error) {
	d := decoder{rest: body}
	w.status, w.secret = status(d.byte()), d.byte()&flagSecret != 0
	w.nonce, w.from, w.text = d.party()
	w.session = d.sum()
	return w, d.end()
}

func flags(secret bool) byte {
	if secret {
		return flagSecret
	}
	return 0
}

func appendParty(b []byte, nonce [nonceSize]byte, id Identity, last string) []byte {
	b = append(b, nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, id.Boot)
	for _, s := range []string{id.Cluster, id.Server, id.Name, last} {
		s = s[:min(len(s), 255)]
		b = append(append(b, byte(len(s))), s...)
	}
	return b
}

func frame(body []byte) []byte {
	b := append(make([]byte, 0, frameHeader+len(body)), magic...)
	b = append(b, version)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}

// readFrame reads one message and not a byte more: what follows belongs to the protocol.
func readFrame(r io.Reader) ([]byte, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if head[0] == recordHandshake && head[1] == 3 || head[0] == recordAlert && head[1] == 3 {
		return nil, fmt.Errorf("%w: the other side speaks TLS on this port, this node does not (--peer-tls-cert, --peer-tls-key, --peer-tls-ca)", ErrTLS)
	}
	if string(head[:len(magic)]) != magic {
		return nil, errNotPeer
	}
	if v := head[len(magic)]; v != version {
		return nil, fmt.Errorf("%w: it speaks version %d of the peer handshake, this node version %d", ErrVersion, v, version)
	}
	size := int(binary.BigEndian.Uint16(head[len(magic)+1:]))
	if size > bodySizeMax {
		return nil, errNotPeer
	}
	body := make([]byte, size)
	_, err := io.ReadFull(r, body)
	return body, err
}

// decoder reads fields until one is missing; end tells.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.bad, d.rest = true, nil
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) string() string { return string(d.take(int(d.byte()))) }

func (d *decoder) party() (nonce [nonceSize]byte, id Identity, last string) {
	copy(nonce[:], d.take(nonceSize))
	id.Boot = binary.BigEndian.Uint64(d.take(8))
	id.Cluster, id.Server, id.Name, last = d.string(), d.string(), d.string(), d.string()
	return nonce, id, last
}

// sum is the last field, which earlier versions do not send.
func (d *decoder) sum() []byte {
	if len(d.rest) < sha256.Size {
		return nil
	}
	return d.take(sha256.Size)
}

// end ignores what a later minor version may have appended.
func (d *decoder) end() error {
	if d.bad {
		return errTruncated
	}
	return nil
}
