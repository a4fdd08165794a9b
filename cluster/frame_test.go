package cluster

import (
	"bytes"
	"net"
	"testing"
)

// FuzzFrames: no bytes make the reader panic, or allocate for what is not there to be read.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(forwardHello{3, 9}.encode(), frameItem, testItem("o", 1, "x")))
	f.Add(appendFrame(nil, frameBeacon, []byte("b")))
	f.Add([]byte{frameItem, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			defer there.Close()
			_, _ = there.Write(b) // until the reader has had enough
		}()
		var asked int
		r := newFrameReader(here)
		for {
			kind, payload, err := r.next(func(size int) []byte {
				asked = max(asked, size)
				return make([]byte, min(size, 1<<20))
			})
			if err != nil {
				break
			}
			if kind == frameHello {
				_, _ = decodeForwardHello(kind, payload)
			}
			if kind != frameItem && !bytes.Contains(b, payload) {
				t.Errorf("payload %x was never sent", payload)
			}
		}
		if asked > ItemMax {
			t.Errorf("room for %d bytes was asked for", asked)
		}
	})
}
