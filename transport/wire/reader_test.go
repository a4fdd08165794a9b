package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
)

// stream is a mix of every frame type with bodies around all buffer sizes.
func stream(frameMax uint32, sizes ...int) []byte {
	var b []byte
	for i, size := range sizes {
		channel := uint16(i + 1)
		b = (&BasicPublish{Exchange: []byte("x"), RoutingKey: []byte("k")}).AppendFrame(b, channel)
		b = AppendContent(b, channel, frameMax, nil, bytes.Repeat([]byte{byte(i)}, size))
		b = AppendHeartbeat(b)
	}
	return b
}

// readAll prints the frames that a Reader finds, and how it ended.
func readAll(src io.Reader, frameMax uint32) string {
	r := NewReader()
	defer r.Close()
	r.SetFrameMax(frameMax)
	var out bytes.Buffer
	for {
		for {
			f, ok, err := r.Next()
			if err != nil {
				fmt.Fprintf(&out, "error: %v\n", err)
				return out.String()
			}
			if !ok {
				break
			}
			fmt.Fprintf(&out, "%d on %d: %d bytes %x\n", f.Type, f.Channel, len(f.Payload), crc(f.Payload))
		}
		if err := r.Fill(src); err != nil {
			fmt.Fprintf(&out, "%v, %d left\n", err, len(r.Buffered()))
			return out.String()
		}
	}
}

func crc(b []byte) (sum uint32) {
	for _, c := range b {
		sum = sum*31 + uint32(c)
	}
	return sum
}

func TestReaderAtEverySplitPoint(t *testing.T) {
	b := stream(FrameMinMax, 0, 1, 100, 5000)
	want := readAll(bytes.NewReader(b), FrameMinMax)
	for cut := range b {
		got := readAll(io.MultiReader(bytes.NewReader(b[:cut]), bytes.NewReader(b[cut:])), FrameMinMax)
		if got != want {
			t.Fatalf("cut at %d:\n%s\nwant\n%s", cut, got, want)
		}
	}
	if got := readAll(iotest.OneByteReader(bytes.NewReader(b)), FrameMinMax); got != want {
		t.Fatalf("byte by byte:\n%s\nwant\n%s", got, want)
	}
}

func TestReaderGrowsAndShrinks(t *testing.T) {
	const frameMax = 1 << 20
	b := stream(frameMax, 10, idleBufferSize, busyBufferSize, busyBufferSize+1, 300<<10, 10, 20)
	src := bytes.NewReader(b)
	want := readAll(bytes.NewReader(b), frameMax)
	if got := readAll(iotest.HalfReader(src), frameMax); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}

	r := NewReader()
	defer r.Close()
	r.SetFrameMax(frameMax)
	feed := func(b []byte) {
		t.Helper()
		src := bytes.NewReader(b)
		for src.Len() > 0 {
			if err := r.Fill(src); err != nil {
				t.Fatal(err)
			}
			for ok := true; ok; {
				var err error
				if _, ok, err = r.Next(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	feed(stream(frameMax, 300<<10))
	if len(r.buf) < 300<<10 {
		t.Fatalf("buffer of %d bytes for a frame of 300 KiB", len(r.buf))
	}
	feed(AppendHeartbeat(nil))
	feed(AppendHeartbeat(nil))
	feed(AppendHeartbeat(nil))
	if len(r.buf) != idleBufferSize || r.busy != nil {
		t.Fatalf("buffer of %d bytes after quiet", len(r.buf))
	}
}

// TestAnnouncedSizeCostsNothing: memory follows what came, not what a header claims.
func TestAnnouncedSizeCostsNothing(t *testing.T) {
	r := NewReader()
	defer r.Close()
	r.SetFrameMax(1 << 30)
	src := bytes.NewReader([]byte{byte(FrameBody), 0, 1, 0x3F, 0, 0, 0, 1, 2, 3})
	for r.Fill(src) == nil {
		if _, ok, err := r.Next(); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if len(r.buf) > idleBufferSize {
		t.Fatalf("%d bytes for 10", len(r.buf))
	}
}

func TestBadFrames(t *testing.T) {
	for name, b := range map[string][]byte{
		"unknown type":             {4, 0, 0, 0, 0, 0, 0, frameEnd},
		"unknown type, first byte": {'G'},
		"heartbeat with payload":   {8, 0, 0, 0, 0, 0, 1, 0, frameEnd},
		"too large":                {3, 0, 1, 0, 0, 0x10, 0}, // 4096 + 8, without waiting for it
		"largest":                  {3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF},
		"end octet":                {1, 0, 1, 0, 0, 0, 1, 0, 0xCD},
	} {
		if _, _, ok, err := parseFrame(b, FrameMinMax); ok || !errors.Is(err, ErrFrame) {
			t.Errorf("%s: ok %v, error %v", name, ok, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(stream(FrameMinMax, 0, 3, 5000), 7)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 1)
	f.Add(AppendHeartbeat(nil), 3)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if cut < 0 || cut > len(b) {
			return
		}
		whole := readAll(bytes.NewReader(b), FrameMinMax)
		split := readAll(io.MultiReader(bytes.NewReader(b[:cut]), bytes.NewReader(b[cut:])), FrameMinMax)
		if whole != split {
			t.Fatalf("whole:\n%s\ncut at %d:\n%s", whole, cut, split)
		}
	})
}
