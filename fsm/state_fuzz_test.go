package fsm

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// fuzzSource makes random numbers of fuzzed bytes, so that the fuzzer steers the generator of entries; after the last byte it is a generator of its own.
type fuzzSource struct {
	b    []byte
	tail *rand.PCG
}

func (f *fuzzSource) Uint64() uint64 {
	if len(f.b) < 2 {
		return f.tail.Uint64()
	}
	n := uint64(binary.BigEndian.Uint16(f.b))
	f.b = f.b[2:]
	return n * 0x0001_0001_0001_0001
}

// FuzzApply applies entries that make sense, or nearly: none may panic or break an invariant, and the snapshot must bring the state back.
func FuzzApply(f *testing.F) {
	f.Add([]byte("triage"))
	for seed := range uint64(4) {
		source := rand.NewPCG(seed, seed)
		b := make([]byte, 512)
		for i := range b {
			b[i] = byte(source.Uint64())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := newEntryGenerator(t, &fuzzSource{b: b, tail: rand.NewPCG(uint64(len(b)), 1)})
		r := newTestReplica(g.origins[0])
		for index := uint64(1); index <= 24; index++ {
			g.state = r.state
			entry, _ := g.entry()
			r.effects = nil
			r.state.Apply(index, entry)
		}
		before := snapshotBytes(t, r.state)
		r.restore(t)
		if !bytes.Equal(snapshotBytes(t, r.state), before) {
			t.Fatal("a restored state writes another snapshot")
		}
	})
}

// FuzzApplyRaw applies whatever the leader's check lets into the log.
func FuzzApplyRaw(f *testing.F) {
	for seed := range uint64(8) {
		r := newTestReplica(Origin{"n1", 1})
		g := newEntryGenerator(f, rand.NewPCG(seed, 0))
		for index := uint64(1); index <= 3; index++ {
			g.state = r.state
			entry, _ := g.entry()
			r.state.Apply(index, entry)
			f.Add(entry)
		}
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		g := newEntryGenerator(t, rand.NewPCG(1, 1))
		r := newTestReplica(g.origins[0])
		for index := uint64(1); index <= 6; index++ {
			g.state = r.state
			entry, _ := g.entry()
			r.state.Apply(index, entry)
		}
		if !admissible(entry) {
			return
		}
		r.state.Apply(100, entry)
		r.restore(t)
	})
}

// admissible is whether each item of an entry passes CheckItem and does not raise the feature level beyond what any program knows: that must stop it.
func admissible(entry []byte) bool {
	_, items, err := openEntry(entry)
	if err != nil {
		return false
	}
	for b := items.b; len(b) > 0; {
		_, _, rest, err := splitItem(b)
		if err != nil || CheckItem(b[:len(b)-len(rest)]) != nil {
			return false
		}
		if it, _, _ := (&itemReader{b: b}).next(); it.level > FeatureLevelMax {
			return false
		}
		b = rest
	}
	return true
}

// FuzzRestore reads damaged snapshots: an error, never a panic.
func FuzzRestore(f *testing.F) {
	for seed := range uint64(3) {
		r := newTestReplica(Origin{"n1", 1})
		g := newEntryGenerator(f, rand.NewPCG(seed, 0))
		for index := uint64(1); index <= 12; index++ {
			g.state = r.state
			entry, _ := g.entry()
			r.state.Apply(index, entry)
		}
		sn := r.state.Freeze()
		f.Add(sn.objects, writeSnapshot(f, sn))
		r.state.Thaw(sn)
	}
	f.Fuzz(func(t *testing.T, objects, whole []byte) {
		restoreDamaged(t, whole)
		// Objects with checksums that fit get further.
		sn := New(Options{}).Freeze()
		sn.objects = objects
		restoreDamaged(t, writeSnapshot(t, sn))
	})
}

// restoreDamaged restores what may be damaged; what Restore accepts must be sound.
func restoreDamaged(t *testing.T, snapshot []byte) {
	s, err := Restore(Options{Check: true}, bytes.NewReader(snapshot))
	if err == nil && s.applied < 1<<62 {
		s.Apply(s.applied+1, AppendEntry(nil, 0, [][]byte{AppendTick(nil)}))
	}
}
