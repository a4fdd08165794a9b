package fsm

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

// snapshotExample is a snapshot of a state that random entries made, with its objects.
func snapshotExample(t *testing.T, seed uint64, entries uint64) (objects, whole []byte) {
	r := newTestReplica(Origin{"n1", 1})
	g := newEntryGenerator(t, rand.NewPCG(seed, 0))
	for index := uint64(1); index <= entries; index++ {
		g.state = r.state
		entry, _ := g.entry()
		r.state.Apply(index, entry)
	}
	sn := r.state.Freeze()
	defer r.state.Thaw(sn)
	return sn.objects, writeSnapshot(t, sn)
}

func TestRestoreReportsDamage(t *testing.T) {
	_, whole := snapshotExample(t, 1, 12)
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1 << (i % 8)
		if _, err := Restore(Options{}, bytes.NewReader(damaged)); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("a flipped bit of byte %d of %d gives %v", i, len(whole), err)
		}
	}
	for size := range whole {
		if _, err := Restore(Options{}, bytes.NewReader(whole[:size])); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("%d of %d bytes give %v", size, len(whole), err)
		}
	}
}

// A snapshot whose checksums fit and whose objects do not make sense was written by a program with a mistake; that is an error too, not a panic, and what is
// accepted goes on.
func TestRestoreOfSenselessObjects(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for seed := range uint64(6) {
		objects, whole := snapshotExample(t, seed, 20)
		// What follows the objects stays: the store's half.
		s, err := Restore(Options{}, bytes.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		for range 400 {
			sn := s.Freeze()
			sn.objects = bytes.Clone(objects)
			for n := random.IntN(3); n >= 0; n-- {
				sn.objects[random.IntN(len(objects))] = byte(random.UintN(256))
			}
			if random.IntN(8) == 0 {
				sn.objects = sn.objects[:random.IntN(len(objects))]
			}
			restoreDamaged(t, writeSnapshot(t, sn))
			s.Thaw(sn)
		}
	}
}

// chunkCounter counts the chunks that are lent.
type chunkCounter struct{ lent int }

func (c *chunkCounter) Alloc(sizeBytes int) []byte {
	c.lent++
	return make([]byte, sizeBytes)
}

func (c *chunkCounter) Free([]byte) { c.lent-- }

// The messages are read before the objects are looked at: where these make no sense, the former must not stay.
func TestFailedRestoreKeepsNoChunks(t *testing.T) {
	chunks := &chunkCounter{}
	var s *State
	var objects []byte
	for seed := uint64(1); chunks.lent == 0; seed++ { // until there are messages at the end
		var whole []byte
		var err error
		objects, whole = snapshotExample(t, seed, 40)
		if s, err = Restore(Options{Chunks: chunks}, bytes.NewReader(whole)); err != nil || seed == 100 {
			t.Fatalf("%v: %d chunks are lent: the test shows nothing", err, chunks.lent)
		}
	}
	sn := s.Freeze()
	sn.objects = objects[:len(objects)-1]
	damaged := writeSnapshot(t, sn)
	s.Discard()
	if chunks.lent == 0 {
		t.Fatal("a snapshot that is open lost its chunks")
	}
	s.Thaw(sn)
	if _, err := Restore(Options{Chunks: chunks}, bytes.NewReader(damaged)); !errors.Is(err, ErrSnapshot) {
		t.Fatalf("objects that end early give %v", err)
	}
	if chunks.lent != 0 {
		t.Errorf("%d chunks are lent after a failed restore and a discarded state", chunks.lent)
	}
}

// Tags that do not ascend, or that are void and held at once, are damage too.
func TestRestoreOfSenselessVoids(t *testing.T) {
	d := newDriver(t)
	commands := []Command{
		&DeclareQueue{Ref: driverChannel, Name: "q"},
		&Consume{Ref: driverChannel, Queue: "q", Tag: "c", GrantMessages: 3, GrantBytes: 100,
			Arguments: content.Table{{Name: argConsumerTimeout, Value: int32(1000)}}.Append(nil)},
	}
	for range 4 {
		commands = append(commands, &Publish{Ref: driverChannel, RoutingKey: []byte("q"), Properties: []byte{0, 0}})
	}
	d.apply(commands...)
	d.nowMillis += 2000
	d.tick()
	d.apply(&Get{Ref: driverChannel, Queue: "q"})
	sn := d.state.Freeze()
	defer d.state.Thaw(sn)
	voids := []byte{3, 1, 2, 3} // the count and the tags; tag 4 is held
	if n := bytes.Count(sn.objects, voids); n != 1 {
		t.Fatalf("the void tags are there %d times", n)
	}
	whole := sn.objects
	for _, senseless := range [][]byte{{3, 2, 1, 3}, {3, 1, 1, 3}, {3, 1, 2, 4}, {3, 1, 2, 5}} {
		sn.objects = bytes.Replace(whole, voids, senseless, 1)
		if _, err := Restore(Options{}, bytes.NewReader(writeSnapshot(t, sn))); !errors.Is(err, ErrSnapshot) {
			t.Errorf("void tags %v give %v", senseless[1:], err)
		}
	}
}
