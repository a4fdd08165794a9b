package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// sampleStore has a bit of everything: sharing, priorities, holds, counts, a large content.
func sampleStore(entries int) *Store { return sampleStoreIn(HeapChunks{}, entries) }

func sampleStoreIn(c Chunks, entries int) *Store {
	s := New(c)
	delivery := uint64(0)
	for i := range entries {
		m := s.Put(Content{
			Exchange: []byte("orders"), RoutingKey: fmt.Append(nil, "key.", i), Properties: []byte{0x10, 0, byte(i)},
			Body: bytes.Repeat([]byte{byte(i)}, i*i%3000),
		})
		for queue := range uint64(1 + i%3) {
			s.Queue(queue*1000).Push(m, ID{uint64(i/4 + 1), uint32(i % 4)}, Placement{Priority: uint8(i % 7)})
		}
		s.Release(m)
		if i%5 == 0 {
			delivery++
			q := s.Queue(uint64(i%3) * 1000)
			if e, ok := q.Take(Hold{Channel: 1 + delivery%3, Consumer: 5, Tag: delivery, Delivery: delivery, SinceMillis: int64(i) - 10}); ok && i%2 == 0 {
				q.Return(e, ReturnFailed)
			}
		}
	}
	m := s.Put(Content{Body: bytes.Repeat([]byte("large"), 40_000)})
	s.Queue(1).Push(m, ID{1 << 40, 0}, Placement{Priority: 255})
	s.Release(m)
	return s
}

func encode(s *Store) []byte {
	f := s.Freeze()
	defer s.Thaw(f)
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestRestore(t *testing.T) {
	s := sampleStore(500)
	want := encode(s)
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(want),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(want)),
		"with the end": iotest.DataErrReader(bytes.NewReader(want)),
	} {
		got, err := Restore(HeapChunks{}, r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := got.Check(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(got), want) || got.Digest() != s.Digest() {
			t.Fatalf("%s: another store came back", name)
		}
	}
}

func TestEmptySnapshot(t *testing.T) {
	s := New(HeapChunks{})
	want := encode(s)
	s.Queue(3) // an empty queue is nothing, nor is a message that no entry refers to
	s.Put(Content{Body: []byte("x")})
	if !bytes.Equal(encode(s), want) {
		t.Fatal("an empty queue left traces")
	}
	got, err := Restore(HeapChunks{}, bytes.NewReader(want))
	if err != nil || got.Stats().Entries != 0 {
		t.Fatal(err)
	}
}

// TestGolden keeps version 1 readable for ever. If it fails, the format has changed: that needs a new version.
func TestGolden(t *testing.T) {
	s := New(HeapChunks{})
	m := s.Put(Content{Exchange: []byte("x"), RoutingKey: []byte("kk"), Properties: []byte{0, 0}, Body: []byte("body")})
	s.Queue(7).Push(m, ID{300, 2}, Placement{Priority: 9})
	s.Queue(8).Push(m, ID{300, 3}, Placement{ExpiresMillis: 5})
	s.Queue(8).Push(m, ID{300, 4}, Placement{Delay: Delay{DueMillis: 6, Delivery: 3}})
	s.Release(m)
	s.Queue(7).Take(Hold{Channel: 1, Consumer: 2, Tag: 3, Delivery: 4, SinceMillis: -1})
	const want = "0000004d" + "c54cbc7d" + // section
		"544d514d" + "01" + // magic, version
		"01" + "07" + "01" + // queue 7 has one entry
		"ac02" + "02" + "06" + "09" + "00" + "00" + // its ID, flags, priority, counts
		"01" + "02" + "03" + "04" + "01" + // hold
		"01" + "02" + "02" + "04" + "1cabb49b" + "78" + "6b6b" + "0000" + "626f6479" + // content
		"01" + "08" + "02" + // queue 8
		"ac02" + "03" + "08" + "00" + "00" + "00" + "0a" + "00" + // an expiry, and the same content
		"00" + "04" + "10" + "00" + "00" + "00" + "0c" + "03" + "00" + // a delay, and again
		"00" + "03" + "01" + "0992ed70af2b0fbb" + "989ac4c8d9e1afd8" // totals, digest
	if got := fmt.Sprintf("%x", encode(s)); got != want {
		t.Fatalf("the encoding is\n%s, not\n%s", got, want)
	}
}

