package http

import (
	"context"
	"errors"
	"fmt"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/broker"
)

// clusterBroker takes changes of the cluster from two users: ann administers, bob does not.
type clusterBroker struct {
	Broker // what these tests do not call
	fails  error
	did    []string
}

func (f *clusterBroker) CatchUp(context.Context) {}

func (f *clusterBroker) Accepting() (bool, <-chan struct{}) { return true, nil }

func (f *clusterBroker) Login(_ context.Context, user, password, _ string) (broker.Identity, error) {
	if password != "right" {
		return broker.Identity{}, broker.ErrAccess
	}
	return broker.Identity{User: user, Tags: map[string][]string{"ann": {tagAdministrator}, "bob": {tagMonitoring}}[user]}, nil
}

func (f *clusterBroker) TransferLeadershipTo(_ context.Context, name string) error {
	f.did = append(f.did, "transfer "+name)
	return f.fails
}

func (f *clusterBroker) RemoveServer(_ context.Context, name string, force bool) error {
	f.did = append(f.did, fmt.Sprintf("remove %s %v", name, force))
	return f.fails
}

func (f *clusterBroker) Leave(context.Context) error {
	f.did = append(f.did, "leave")
	return f.fails
}

func post(s *Server, path, user, contentType, body string) (int, string) {
	r := httptest.NewRequest("POST", "/api/cluster/"+path, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:9"
	if user != "" {
		r.SetBasicAuth(user, "right")
	}
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestClusterChanges(t *testing.T) {
	f := &clusterBroker{}
	s := New(Default(), f)
	const json = "application/json; charset=utf-8"
	for _, c := range []struct {
		path, user, contentType, body string
		code                          int
		did                           string // "" = nothing
	}{
		{"transfer-leader", "ann", json, `{"to":"n2"}`, 204, "transfer n2"},
		{"transfer-leader", "ann", json, ``, 204, "transfer "},
		{"transfer-leader", "ann", json, `{"to":2}`, 400, ""},
		{"remove", "ann", json, `{"node":"n3"}`, 204, "remove n3 false"},
		{"remove", "ann", json, `{"node":"n3","force":true}`, 204, "remove n3 true"},
		{"remove", "ann", json, `{"node":""}`, 400, ""},
		{"remove", "ann", json, `{}`, 400, ""},
		{"remove", "ann", json, `not json`, 400, ""},
		{"leave", "ann", json, `{}`, 204, "leave"},
		{"leave", "ann", "", `{}`, 415, ""},
		{"leave", "ann", "text/plain", `{}`, 415, ""},
		{"leave", "ann", "application/x-www-form-urlencoded", `{}`, 415, ""},
		{"leave", "bob", json, `{}`, 401, ""},
		{"leave", "", json, `{}`, 401, ""}, // from loopback too
	} {
		f.did = nil
		code, body := post(s, c.path, c.user, c.contentType, c.body)
		if code != c.code || strings.Join(f.did, "; ") != c.did {
			t.Errorf("%+v: %d %s, did %q", c, code, body, f.did)
		}
	}
}

// TestClusterRefusals keeps apart what changed nothing and what nobody knows the outcome of.
func TestClusterRefusals(t *testing.T) {
	for err, want := range map[error]int{
		broker.ErrNoSuchServer: 404, broker.ErrAmbiguousName: 409, broker.ErrWouldLoseQuorum: 409, broker.ErrLastVoter: 409, broker.ErrServerAlive: 409,
		broker.ErrServerNotVoter: 409, broker.ErrNotNow: 503, context.DeadlineExceeded: nethttp.StatusGatewayTimeout, errors.New("the leader went away"): nethttp.StatusGatewayTimeout,
	} {
		f := &clusterBroker{fails: fmt.Errorf("particulars: %w", err)}
		code, body := post(New(Default(), f), "remove", "ann", "application/json", `{"node":"n3"}`)
		if code != want || !strings.Contains(body, "particulars") {
			t.Errorf("%v: %d %s, want %d", err, code, body, want)
		}
	}
}
