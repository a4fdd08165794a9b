package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeCluster answers as a cluster does: three nodes behind one door each, and changes that take effect some questions after they were acknowledged.
type fakeCluster struct {
	mu      sync.Mutex
	leader  string
	nodes   []string          // names; the server id of n1 is n1-x
	gone    map[string]bool   // does not answer
	doors   map[string]string // name: URL
	later   func()            // the effect of the last change
	lag     int               // questions before it takes effect
	failure *AnswerError      // answers to changes
	asked   []string          // changes
}

func newFakeCluster(t *testing.T) *fakeCluster {
	f := &fakeCluster{leader: "n1", nodes: []string{"n1", "n2", "n3"}, gone: map[string]bool{}, doors: map[string]string{}}
	for _, name := range slices.Clone(f.nodes) {
		f.doors[name] = doorFunc(t, func(w http.ResponseWriter, r *http.Request) { f.serve(name, w, r) })
	}
	return f
}

func (f *fakeCluster) serve(name string, w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.gone[name]:
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/readyz":
	case r.Method == http.MethodGet:
		if f.later != nil {
			if f.lag--; f.lag < 0 {
				f.later()
				f.later = nil
			}
		}
		json.NewEncoder(w).Encode(f.answer(name))
	case f.failure != nil:
		w.WriteHeader(f.failure.Status)
		json.NewEncoder(w).Encode(map[string]string{"error": f.failure.Name, "reason": f.failure.Reason})
	default:
		b, _ := io.ReadAll(r.Body)
		f.change(name, r.URL.Path, b)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (f *fakeCluster) answer(asked string) map[string]any {
	nodes := []map[string]any{}
	for _, n := range f.nodes {
		state := "follower"
		if n == f.leader {
			state = "leader"
		}
		if f.gone[n] {
			state = "unreachable"
		}
		nodes = append(nodes, map[string]any{"id": n, "server": n + "-x", "state": state, "voter": true, "http": strings.TrimPrefix(f.doors[n], "http://"), "applied_index": 41})
	}
	warnings := []map[string]string{}
	for n := range f.gone {
		warnings = append(warnings, map[string]string{"code": "unreachable", "node": n, "text": n + " does not answer " + asked})
	}
	return map[string]any{"asked": asked, "leader": f.leader, "term": 7, "digests": "equal", "nodes": nodes, "warnings": warnings,
		"quorum": map[string]int{"voters": 3, "needed": 2, "reachable": 3 - len(f.gone), "may_fail": 1 - len(f.gone)}}
}

func (f *fakeCluster) change(asked, path string, body []byte) {
	f.asked = append(f.asked, fmt.Sprintf("%s %s", strings.TrimPrefix(path, "/api/cluster/"), body))
	var b struct{ To, Node string }
	json.Unmarshal(body, &b)
	f.lag = 2
	switch path {
	case "/api/cluster/transfer-leader":
		f.later = func() { f.leader = b.To }
		if b.To == "" {
			f.later = func() { f.leader = "n2" }
		}
	case "/api/cluster/remove":
		f.later = func() {
			f.nodes = slices.DeleteFunc(f.nodes, func(n string) bool { return n == strings.TrimSuffix(b.Node, "-x") })
		}
	case "/api/cluster/leave":
		f.gone[asked] = true
		f.later = func() {
			f.nodes = slices.DeleteFunc(f.nodes, func(n string) bool { return n == asked })
			delete(f.gone, asked)
		}
	}
}

func TestStatus(t *testing.T) {
	f := newFakeCluster(t)
	got := run(t, nil, "cluster", "status", "--url", f.doors["n1"])
	for _, want := range []string{"n1, term 7", "3 of 3 voters answer, 2 needed: 1 may fail", "equal", "Healthy."} {
		if got.code != OK || !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in %+v", want, got)
		}
	}
	f.gone["n3"] = true
	got = run(t, nil, "cluster", "status", "--url", f.doors["n3"]+","+f.doors["n2"])
	if got.code != Unhealthy || !strings.Contains(got.stdout, "WARNING unreachable: n3 does not answer n2") || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	got = run(t, nil, "cluster", "status", "--json", "--url", f.doors["n2"])
	var a clusterAnswer
	if err := json.Unmarshal([]byte(got.stdout), &a); err != nil || got.code != Unhealthy || len(a.Nodes) != 3 || a.Warnings[0].Code != "unreachable" {
		t.Errorf("%+v: %v", got, err)
	}
	if got := run(t, nil, "cluster", "status", "--watch", "--json"); got.code != Usage {
		t.Errorf("%+v", got)
	}
	if got := run(t, nil, "cluster", "status", "--url", door(t, true, 200, oneNode)); got.code != Unhealthy || !strings.Contains(got.stdout, "earlier version") {
		t.Errorf("a node of an earlier version: %+v", got)
	}
}

