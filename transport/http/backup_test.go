package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/broker/backup"
	"github.com/triagemq/triagemq/fsm"
)

func TestBackupIsForAdministrators(t *testing.T) {
	s, _ := startNode(t)
	s.walk(t, []step{{"PUT", "users/m", `{"password":"p","tags":"monitoring"}`, 201, ""}, {"PUT", "queues/%2F/kept", `{"durable":true}`, 201, ""}})
	if got := s.askAs("m", "p", "GET", "backup", ""); got.Code != nethttp.StatusUnauthorized {
		t.Errorf("a monitor got a backup: %d", got.Code)
	}
	got := s.ask("GET", "backup", "")
	if got.Code != nethttp.StatusOK || got.Header().Get("Content-Type") != "application/octet-stream" {
		t.Fatalf("%d %v", got.Code, got.Header())
	}
	r, err := backup.NewReader(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	state, err := fsm.Restore(fsm.Options{Check: true}, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, found := state.Queue("/", "kept"); !found {
		t.Error("a queue is missing")
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
}

// A client that goes away in the middle takes nothing with it: others find their places free, and the node closes at once.
func TestBackupGivenUp(t *testing.T) {
	s, _ := startNode(t)
	// More than a socket's buffers take.
	body := strings.Repeat("x", 8<<20)
	s.walk(t, []step{{"PUT", "queues/%2F/q", `{"durable":true}`, 201, ""}})
	for range 3 {
		if got := s.ask("POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q","payload":"`+body+`","payload_encoding":"string"}`); got.Code != 200 {
			t.Fatal(got.Code, got.Body)
		}
	}
	addr, err := s.Open("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://guest:guest@" + addr.String() + "/api/backup"
	for range 5 { // more than may be under way at once
		begin(t, url)()
	}
	left := begin(t, url) // this one is under way when the server closes
	defer left()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// begin asks for a backup, as often as it takes to be served, and reads a little of it; leave hangs up.
func begin(t *testing.T, url string) (leave func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	client := nethttp.Client{Transport: &nethttp.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}
	for {
		req, err := nethttp.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != nethttp.StatusOK { // those that hung up are being noticed
			resp.Body.Close()
			continue
		}
		head := make([]byte, 100)
		if _, err := io.ReadFull(resp.Body, head); err != nil || !bytes.HasPrefix(head, []byte("TMQB")) {
			t.Fatalf("%q, %v", head, err)
		}
		return func() {
			cancel()
			resp.Body.Close()
		}
	}
}
