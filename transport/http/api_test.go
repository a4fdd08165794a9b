package http

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

var update = flag.Bool("update", false, "write the golden files anew")

// step is a request and what it must be answered with.
type step struct {
	method, path, body string
	status             int
	contains           string
}

func (s *Server) walk(t *testing.T, steps []step) {
	t.Helper()
	for _, want := range steps {
		got := s.ask(want.method, want.path, want.body)
		if got.Code != want.status || !strings.Contains(got.Body.String(), want.contains) {
			t.Errorf("%s %s %s\n  got  %d %s  want %d %s", want.method, want.path, want.body, got.Code, got.Body, want.status, want.contains)
		}
		if got.Body.Len() > 0 && !json.Valid(got.Body.Bytes()) {
			t.Errorf("%s %s: not JSON: %s", want.method, want.path, got.Body)
		}
	}
}

// The statuses and reasons are those of RabbitMQ 3.10, observed, but for the wording of refused access.
func TestTopologyAndMessages(t *testing.T) {
	s, _ := startNode(t)
	s.walk(t, []step{
		{"PUT", "queues/%2F/q", `{`, 400, `"not_json"`},
		{"PUT", "queues/%2F/q", `[]`, 400, `"not_json"`},
		{"PUT", "queues/%2F/q", `{"durable":"maybe"}`, 400, `["not_boolean","maybe"]`},
		{"PUT", "queues/%2F/q", `{"arguments":{"x-max-priority":"a"}}`, 400, `invalid arg 'x-max-priority'`},
		{"PUT", "queues/%2F/q", `{"durable":"true","arguments":{"x-max-priority":5}}`, 201, ""},
		{"PUT", "queues/%2F/q", `{"arguments":{"x-max-priority":5}}`, 204, ""},
		{"PUT", "queues/%2F/q", `{"auto_delete":true}`, 400, `inequivalent arg`},
		{"PUT", "queues/%2F/amq.q", ``, 401, `not_authorised`},
		{"PUT", "queues/none/q", ``, 404, `Not Found`},
		{"PUT", "exchanges/%2F/x", `{"type":"direct"}`, 201, ""},
		{"PUT", "exchanges/%2F/x", `{"type":"direct"}`, 204, ""},
		{"PUT", "exchanges/%2F/x", `{"type":"topic"}`, 400, "inequivalent arg 'type'"},
		{"PUT", "exchanges/%2F/y", `{"type":"nope"}`, 400, "unknown exchange type 'nope'"},
		{"DELETE", "exchanges/%2F/none", ``, 404, "Not Found"},
		{"DELETE", "exchanges/%2F/amq.topic", ``, 401, "not_authorised"},
		{"GET", "exchanges/%2F/amq.default", ``, 200, `"name":""`},

		{"POST", "bindings/%2F/e/x/q/q", `{"routing_key":"k~a b/c","arguments":{"a":1}}`, 201, ""},
		{"POST", "bindings/%2F/e/x/q/q", `{"routing_key":""}`, 201, ""},
		{"POST", "bindings/%2F/e/x/e/amq.fanout", `{"routing_key":"r"}`, 201, ""},
		{"POST", "bindings/%2F/e/x/q/none", `{}`, 404, "no queue 'none' in vhost '/'"},
		{"POST", "bindings/%2F/e/x/z/q", `{}`, 404, "Not Found"},
		{"GET", "bindings/%2F/e/x/q/q", ``, 200, `"properties_key":"~"`},
		{"GET", "bindings/%2F/e/x/q/q/~", ``, 200, `"routing_key":""`},
		{"GET", "bindings/%2F/e//q/q", ``, 200, `"routing_key":"q"`},
		{"GET", "queues/%2F/q/bindings", ``, 200, `"properties_key":"k%7Ea+b%2Fc~`},
		{"GET", "exchanges/%2F/x/bindings/source", ``, 200, `"destination":"amq.fanout"`},
		{"GET", "exchanges/%2F/amq.fanout/bindings/destination", ``, 200, `"source":"x"`},
		{"DELETE", "bindings/%2F/e/x/q/q/~", ``, 204, ""},
		{"DELETE", "bindings/%2F/e/x/q/q/~", ``, 404, "Not Found"},
		{"DELETE", "bindings/%2F/e/x/e/amq.fanout/r", ``, 204, ""},

		{"POST", "exchanges/%2F/amq.default/publish", `{"properties":{},"routing_key":"q"}`, 400, "[{key_missing,payload},{key_missing,payload_encoding}]"},
		{"POST", "exchanges/%2F/amq.default/publish", toPublish("q", `{"priority":"x"}`, "a", "string"), 400, `["not_int","priority"]`},
		{"POST", "exchanges/%2F/amq.default/publish", toPublish("q", `{}`, "a", "nope"), 400, `["unsupported_encoding","nope"]`},
		{"POST", "exchanges/%2F/amq.default/publish", toPublish("q", `{"expiration":"soon"}`, "a", "string"), 400, "invalid expiration 'soon'"},
		{"POST", "exchanges/%2F/amq.default/publish", toPublish("q", `{"user_id":"ann"}`, "a", "string"), 400, "user_id property set to 'ann'"},
		{"POST", "exchanges/%2F/none/publish", toPublish("q", `{}`, "a", "string"), 400, "no exchange 'none' in vhost '/'"},
		{"POST", "exchanges/%2F/amq.default/publish", toPublish("nobody", `{}`, "a", "string"), 200, `{"routed":false}`},
		{"POST", "exchanges/%2F/amq.default/publish", toPublish("q", `{"priority":3,"headers":{"a":1.5,"b":[1,"x",true],"c":{"d":null}},"timestamp":123}`, "hällo", "string"), 200, `{"routed":true}`},
		{"POST", "exchanges/%2F/amq.default/publish", toPublish("q", `{}`, "/w==", "base64"), 200, `{"routed":true}`},

		{"POST", "queues/%2F/q/get", `{"count":5}`, 400, "[{key_missing,ackmode},{key_missing,encoding}]"},
		{"POST", "queues/%2F/q/get", `{"count":5,"ackmode":"nope","encoding":"auto"}`, 400, "unsupported_ackmode"},
		{"POST", "queues/%2F/none/get", `{"count":5,"ackmode":"ack_requeue_true","encoding":"auto"}`, 404, "no queue 'none'"},
		{"POST", "queues/%2F/q/get", `{"count":5,"ackmode":"ack_requeue_true","encoding":"auto","truncate":2}`, 200,
			`[{"payload_bytes":6,"redelivered":false,"exchange":"","routing_key":"q","message_count":1,"properties":{"timestamp":123,"priority":3,` +
				`"headers":{"a":1.5,"b":[1,"x",true],"c":{"d":null}}},"payload":"h","payload_encoding":"string"},` +
				`{"payload_bytes":1,"redelivered":false,"exchange":"","routing_key":"q","message_count":0,"properties":[],"payload":"/w==","payload_encoding":"base64"}]`},
		{"DELETE", "queues/%2F/q?if-empty=true", ``, 400, "not empty"},
		{"POST", "queues/%2F/q/get", `{"count":1,"ackmode":"reject_requeue_false","encoding":"base64"}`, 200, `"payload":"aMOkbGxv"`},
		{"POST", "queues/%2F/q/get", `{"count":9,"ackmode":"ack_requeue_false","encoding":"base64"}`, 200, `"redelivered":true`},
		{"POST", "queues/%2F/q/get", `{"count":9,"ackmode":"ack_requeue_false","encoding":"base64"}`, 200, `[]`},
		{"POST", "queues/%2F/q/actions", `{"action":"sync"}`, 204, ""},
		{"POST", "queues/%2F/q/actions", `{"action":"dance"}`, 400, `["unknown","dance"]`},
		{"POST", "queues/%2F/q/actions", `{}`, 400, `[{key_missing,action}]`},
		{"DELETE", "queues/%2F/q/contents", ``, 204, ""},
		{"DELETE", "queues/%2F/none/contents", ``, 404, "Not Found"},
		{"DELETE", "queues/%2F/q?if-empty=true", ``, 204, ""},
		{"DELETE", "queues/%2F/q", ``, 404, "Not Found"},
		{"DELETE", "exchanges/%2F/x", ``, 204, ""},
		{"GET", "aliveness-test/%2F", ``, 200, `{"status":"ok"}`},
	})
}

