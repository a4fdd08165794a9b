package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestContentSplitsAtFrameMax(t *testing.T) {
	const frameMax = 4096
	for _, size := range []int{0, 1, frameMax - FrameOverhead - 1, frameMax - FrameOverhead, frameMax - FrameOverhead + 1, 3 * frameMax} {
		body := bytes.Repeat([]byte{'b'}, size)
		properties := []byte{0x10, 0, 2}
		encoded := AppendContent(nil, 3, frameMax, properties, body)
		if got := ContentSize(frameMax, properties, body); got != len(encoded) {
			t.Fatalf("size %d: ContentSize %d, written %d", size, got, len(encoded))
		}
		r := NewReader()
		r.SetFrameMax(frameMax)
		src := bytes.NewReader(encoded)
		var header ContentHeader
		var gathered []byte
		for src.Len() > 0 {
			if err := r.Fill(src); err != nil {
				t.Fatal(err)
			}
			for {
				f, ok, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if f.Type == FrameHeader {
					if header, err = DecodeContentHeader(bytes.Clone(f.Payload)); err != nil {
						t.Fatal(err)
					}
					continue
				}
				gathered = append(gathered, f.Payload...)
			}
		}
		r.Close()
		if header.Class != ClassBasic || header.BodySize != uint64(size) || !bytes.Equal(header.Properties, properties) || !bytes.Equal(gathered, body) {
			t.Fatalf("size %d: header %+v, %d bytes", size, header, len(gathered))
		}
	}
}

func TestContentHeaderTooShort(t *testing.T) {
	whole := AppendContentHeader(nil, 1, nil, 7)
	payload := whole[frameHeaderSize : len(whole)-1]
	if h, err := DecodeContentHeader(payload); err != nil || h.BodySize != 7 {
		t.Fatal(h, err)
	}
	for cut := range payload {
		if _, err := DecodeContentHeader(payload[:cut]); !errors.Is(err, ErrSyntax) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
}

func FuzzContentHeader(f *testing.F) {
	f.Add(AppendContentHeader(nil, 1, nil, 7)[frameHeaderSize:])
	f.Fuzz(func(t *testing.T, payload []byte) {
		h, err := DecodeContentHeader(payload)
		if err != nil {
			return
		}
		again, err := DecodeContentHeader(AppendContentHeader(nil, 1, h.Properties, h.BodySize)[frameHeaderSize : frameHeaderSize+len(payload)])
		if err != nil || again.BodySize != h.BodySize || !bytes.Equal(again.Properties, h.Properties) {
			t.Fatalf("%+v, then %+v, %v", h, again, err)
		}
	})
}
