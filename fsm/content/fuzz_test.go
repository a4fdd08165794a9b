package content

import (
	"bytes"
	"testing"
)

// FuzzTable: decoders agree on what is a table, and what they accept is written back as it was, but for boolean octets.
func FuzzTable(f *testing.F) {
	for _, c := range recorded {
		f.Add(unhex(f, c.hex))
	}
	f.Add(deepTable(DepthMax).Append(nil))
	f.Add(deepTable(DepthMax + 1).Append(nil))
	f.Add([]byte{0, 0, 0, 4, 1, 'b', 't', 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		table, rest, err := DecodeTable(b)
		scanned, scanRest, scanErr := ScanTable(b)
		if (err == nil) != (scanErr == nil) {
			t.Fatalf("DecodeTable: %v, ScanTable: %v", err, scanErr)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(rest, scanRest) || !bytes.Equal(b, append(bytes.Clone(scanned), rest...)) {
			t.Fatalf("rest %x, ScanTable %x and %x", rest, scanned, scanRest)
		}
		checkTableBack(t, table, scanned)
	})
}

func checkTableBack(t *testing.T, table Table, encoded []byte) {
	if err := table.Validate(); err != nil {
		t.Fatalf("what was decoded is not valid: %v", err)
	}
	back := table.Append(nil)
	if len(back) != len(encoded) {
		t.Fatalf("%x was written back as %x", encoded, back)
	}
	again, _, err := DecodeTable(back)
	if err != nil || !Equal(table, again) || !bytes.Equal(again.Append(nil), back) {
		t.Fatalf("%x decodes to %v, %v; want %v", back, again, err, table)
	}
	for i := range back {
		// A boolean octet above 1 becomes 1; nothing else may differ, and never to the other truth.
		if back[i] != encoded[i] && (back[i] != 1 || encoded[i] == 0 || encoded[max(i-1, 0)] != typeBool) {
			t.Fatalf("byte %d of %x was written back as %#x", i, encoded, back[i])
		}
	}
}

// FuzzProperties: both decoders agree, and what they accept is written back.
func FuzzProperties(f *testing.F) {
	f.Add(unhex(f, recordedProperties))
	f.Add([]byte{0, 0})
	f.Add([]byte{0xff, 0xfc})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := DecodeProperties(b)
		if _, scanErr := Scan(b); (err == nil) != (scanErr == nil) {
			t.Fatalf("DecodeProperties: %v, Scan: %v", err, scanErr)
		}
		if err != nil {
			return
		}
		checkSummary(t, b, p)
		if back := p.Append(nil); len(back) != len(b) || p.Headers == nil && !bytes.Equal(back, b) {
			t.Fatalf("%x was written back as %x", b, back)
		}
	})
}