func toPublish(key, properties, payload, encoding string) string {
	return `{"routing_key":"` + key + `","properties":` + properties + `,"payload":"` + payload + `","payload_encoding":"` + encoding + `"}`
}

func TestLists(t *testing.T) {
	s, _ := startNode(t)
	for _, name := range []string{"b1", "a", "B2", "c"} {
		s.walk(t, []step{{"PUT", "queues/%2F/" + name, ``, 201, ""}})
	}
	s.walk(t, []step{
		{"GET", "queues?columns=name", ``, 200, `[{"name":"B2"},{"name":"a"},{"name":"b1"},{"name":"c"}]`},
		{"GET", "queues/%2F?columns=name,message_stats.publish", ``, 200, `{"name":"a","message_stats":{"publish":0}}`},
		{"GET", "queues?columns=name&sort=name&sort_reverse=true", ``, 200, `[{"name":"c"},{"name":"b1"},{"name":"a"},{"name":"B2"}]`},
		{"GET", "queues?page=1&columns=name&name=b&page_size=1", ``, 200,
			`{"filtered_count":2,"item_count":1,"items":[{"name":"B2"}],"page":1,"page_count":2,"page_size":1,"total_count":4}`},
		{"GET", "queues/%2F?page=1&use_regex=true&pagination=false&name=%5E(a%7Cc)%24&page_size=100&columns=name", ``, 200,
			`"items":[{"name":"a"},{"name":"c"}],"page":1,"page_count":1`},
		{"GET", "queues?page=2&page_size=3&sort=name&columns=name", ``, 200, `"items":[{"name":"c"}]`},
		{"GET", "queues?page=1&name=(&use_regex=true", ``, 400, "Pagination parameters are invalid"},
		{"GET", "queues?page=x", ``, 400, "Pagination parameters are invalid"},
		{"GET", "queues?page=1&page_size=1000", ``, 400, "invalid_pagination_parameters"},
		{"GET", "queues?page=9", ``, 400, "page_out_of_range"},
		{"GET", "exchanges?page=1&name=topic&columns=name", ``, 200, `"items":[{"name":"amq.topic"}]`},
		{"GET", "exchanges?page=9", ``, 400, "page_out_of_range"},
		{"GET", "queues?disable_stats=true&enable_queue_totals=true&columns=name,messages,memory&page=1&name=c", ``, 200, `[{"name":"c","messages":0}]`},
		{"GET", "queues?lengths_age=60&lengths_incr=5&columns=messages_details.samples&page=1&name=c", ``, 200, `"samples":[{"sample":0,"timestamp":`},
		{"GET", "channels?page=1", ``, 200, `"items":[],"page":1,"page_count":1`},
	})
}