func TestMembersTable(t *testing.T) {
	f := newFakeCluster(t)
	f.gone["n3"] = true
	got := run(t, nil, "cluster", "members", "--url", f.doors["n1"])
	lines := strings.Split(got.stdout, "\n")
	if got.code != OK || len(lines) != 5 {
		t.Fatalf("%+v", got)
	}
	want := [][]string{{"n1", "leader", "leader", "41"}, {"n2", "voter", "follower", "41"}, {"n3", "voter", "unreachable", "-"}}
	for i, w := range want {
		if cells := strings.Fields(lines[i+1]); !slices.Equal(cells[:4], w) || cells[len(cells)-1] != w[0]+"-x" || len(cells) != 12 {
			t.Errorf("line %q, want %v …", lines[i+1], w)
		}
	}
}

func TestTransferLeader(t *testing.T) {
	f := newFakeCluster(t)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--to n3", OK, "n3 leads (term 7); before it n1 did"},
		{"--to n3", OK, "n3 leads already"},
		{"", OK, "n2 leads (term 7); before it n3 did"},
		{"--to n9", Refused, `no node "n9"; the cluster has n1, n2, n3`},
		{"--timeout 0s", Usage, "--timeout"},
	} {
		got := run(t, nil, append([]string{"cluster", "transfer-leader", "--url", f.doors["n1"]}, strings.Fields(c.args)...)...)
		if got.code != c.code || !strings.Contains(got.stdout+got.stderr, c.want) {
			t.Errorf("%s: %+v, want %d %q", c.args, got, c.code, c.want)
		}
	}
}

func TestRemove(t *testing.T) {
	f := newFakeCluster(t)
	f.gone["n3"] = true
	got := run(t, nil, "cluster", "remove", "n3", "--url", f.doors["n1"])
	if got.code != OK || !strings.Contains(got.stdout, "n3 is no member any more; the cluster has n1, n2.") {
		t.Errorf("%+v", got)
	}
	got = run(t, nil, "cluster", "remove", "--force", "n2-x", "--url", f.doors["n1"])
	if got.code != OK || !slices.Equal(f.asked, []string{`remove {"force":false,"node":"n3"}`, `remove {"force":true,"node":"n2-x"}`}) {
		t.Errorf("%+v, asked %q", got, f.asked)
	}
	if got := run(t, nil, "cluster", "remove", "n7", "--url", f.doors["n1"]); got.code != Refused {
		t.Errorf("%+v", got)
	}
}

// TestRefusedAndUnknown tells an answer that says no from one that leaves the outcome open: after the latter the command looks for itself.
func TestRefusedAndUnknown(t *testing.T) {
	f := newFakeCluster(t)
	f.failure = &AnswerError{Status: 409, Name: "would_lose_quorum", Reason: "the remaining voters would have no live majority"}
	got := run(t, nil, "cluster", "remove", "n3", "--url", f.doors["n1"])
	if got.code != Refused || !strings.Contains(got.stderr, "no live majority") {
		t.Errorf("%+v", got)
	}
	f.failure = &AnswerError{Status: 504, Name: "outcome_unknown", Reason: "nobody knows"}
	got = run(t, nil, "cluster", "remove", "n3", "--url", f.doors["n1"], "--timeout", "300ms")
	if got.code != Unknown || !strings.Contains(got.stderr, "nobody knows") || !strings.Contains(got.stderr, "not seen within") {
		t.Errorf("%+v", got)
	}
	f.later, f.lag = func() { f.nodes = f.nodes[:2] }, 2
	if got := run(t, nil, "cluster", "remove", "n3", "--url", f.doors["n1"]); got.code != OK {
		t.Errorf("the effect was there: %+v", got)
	}
}

func TestLeave(t *testing.T) {
	f := newFakeCluster(t)
	got := run(t, nil, "cluster", "leave", "--url", f.doors["n2"])
	if got.code != OK || !strings.Contains(got.stdout, "n2 is no member any more; the cluster has n1, n3.") {
		t.Errorf("%+v", got)
	}
	if got := run(t, nil, "cluster", "leave", "--url", f.doors["n1"]+","+f.doors["n3"]); got.code != Usage {
		t.Errorf("leave with two addresses: %+v", got)
	}
}
