package wire

import (
	"io"
	"testing"
)

// repeat is an endless stream of the same bytes, as a socket hands it out: as much as there is room for.
type repeat struct {
	b  []byte
	at int
}

func (r *repeat) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], r.b[r.at:])
		n += c
		r.at = (r.at + c) % len(r.b)
	}
	return n, nil
}

// BenchmarkReadPublish is one basic.publish of 1 KiB: three frames found, method and header decoded.
func BenchmarkReadPublish(b *testing.B) {
	src := &repeat{b: stream(FrameMaxProvisional, 1024)[:0]}
	src.b = (&BasicPublish{Exchange: []byte("exchange"), RoutingKey: []byte("key")}).AppendFrame(nil, 1)
	src.b = AppendContent(src.b, 1, FrameMaxProvisional, []byte{0x18, 0, 2, 5}, make([]byte, 1024))
	b.SetBytes(int64(len(src.b)))
	r := NewReader()
	defer r.Close()
	var publish BasicPublish
	b.ReportAllocs()
	for b.Loop() {
		for frames := 0; frames < 3; {
			f, ok, err := r.Next()
			switch {
			case err != nil:
				b.Fatal(err)
			case !ok:
				_ = r.Fill(src)
				continue
			case f.Type == FrameMethod:
				_, arguments, _ := SplitMethod(f.Payload)
				err = publish.Decode(arguments)
			case f.Type == FrameHeader:
				_, err = DecodeContentHeader(f.Payload)
			}
			if err != nil {
				b.Fatal(err)
			}
			frames++
		}
	}
}

// BenchmarkWriteDeliver is one basic.deliver of 1 KiB.
func BenchmarkWriteDeliver(b *testing.B) {
	deliver := BasicDeliver{ConsumerTag: "ctag-1", DeliveryTag: 7, Exchange: []byte("exchange"), RoutingKey: []byte("key")}
	properties, body := []byte{0x18, 0, 2, 5}, make([]byte, 1024)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = deliver.AppendFrame(out[:0], 1)
		out = AppendContent(out, 1, FrameMaxProvisional, properties, body)
	}
	b.SetBytes(int64(len(out)))
	_, _ = io.Discard.Write(out)
}
