package http

import (
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestBodiesInSum: while one large body is being received there is no room for a second, and there is again once the first is answered.
func TestBodiesInSum(t *testing.T) {
	s, _ := startNode(t)
	s.cfg.BodyBytesMax = 1 << 20
	s.bodies.maxBytes = s.cfg.BodyBytesMax
	put := func(body io.Reader, length int64) *httptest.ResponseRecorder {
		r := httptest.NewRequest("PUT", "/api/vhosts/other", body)
		r.RemoteAddr, r.ContentLength = "127.0.0.1:1000", length
		r.SetBasicAuth("guest", "guest")
		w := httptest.NewRecorder()
		s.dispatch(nethttp.NewServeMux(), w, r)
		return w
	}
	large := `{"description":"` + strings.Repeat("x", 700<<10) + `"}`
	out, in := io.Pipe()
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- put(out, int64(len(large))) }()
	if _, err := io.WriteString(in, large[:100]); err != nil { // it is being received
		t.Fatal(err)
	}
	if w := put(strings.NewReader(large), int64(len(large))); w.Code != nethttp.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "try again") {
		t.Errorf("a second large body: %d %s", w.Code, w.Body)
	}
	if w := put(strings.NewReader(large), -1); w.Code != nethttp.StatusServiceUnavailable {
		t.Errorf("one of unknown length: %d %s", w.Code, w.Body)
	}
	if w := put(strings.NewReader("{}"), 2); w.Code >= 300 {
		t.Errorf("a small one: %d %s", w.Code, w.Body)
	}
	if w := put(strings.NewReader(large), 2<<20); w.Code != nethttp.StatusBadRequest || !strings.Contains(w.Body.String(), "payload_too_large") {
		t.Errorf("one above the limit: %d %s", w.Code, w.Body)
	}
	if _, err := io.WriteString(in, large[100:]); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if w := <-first; w.Code == nethttp.StatusServiceUnavailable {
		t.Errorf("the first: %d %s", w.Code, w.Body)
	}
	if s.bodies.used != 0 {
		t.Errorf("%d bytes are taken, and nobody is there", s.bodies.used)
	}
	if w := put(strings.NewReader(large), int64(len(large))); w.Code == nethttp.StatusServiceUnavailable {
		t.Errorf("after the first: %d %s", w.Code, w.Body)
	}
}