// TestDamage: every cut and every flipped bit is found, and is an ErrDamaged.
func TestDamage(t *testing.T) {
	b := encode(sampleStore(40))
	chunks := newStrictChunks(t)
	try := func(what string, b []byte) {
		if s, err := Restore(chunks, bytes.NewReader(b)); !errors.Is(err, ErrDamaged) || s != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	step := 1
	if len(b) > 3000 {
		step = len(b) / 3000
	}
	for i := 0; i < len(b); i += step {
		try(fmt.Sprint("cut at ", i), b[:i])
		spoilt := bytes.Clone(b)
		spoilt[i] ^= 1 << (i % 8)
		try(fmt.Sprint("flipped at ", i), spoilt)
	}
	chunks.checkEmpty()
}

func TestErrorsOfTheCallerArePassedOn(t *testing.T) {
	broken := errors.New("broken")
	b := encode(sampleStore(40))
	if _, err := Restore(HeapChunks{}, io.MultiReader(bytes.NewReader(b[:100]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	s := sampleStore(40)
	for _, limit := range []int{0, 1, 70_000} {
		n, err := s.Freeze().WriteTo(&limitedWriter{limit, broken})
		if !errors.Is(err, broken) || n != int64(limit) {
			t.Fatal(n, err)
		}
		s.Thaw(s.frozen)
	}
}

type limitedWriter struct {
	left int
	err  error
}

func (w *limitedWriter) Write(b []byte) (int, error) {
	if len(b) <= w.left {
		w.left -= len(b)
		return len(b), nil
	}
	return w.left, w.err
}

// TestWriteToFindsSpoiltMemory: what could not be restored is not written without a word.
func TestWriteToFindsSpoiltMemory(t *testing.T) {
	s := sampleStore(40)
	e, _ := s.Queue(0).Front()
	s.Content(s.Info(e).Message).RoutingKey[0] ^= 1
	f := s.Freeze()
	if _, err := f.WriteTo(io.Discard); err == nil {
		t.Fatal("a spoilt content was written")
	}
}

// sections wraps a stream as WriteTo does, checksums right, so that tests get behind them.
func sections(stream []byte) []byte {
	var b bytes.Buffer
	w := newSectionWriter(&b)
	w.write(stream)
	w.flush()
	return b.Bytes()
}

// stream takes the sections off.
func stream(b []byte) []byte {
	var all []byte
	for len(b) > 0 {
		n := binary.BigEndian.Uint32(b)
		all = append(all, b[sectionHeaderBytes:sectionHeaderBytes+n]...)
		b = b[sectionHeaderBytes+n:]
	}
	return all
}

// TestForgedStreams have right checksums around wrong content.
func TestForgedStreams(t *testing.T) {
	head := streamMagic + "\x01"
	content := "\x00\x00\x00\x00\x00\x00\x00\x00" // four lengths of 0, the CRC of nothing
	for what, forged := range map[string]string{
		"nothing":                  "",
		"another magic":            "TMQX\x01",
		"another version":          streamMagic + "\x02",
		"no end":                   head,
		"an unknown tag":           head + "\x02",
		"an empty queue":           head + "\x01\x05\x00",
		"a count without entries":  head + "\x01\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"a number too long":        head + "\x00\x80\x00\x00" + strings.Repeat("\x00", 16),
		"a number beyond 64 bits":  head + "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x01",
		"a reference to nothing":   head + "\x01\x05\x01" + "\x01\x00\x00\x00\x00\x00" + "\x00",
		"unknown flags":            head + "\x01\x05\x01" + "\x01\x00\x0c\x00\x00\x00" + content,
		"an ordinal of 33 bits":    head + "\x01\x05\x01" + "\x01\x80\x80\x80\x80\x10\x04\x00\x00\x00" + content,
		"a huge content":           head + "\x01\x05\x01" + "\x01\x00\x04\x00\x00\x00" + "\x00\x00\x00\xff\xff\xff\xff\x0f",
		"a large body cut short":   head + "\x01\x05\x01" + "\x01\x00\x04\x00\x00\x00" + "\x00\x00\x00\xff\xff\xff\x7f\x00\x00\x00\x00abc",
		"the same id twice":        head + "\x01\x05\x02" + "\x01\x00\x04\x00\x00\x00" + content + "\x00\x00\x00\x00\x00\x00\x00",
		"an index beyond 64 bits":  head + "\x01\x05\x02" + "\x01\x00\x04\x00\x00\x00" + content + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00",
		"queues out of order":      head + "\x01\x05\x01" + "\x01\x00\x04\x00\x00\x00" + content + "\x01\x04\x01\x01\x00\x00\x00\x00\x00\x00",
		"a delivery id of 0":       head + "\x01\x05\x01" + "\x01\x00\x06\x00\x00\x00" + "\x01\x00\x01\x00\x00" + content,
		"totals that do not match": head + "\x00\x01\x00" + strings.Repeat("\x00", 16),
		"a digest that does not":   head + "\x00\x00\x00" + "\x01" + strings.Repeat("\x00", 15),
		"more after the end":       head + "\x00\x00\x00" + strings.Repeat("\x00", 17),
	} {
		_, err := Restore(HeapChunks{}, bytes.NewReader(sections([]byte(forged))))
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Restore(HeapChunks{}, bytes.NewReader(sections([]byte(head+"\x00\x00\x00"+strings.Repeat("\x00", 16))))); err != nil {
		t.Errorf("the empty store, by hand: %v", err)
	}
}

// TestForgeriesTheDigestMisses: it adds up all the same.
func TestForgeriesTheDigestMisses(t *testing.T) {
	s := New(HeapChunks{})
	push(s, s.Queue(1), 1, 0)
	push(s, s.Queue(2), 1, 0)
	b := stream(encode(s))
	head, end := len(streamMagic)+1, len(b)-19
	half := (end - head) / 2
	swapped := slices.Concat(b[:head], b[head+half:end], b[head:head+half], b[end:])
	spoilt := bytes.Clone(b)
	spoilt[head+half-2]++ // the checksum before a body of one byte
	for what, forged := range map[string][]byte{"queues out of order": swapped, "a content's checksum": spoilt} {
		if _, err := Restore(HeapChunks{}, bytes.NewReader(sections(forged))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSections: what the stream within might not notice.
func TestSections(t *testing.T) {
	empty := stream(encode(New(HeapChunks{})))
	spoilt := sections(empty)
	spoilt[4] ^= 1 // the checksum itself
	for what, b := range map[string][]byte{
		"another checksum":        spoilt,
		"sections that are short": append(sections(empty[:9]), sections(empty[9:])...),
		"a section of nothing":    append(make([]byte, sectionHeaderBytes), sections(empty)...),
		"nothing at all":          nil,
	} {
		if _, err := Restore(HeapChunks{}, bytes.NewReader(b)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	long := binary.BigEndian.AppendUint32(nil, sectionBytesMax+1)
	if _, err := Restore(HeapChunks{}, bytes.NewReader(append(long, make([]byte, sectionBytesMax+5)...))); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "65537") {
		t.Errorf("a section too long: %v", err)
	}
}

// TestTagsAreUnique: two held entries of one channel must not share a tag.
func TestTagsAreUnique(t *testing.T) {
	s := New(HeapChunks{})
	q := s.Queue(1)
	for i := range uint64(2) {
		push(s, q, i+1, 0)
		q.Take(Hold{Channel: 3, Tag: 4, Delivery: i + 1})
	}
	if s.Check() == nil {
		t.Fatal("Check did not find it")
	}
	if _, err := Restore(HeapChunks{}, bytes.NewReader(encode(s))); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}

// FuzzRestore feeds streams with right checksums. Whatever is accepted must be sound, and be written again as it was read.
func FuzzRestore(f *testing.F) {
	f.Add(stream(encode(New(HeapChunks{}))))
	f.Add(stream(encode(sampleStore(3))))
	f.Add(stream(encode(sampleStore(12))))
	f.Fuzz(func(t *testing.T, in []byte) {
		b := sections(in)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := Restore(HeapChunks{}, bytes.NewReader(b))
		runtime.ReadMemStats(&after)
		if spent := after.TotalAlloc - before.TotalAlloc; spent > 2<<20+uint64(len(in))*100 {
			t.Fatalf("%d bytes were allocated for %d", spent, len(in))
		}
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		if got := encode(s); !bytes.Equal(got, b) {
			t.Fatalf("read\n%x, wrote\n%x", b, got)
		}
	})
}

// TestWriteToWhileTheStoreGoesOn is for the race detector, and compares the bytes.
func TestWriteToWhileTheStoreGoesOn(t *testing.T) {
	s := sampleStoreIn(newStrictChunks(t), 3000)
	for round := range uint64(3) {
		f := s.Freeze()
		var want bytes.Buffer
		if _, err := f.WriteTo(&want); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		var got bytes.Buffer
		go func() {
			_, err := f.WriteTo(&got)
			done <- err
		}()
		churn(s, 1<<41+round<<32)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatal("the view changed under way")
		}
		s.Thaw(f)
		s.Compact(1 << 20)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

// churn does a few thousand changes of every kind.
func churn(s *Store, index uint64) {
	delivery := s.lastDelivery
	for i := range uint64(4000) {
		q := s.Queue(i % 3 * 1000)
		push(s, q, index+i, uint8(i%7))
		delivery++
		e, _ := q.Take(Hold{Channel: 9, Tag: delivery, Delivery: delivery})
		if i%2 == 0 {
			q.Return(e, ReturnConnection)
		} else {
			q.Remove(e)
		}
		if first, ok := q.FirstHeld(); ok && i%5 == 0 {
			q.Remove(first)
		}
	}
}