func TestUnknownPaths(t *testing.T) {
	s, _ := startNode(t)
	s.walk(t, []step{
		{"GET", "nosuch", ``, 404, "Not Found"},
		{"GET", "shovels", ``, 404, "Not Found"},
		{"GET", "federation-links", ``, 404, "Not Found"},
		{"GET", "stream/publishers", ``, 404, "Not Found"},
		{"PATCH", "queues", ``, 405, "Method Not Allowed"},
		{"GET", "connections/none", ``, 404, "Not Found"},
		{"GET", "channels/none", ``, 404, "Not Found"},
		{"GET", "nodes/none", ``, 404, "Not Found"},
		{"PUT", "queues/%2F/%FF", ``, 400, "the path is not UTF-8"},
		{"PUT", "users/%FF", `{"password":"p","tags":""}`, 400, "the path is not UTF-8"},
	})
	if w := s.askAs("guest", "wrong", "GET", "overview", ""); w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" ||
		!strings.Contains(w.Body.String(), `{"error":"not_authorised","reason":"Login failed"}`) {
		t.Errorf("wrong password: %d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestHealthChecks(t *testing.T) {
	s, _ := startNode(t)
	s.walk(t, []step{
		{"GET", "health/checks/alarms", ``, 200, `{"status":"ok"}`},
		{"GET", "health/checks/local-alarms", ``, 200, `{"status":"ok"}`},
		{"GET", "health/checks/node-is-quorum-critical", ``, 200, `"single node cluster"`},
		{"GET", "health/checks/ready-to-serve-clients", ``, 200, `{"status":"ok"}`},
		{"GET", "health/checks/virtual-hosts", ``, 200, `{"status":"ok"}`},
		{"GET", "health/checks/port-listener/5672", ``, 200, `"port":5672`},
		{"GET", "health/checks/port-listener/1", ``, 503, `{"status":"failed","reason":"No active listener","missing":1,"ports":[5672,7672,15672]}`},
		{"GET", "health/checks/port-listener/x", ``, 400, `bad_request`},
		{"GET", "health/checks/protocol-listener/amqp", ``, 200, `"protocol":"amqp"`},
		{"GET", "health/checks/protocol-listener/amqp091", ``, 200, `"protocol":"amqp091"`},
		{"GET", "health/checks/protocol-listener/mqtt", ``, 503, `"missing":"mqtt"`},
		{"GET", "health/checks/certificate-expiration/1/days", ``, 200, `{"status":"ok"}`},
	})
}

// worker is a connection as the AMQP door describes it.
func worker() content.Table {
	return content.Table{
		{Name: "protocol", Value: "AMQP 0-9-1"}, {Name: "peer_host", Value: "127.0.0.1"}, {Name: "peer_port", Value: int64(50000)},
		{Name: "host", Value: "127.0.0.1"}, {Name: "port", Value: int64(5672)}, {Name: "ssl", Value: false}, {Name: "auth_mechanism", Value: "PLAIN"},
		{Name: "channel_max", Value: int64(2047)}, {Name: "frame_max", Value: int64(131072)}, {Name: "timeout", Value: int64(60)},
		{Name: "connected_at", Value: int64(1700000000000)},
		{Name: "client_properties", Value: content.Table{{Name: "connection_name", Value: "worker"}, {Name: "product", Value: "test"}}},
	}
}

// TestGolden compares one of each resource, so that a field that clients require cannot get lost unseen.
func TestGolden(t *testing.T) {
	s, n := startNode(t)
	c := openClient(t, n, broker.SessionSpec{VHost: "/", User: "guest", Name: "worker", Details: worker().Append(nil)})
	c.must(func(ref fsm.Ref) fsm.Command {
		return &fsm.DeclareQueue{Ref: ref, Name: "q", Exclusive: true, Arguments: content.Table{{Name: "x-max-priority", Value: int64(5)}}.Append(nil)}
	})
	c.must(func(ref fsm.Ref) fsm.Command {
		return &fsm.Bind{Ref: ref, Source: "amq.topic", Destination: "q", Key: "a.#"}
	})
	c.must(func(ref fsm.Ref) fsm.Command {
		return &fsm.Consume{Ref: ref, Queue: "q", Tag: "tag", GrantMessages: 1, GrantBytes: 1 << 20}
	})
	for _, path := range []string{
		"overview", "whoami", "nodes/n1", "queues/%2F/q", "queues/%2F", "exchanges/%2F/amq.topic", "bindings/%2F", "connections", "channels", "consumers",
		"connections/127.0.0.1:50000%20-%3E%20127.0.0.1:5672", "connections/worker/channels", "connections/username/guest", "vhosts/%2F/connections",
		"channels/127.0.0.1:50000%20-%3E%20127.0.0.1:5672%20(1)", "feature-flags", "deprecated-features", "cluster-name", "extensions", "auth",
	} {
		got := s.ask("GET", path, "")
		if got.Code != 200 {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
			continue
		}
		name := strings.NewReplacer("/", "-", "%2F", "root", "%20", "", "%3E", "", ":", "", "(", "", ")", "").Replace(path)
		compareGolden(t, filepath.Join("testdata", "golden", name+".json"), got.Body.Bytes())
	}
}

// volatile are fields whose values differ from run to run.
var volatile = regexp.MustCompile(`"(uptime|os_pid|mem_limit|mem_used|fd_used|fd_total|sockets_total|proc_used|processors|disk_free|disk_free_limit|idle_since)": ("[^"]*"|\d+)`)

func compareGolden(t *testing.T, file string, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("%s: %v", file, err)
		return
	}
	text, _ := json.MarshalIndent(v, "", "  ")
	text = append(volatile.ReplaceAll(text, []byte(`"$1": "…"`)), '\n')
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != string(text) {
		t.Errorf("%s differs (-update writes it): %v\n%s", file, err, text)
	}
}

// TestCodesHaveStatuses: whatever the state machine may refuse with has an answer of its own.
func TestCodesHaveStatuses(t *testing.T) {
	for code := fsm.NotFound; code <= fsm.NotYet; code++ {
		f := refused(&broker.Refusal{Code: code, Text: "why"})
		if f.status < 400 || f.status == 500 || f.reason == "" {
			t.Errorf("code %d: %+v", code, f)
		}
	}
}

// TestSessionGoesOnBehindARefusal: of many commands one is refused; all others are carried out, once each.
func TestSessionGoesOnBehindARefusal(t *testing.T) {
	s, _ := startNode(t)
	who, _ := s.broker.Login(t.Context(), "guest", "guest", "127.0.0.1:1")
	c := openClient(t, s.broker.(*broker.Node), broker.SessionSpec{VHost: "/", User: who.User})
	var builds []func(ref fsm.Ref) fsm.Command
	for i := range 600 {
		name := "q" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		if i%100 == 50 {
			name = "amq.refused"
		}
		builds = append(builds, func(ref fsm.Ref) fsm.Command { return &fsm.DeclareQueue{Ref: ref, Name: name} })
	}
	outcomes, err := c.all(t.Context(), builds)
	if err != nil || len(outcomes) != len(builds) {
		t.Fatalf("%d outcomes, %v", len(outcomes), err)
	}
	for i, o := range outcomes {
		if (o.refusal != nil) != (i%100 == 50) {
			t.Errorf("%d: %+v", i, o.refusal)
		}
	}
	if n := len(s.broker.QueueNames("/")); n != 594 {
		t.Errorf("%d queues", n)
	}
}
