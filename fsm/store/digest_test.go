package store

import (
	"bytes"
	"fmt"
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

func TestDigestAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Digest {
			return Digest{rapid.Uint64().Draw(t, name), rapid.Uint64().Draw(t, name)}
		}
		a, b, c := draw("a"), draw("b"), draw("c")
		left, right := a, c
		left.Add(b)
		left.Add(c)
		right.Add(a)
		right.Add(b)
		if left != right {
			t.Fatalf("the order matters: %x, %x", left, right)
		}
		left.Sub(b)
		left.Sub(c)
		if left != a {
			t.Fatalf("Sub does not undo Add: %x, %x", left, a)
		}
	})
}

func TestDigestCarries(t *testing.T) {
	d := Digest{Hi: 1, Lo: ^uint64(0)}
	d.Add(Digest{Lo: 1})
	if d != (Digest{Hi: 2}) {
		t.Fatalf("%x", d)
	}
	d.Sub(Digest{Lo: 1})
	if d != (Digest{Hi: 1, Lo: ^uint64(0)}) {
		t.Fatalf("%x", d)
	}
}

// TestDigestConstants: replicas of different builds compare digests, so these numbers are for ever.
func TestDigestConstants(t *testing.T) {
	part := entryPart(3, &entryRecord{index: 4, ordinal: 5, deliveries: 6, failures: 7, priority: 8, redelivered: true, expires: 14},
		&messageRecord{propertiesBytes: 9, bodyBytes: 10, crc: 11, exchangeBytes: 12, keyBytes: 13})
	hold := holdPart(3, &entryRecord{index: 4, ordinal: 5}, &Hold{Channel: 6, Consumer: 7, Tag: 8, Delivery: 9, SinceMillis: -10})
	delay := delayPart(3, &entryRecord{index: 4, ordinal: 5}, &Delay{DueMillis: 6, Delivery: 7})
	got := fmt.Sprintf("%x %x %x %x %x", part, hold, delay, Sum(nil), Sum([]byte("a name longer than sixteen bytes")))
	const want = "{52f2fc79023694f0 6b7aa8cf658e75b8} {4106820e14658c8c 1792b60debe37fcd} {e7a5d13d5f5a0991 41313b8503e2a88a} " +
		"{4ccccac97b924d34 d56617d86cd36feb} {6c30771f2ab3bb8d 2943d8ba5db69651}"
	if got != want {
		t.Fatalf("the parts are %s", got)
	}
}

// TestEveryFieldCounts: whatever an entry differs in, its part differs, in about half of all bits.
func TestEveryFieldCounts(t *testing.T) {
	type state struct {
		queue uint64
		e     entryRecord
		m     messageRecord
		h     Hold
	}
	digest := func(s *state) Digest {
		d := entryPart(s.queue, &s.e, &s.m)
		d.Add(holdPart(s.queue, &s.e, &s.h))
		return d
	}
	seen := map[Digest]string{digest(&state{}): "nothing"}
	for what, change := range map[string]func(s *state, n uint64){
		"queue":       func(s *state, n uint64) { s.queue = n },
		"index":       func(s *state, n uint64) { s.e.index = n },
		"ordinal":     func(s *state, n uint64) { s.e.ordinal = uint32(n) },
		"deliveries":  func(s *state, n uint64) { s.e.deliveries = uint32(n) },
		"failures":    func(s *state, n uint64) { s.e.failures = uint32(n) },
		"priority":    func(s *state, n uint64) { s.e.priority = uint8(n) },
		"redelivered": func(s *state, _ uint64) { s.e.redelivered = true },
		"properties":  func(s *state, n uint64) { s.m.propertiesBytes = uint32(n) },
		"body":        func(s *state, n uint64) { s.m.bodyBytes = uint32(n) },
		"crc":         func(s *state, n uint64) { s.m.crc = uint32(n) },
		"exchange":    func(s *state, n uint64) { s.m.exchangeBytes = uint8(n) },
		"key":         func(s *state, n uint64) { s.m.keyBytes = uint8(n) },
		"channel":     func(s *state, n uint64) { s.h.Channel = n },
		"consumer":    func(s *state, n uint64) { s.h.Consumer = n },
		"tag":         func(s *state, n uint64) { s.h.Tag = n },
		"delivery":    func(s *state, n uint64) { s.h.Delivery = n },
		"since":       func(s *state, n uint64) { s.h.SinceMillis = int64(n) },
	} {
		for n := uint64(1); n < 256; n++ {
			var s state
			change(&s, n)
			d := digest(&s)
			name := fmt.Sprint(what, " ", n)
			if other, ok := seen[d]; ok && what != "redelivered" {
				t.Fatalf("%s is like %s", name, other)
			}
			seen[d] = name
		}
	}
}

func TestSumSpreads(t *testing.T) {
	base := []byte("a name that is longer than two blocks of sixteen bytes")
	sum := Sum(base)
	for i := range len(base) * 8 {
		b := bytes.Clone(base)
		b[i/8] ^= 1 << (i % 8)
		d := Sum(b)
		if n := bits.OnesCount64(d.Hi^sum.Hi) + bits.OnesCount64(d.Lo^sum.Lo); n < 30 || n > 98 {
			t.Errorf("bit %d changes %d of 128 bits", i, n)
		}
	}
	seen := make(map[Digest]int)
	for n := range 200 { // zeros of any length are told apart
		d := Sum(make([]byte, n))
		if other, ok := seen[d]; ok {
			t.Fatalf("%d zeros are like %d", n, other)
		}
		seen[d] = n
	}
}
