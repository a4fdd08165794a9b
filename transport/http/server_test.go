package http

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/triagemq/triagemq/broker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fakeBroker struct {
	Broker // what these tests do not call
	ready  error
	closed bool // to clients
}

func (f *fakeBroker) Ready() error { return f.ready }
func (f *fakeBroker) Login(_ context.Context, user, password, _ string) (broker.Identity, error) {
	if user == "ann" && password == "right" {
		return broker.Identity{User: user}, nil
	}
	return broker.Identity{}, broker.ErrAccess
}
func (f *fakeBroker) Accepting() (bool, <-chan struct{}) { return !f.closed, nil }
func (f *fakeBroker) ClusterStatus(context.Context) broker.ClusterStatus {
	return broker.ClusterStatus{Leader: "n2", Term: 7}
}

func ask(s *Server, path, from string, login ...string) (int, string) {
	r := httptest.NewRequest("GET", path, nil)
	r.RemoteAddr = from
	if len(login) == 2 {
		r.SetBasicAuth(login[0], login[1])
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestProbes(t *testing.T) {
	f := &fakeBroker{ready: errors.New("no leader is known")}
	s := New(Default(), f)
	if code, _ := ask(s, "/healthz", "10.1.1.1:5"); code != 200 {
		t.Errorf("healthz %d: a node without a leader is alive", code)
	}
	if code, body := ask(s, "/readyz", "10.1.1.1:5"); code != 503 || !strings.Contains(body, "no leader is known") {
		t.Errorf("readyz without a leader: %d %s", code, body)
	}
	f.ready = nil
	if code, _ := ask(s, "/readyz", "10.1.1.1:5"); code != 200 {
		t.Errorf("readyz: %d", code)
	}
}

func TestANodeThatStartsRefusesNoLogin(t *testing.T) {
	s := New(Default(), &fakeBroker{closed: true})
	if code, body := ask(s, "/api/whoami", "127.0.0.1:9", "bob", "unknown yet"); code != 503 {
		t.Errorf("%d %s, want 503: the node does not know its users yet", code, body)
	}
	if code, body := ask(s, "/api/whoami", "127.0.0.1:9"); code != 401 {
		t.Errorf("without a login: %d %s, want 401", code, body)
	}
}

func TestClusterNeedsALoginFromElsewhere(t *testing.T) {
	s := New(Default(), &fakeBroker{})
	for _, c := range []struct {
		from  string
		login []string
		want  int
	}{
		{"127.0.0.1:9", nil, 200},
		{"[::1]:9", nil, 200},
		{"192.0.2.1:9", nil, 401},
		{"192.0.2.1:9", []string{"ann", "wrong"}, 401},
		{"192.0.2.1:9", []string{"ann", "right"}, 200},
		{"127.0.0.1:9", []string{"ann", "wrong"}, 401},
	} {
		code, body := ask(s, "/api/cluster", c.from, c.login...)
		if code != c.want {
			t.Errorf("from %s login %v: %d, want %d", c.from, c.login, code, c.want)
		}
		var st struct {
			Leader string `json:"leader"`
			Term   uint64 `json:"term"`
		}
		if code == 200 && (json.Unmarshal([]byte(body), &st) != nil || st.Leader != "n2" || st.Term != 7) {
			t.Errorf("body %s", body)
		}
	}
}

func TestOpenAndClose(t *testing.T) {
	s := New(Default(), &fakeBroker{})
	addr, err := s.Open("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, err := nethttp.Get("http://" + addr.String() + "/healthz")
	if err != nil || r.StatusCode != 200 {
		t.Fatalf("%v %v", r, err)
	}
	io.Copy(io.Discard, r.Body)
	r.Body.Close()
	nethttp.DefaultClient.CloseIdleConnections()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
