package backup

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var example = Header{Cluster: "c0ffee", Node: "n1", Index: 7, Term: 2, FeatureLevel: 1, Product: "0.1.0", Created: time.Unix(1e9, 0).UTC()}

func written(t testing.TB, state []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, example)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(state); n != len(state) || err != nil {
		t.Fatal(n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	for _, size := range []int{0, 1, sectionBytesMax - 1, sectionBytesMax, sectionBytesMax + 1, 3*sectionBytesMax + 5} {
		state := make([]byte, size)
		random.Read(state)
		r, err := NewReader(iotest.HalfReader(bytes.NewReader(written(t, state))))
		if err != nil || r.Header != example {
			t.Fatalf("%+v, %v", r, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, state) {
			t.Errorf("%d bytes come back as %d, %v", size, len(got), err)
		}
	}
}

// The bytes of version 1 are for ever.
func TestGolden(t *testing.T) {
	const want = "544d51420100000091" +
		"7b22636c7573746572223a22633066666565222c226e6f6465223a226e31222c22696e646578223a372c227465726d223a322c22666561747572655f6c6576656c223a312c2270726f64756374223a22302e31" +
		"2e30222c2263726561746564223a22323030312d30392d30395430313a34363a34305a227d"
	got := hex.EncodeToString(written(t, []byte("state")))
	if len(got) < len(want) || got[18:len(want)] != want[18:] || got[:10] != want[:10] {
		t.Errorf("a backup begins with\n%s, it used to with\n%s", got[:min(len(got), len(want))], want)
	}
	if got[len(got)-2*(4+8+32):len(got)-2*32] != "000000000000000000000005" {
		t.Errorf("the trailer is %s", got[len(got)-2*(4+8+32):])
	}
}

func TestEveryDamageIsSeen(t *testing.T) {
	whole := written(t, []byte("the state of a broker"))
	for i := range whole {
		altered := bytes.Clone(whole)
		altered[i] ^= 1 << (i % 8)
		if _, _, err := Verify(bytes.NewReader(altered)); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
			t.Errorf("a flipped bit of byte %d gives %v", i, err)
		}
	}
	for size := range whole {
		if _, _, err := Verify(bytes.NewReader(whole[:size])); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d of %d bytes give %v", size, len(whole), err)
		}
	}
	if _, _, err := Verify(bytes.NewReader(append(bytes.Clone(whole), 0))); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte behind the end gives %v", err)
	}
}

func TestErrorsOfTheSourceAreTold(t *testing.T) {
	broken := errors.New("broken")
	whole := written(t, make([]byte, 100))
	for size := range whole {
		if _, _, err := Verify(io.MultiReader(bytes.NewReader(whole[:size]), iotest.ErrReader(broken))); !errors.Is(err, broken) || errors.Is(err, ErrDamaged) {
			t.Fatalf("after %d bytes: %v", size, err)
		}
	}
}

func TestErrorsOfTheTargetStick(t *testing.T) {
	w, err := NewWriter(&limited{left: 200}, example)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 2*sectionBytesMax)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Write: %v", err)
	}
	if err := w.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Close: %v", err)
	}
}

type limited struct{ left int }

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func FuzzVerify(f *testing.F) {
	f.Add(written(f, nil))
	f.Add(written(f, []byte("state")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, size, err := Verify(bytes.NewReader(b)); err == nil && size > int64(len(b)) {
			t.Errorf("%d bytes of state in a file of %d", size, len(b))
		}
	})
}
