package fsm

import (
	"encoding/binary"
	"slices"

	"github.com/triagemq/triagemq/fsm/store"
)

// object is a part of the state that is hashed on its own, by its snapshot encoding. Messages are hashed by the store.
type object interface {
	base() *cold
	// encode appends the canonical encoding, which begins with the kind of the object.
	encode(dst []byte) []byte
}

// cold is what every object keeps for the digest. An object that changes is put on a list, once, and hashed again when the next digest is asked for.
type cold struct {
	sum     store.Digest // what the digest counts for this object
	known   bool         // counted in digest.objects
	counted bool         // sum is in the digest
	dirty   bool         // on the list
	gone    bool
}

func (c *cold) base() *cold { return c }

type digest struct {
	sum     store.Digest
	dirty   []object
	objects int
	buffer  []byte
}

// touch notes that an object is new or has changed.
func (s *State) touch(o object) {
	c, d := o.base(), &s.digest
	if c.dirty || c.gone {
		return
	}
	if !c.known {
		c.known = true
		d.objects++
	}
	c.dirty = true
	d.dirty = append(d.dirty, o)
	const slack = 1024
	if len(d.dirty) > 2*d.objects+slack { // objects come and go and no Mark follows: do not keep the dead
		d.dropGone()
	}
}

// dropGone shortens the list. It hashes nothing: whoever touches an object may be in the middle of changing it.
func (d *digest) dropGone() {
	d.dirty = slices.DeleteFunc(d.dirty, func(o object) bool { return o.base().gone })
}

// forget takes an object out of the state.
func (s *State) forget(o object) {
	c := o.base()
	if c.counted {
		s.digest.sum.Sub(c.sum)
	}
	if c.known {
		s.digest.objects--
	}
	c.known, c.counted, c.gone = false, false, true
}

func (s *State) isGone(o object) bool { return o.base().gone }

// settle hashes what has changed.
func (d *digest) settle() {
	for i, o := range d.dirty {
		d.dirty[i] = nil
		c := o.base()
		c.dirty = false
		if c.gone {
			continue
		}
		if c.counted {
			d.sum.Sub(c.sum)
		}
		d.buffer = o.encode(d.buffer[:0])
		c.sum, c.counted = store.Sum(d.buffer), true
		d.sum.Add(c.sum)
	}
	d.dirty = d.dirty[:0]
}

// hash is the digest of the whole state.
func (s *State) hash() (h [16]byte) {
	s.digest.settle()
	b := s.encodeHead(s.digest.buffer[:0])
	for _, d := range [...]store.Digest{s.digest.sum, s.store.Digest()} {
		b = binary.BigEndian.AppendUint64(b, d.Hi)
		b = binary.BigEndian.AppendUint64(b, d.Lo)
	}
	s.digest.buffer = b
	sum := store.Sum(b)
	binary.BigEndian.PutUint64(h[:8], sum.Hi)
	binary.BigEndian.PutUint64(h[8:], sum.Lo)
	return h
}
