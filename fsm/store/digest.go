package store

import (
	"encoding/binary"
	"math/bits"
)

// Digest is a 128-bit hash over a set: parts are added and subtracted, so order does not matter. It finds faults, not forgeries.
type Digest struct{ Hi, Lo uint64 }

// Add puts a part in. Add and Sub commute.
func (d *Digest) Add(o Digest) {
	var carry uint64
	d.Lo, carry = bits.Add64(d.Lo, o.Lo, 0)
	d.Hi, _ = bits.Add64(d.Hi, o.Hi, carry)
}

// Sub takes a part out.
func (d *Digest) Sub(o Digest) {
	var borrow uint64
	d.Lo, borrow = bits.Sub64(d.Lo, o.Lo, 0)
	d.Hi, _ = bits.Sub64(d.Hi, o.Hi, borrow)
}

// Fractional digits of e, odd. They are for ever, as long as the feature level does not change: replicas compare digests.
const (
	mix0 = 0xb7e151628aed2a6b
	mix1 = 0xbf7158809cf4f3c7
	mix2 = 0x62e7160f38b4da57
	mix3 = 0xa784d9045190cfef
	mix4 = 0x324e7738926cfbe5
	mix5 = 0xf4bf8d8d8c31d763
	mix6 = 0xda06c80abb1185eb
	mix7 = 0x4f7c7b5757f59585
)

// Kinds of parts, so that equal words of two kinds do not hash alike.
const (
	kindEntry = 1
	kindHold  = 2
	kindDelay = 3
)

// mixWords hashes eight words. Each pair is multiplied to 128 bits, after masks that keep small numbers from being zero factors.
func mixWords(a, b, c, d, e, f, g, h uint64) Digest {
	h0, l0 := bits.Mul64(a^mix0, b^mix1)
	h1, l1 := bits.Mul64(c^mix2, d^mix3)
	h2, l2 := bits.Mul64(e^mix4, f^mix5)
	h3, l3 := bits.Mul64(g^mix6, h^mix7)
	h4, l4 := bits.Mul64(l0^h1^mix2, l2^h3^mix4)
	h5, l5 := bits.Mul64(l1^h2^mix5, l3^h0^mix7)
	return Digest{Hi: h4 ^ l5, Lo: l4 ^ h5}
}

// entryPart is an entry's share of the digest, but for its hold or delay. The queue's order follows from what it covers.
func entryPart(queue uint64, r *entryRecord, m *messageRecord) Digest {
	flags := uint64(kindEntry) << 32
	if r.redelivered {
		flags |= 1
	}
	return mixWords(queue, r.index,
		uint64(r.ordinal)<<32|uint64(r.deliveries),
		uint64(r.failures)<<32|uint64(r.priority),
		flags|uint64(m.exchangeBytes)<<16|uint64(m.keyBytes)<<8,
		uint64(m.crc)<<32|uint64(m.bodyBytes),
		uint64(m.propertiesBytes),
		uint64(r.expires))
}

// holdPart is the share of an entry's hold, bound to that entry.
func holdPart(queue uint64, r *entryRecord, h *Hold) Digest {
	return mixWords(queue, r.index,
		uint64(r.ordinal)<<32|kindHold,
		h.Channel, h.Consumer, h.Tag, h.Delivery, uint64(h.SinceMillis))
}

// delayPart is the share of an entry's delay, bound to that entry.
func delayPart(queue uint64, r *entryRecord, d *Delay) Digest {
	return mixWords(queue, r.index, uint64(r.ordinal)<<32|kindDelay, uint64(d.DueMillis), d.Delivery, 0, 0, 0)
}

// Sum hashes bytes with fixed constants (never a per-process seed).
func Sum(b []byte) Digest {
	hi, lo := uint64(mix0)^uint64(len(b)), uint64(mix1)
	for ; len(b) >= 16; b = b[16:] {
		hi, lo = mixBlock(hi, lo, binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]))
	}
	if len(b) > 0 {
		var tail [16]byte
		copy(tail[:], b)
		hi, lo = mixBlock(hi, lo, binary.LittleEndian.Uint64(tail[:]), binary.LittleEndian.Uint64(tail[8:]))
	}
	hi, lo = mixBlock(hi, lo, mix4, mix5)
	hi, lo = mixBlock(hi, lo, mix6, mix7)
	return Digest{Hi: hi, Lo: lo}
}

// mixBlock adds the words to the product too: no pair of words, whatever it multiplies to, makes what went before forgotten.
func mixBlock(hi, lo, a, b uint64) (uint64, uint64) {
	h, l := bits.Mul64(a^lo^mix2, b^bits.RotateLeft64(hi, 29)^mix3)
	return (lo ^ h) + a, (bits.RotateLeft64(hi, 32) ^ l) + b
}
