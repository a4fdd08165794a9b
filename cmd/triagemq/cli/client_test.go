package cli

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// door is a node's HTTP door with a fixed word about its readiness and a fixed answer to everything else.
func door(t *testing.T, ready bool, status int, body string) string {
	return doorFunc(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			if !ready {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
}

func doorFunc(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		s.Close()
	})
	return s.URL
}

// dead is an address that refuses connections.
func dead(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

const oneNode = `{"leader":"n1","term":2,"nodes":[{"id":"n1","state":"leader","voter":true,"applied_index":7}]}`

func TestTheReadyNodeIsAsked(t *testing.T) {
	asleep, awake := door(t, false, 200, `{"nodes":[{"id":"asleep"}]}`), door(t, true, 200, `{"nodes":[{"id":"awake"}]}`)
	for urls, want := range map[string]string{
		dead(t) + "," + asleep + "," + awake: "awake",
		dead(t) + "," + asleep + "/":         "asleep",
		awake:                                "awake",
	} {
		if got := run(t, nil, "cluster", "members", "--url", urls); got.code != OK || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: %+v", urls, got)
		}
		if got := run(t, map[string]string{"TRIAGEMQ_URL": urls}, "cluster", "members", "--json"); got.code != OK || !strings.Contains(got.stdout, `"id": "`+want+`"`) {
			t.Errorf("%s: %+v", urls, got)
		}
	}
	if got := run(t, nil, "cluster", "members", "--url", dead(t)+","+dead(t)); got.code != Failed || !strings.Contains(got.stderr, "no node answers") {
		t.Errorf("%+v", got)
	}
	if got := run(t, nil, "cluster", "members", "--url", dead(t)); got.code != Failed || !strings.Contains(got.stderr, "refused") {
		t.Errorf("%+v", got)
	}
}

func TestLogin(t *testing.T) {
	var seen []string
	url := doorFunc(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, given := r.BasicAuth()
		seen = append(seen, fmt.Sprint(user, ":", password, " ", given))
		if password != "sesame" && user != "guest" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"not_authorised","reason":"Login failed"}`)
			return
		}
		fmt.Fprint(w, oneNode)
	})
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("sesame\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		seen string
	}{
		{"", OK, "[: false guest:guest true]"},
		{"--user root --password sesame", OK, "[root:sesame true]"},
		{"--user root --password-file " + file, OK, "[root:sesame true]"},
		{"--user root --password wrong", Refused, "[root:wrong true]"},
	} {
		seen = nil
		got := run(t, nil, append([]string{"cluster", "members", "--url", url}, strings.Fields(c.args)...)...)
		if got.code != c.code || fmt.Sprint(seen) != c.seen {
			t.Errorf("%s: %+v; the node saw %v", c.args, got, seen)
		}
		if c.code != OK && !strings.Contains(got.stderr, "Login failed (--user and --password-file") {
			t.Errorf("%s: %s", c.args, got.stderr)
		}
	}
}

func TestAnswersBecomeExitCodes(t *testing.T) {
	for status, want := range map[int]int{200: OK, 400: Refused, 403: Refused, 404: Refused, 500: Failed, 503: Failed} {
		body := `{"error":"x","reason":"because of the test"}`
		got := run(t, nil, "cluster", "members", "--url", door(t, true, status, body))
		if got.code != want || want != OK && !strings.Contains(got.stderr, "because of the test") {
			t.Errorf("%d: %+v", status, got)
		}
	}
	if got := run(t, nil, "cluster", "members", "--url", door(t, true, 502, "<html>a proxy")); got.code != Failed || !strings.Contains(got.stderr, "502 Bad Gateway") {
		t.Errorf("%+v", got)
	}
	if got := run(t, nil, "cluster", "members", "--url", door(t, true, 200, "<html>a proxy")); got.code != Failed || !strings.Contains(got.stderr, "not the JSON") {
		t.Errorf("%+v", got)
	}
}
