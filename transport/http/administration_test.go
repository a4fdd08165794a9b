package http

import (
	"strings"
	"testing"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

func TestUsersAndPermissions(t *testing.T) {
	s, _ := startNode(t)
	s.walk(t, []step{
		{"PUT", "users/u1", `{"password":"x"}`, 400, "tags_not_present"},
		{"PUT", "users/u1", `{"tags":""}`, 201, ""},
		{"PUT", "users/u1", `{"password":"secret","tags":"management,foo"}`, 204, ""},
		{"PUT", "users/u2", `{"password_hash":"x","tags":[]}`, 400, `["not_base64","x"]`},
		{"PUT", "users/u2", `{"password_hash":"eA==","tags":[]}`, 400, "bad_request"},
		{"PUT", "users/u2", `{"password_hash":"ZvYOLob12e/c2CHNuea5yRcGE99jxs8qITB4IRSt/lUkEN0k","tags":["administrator"]}`, 201, ""},
		{"PUT", "users/u3", `{"password_hash":"","tags":[]}`, 201, ""},
		{"GET", "users/u2", ``, 200, `"hashing_algorithm":"rabbit_password_hashing_sha256","tags":["administrator"],"limits":{}`},
		{"GET", "users/none", ``, 404, "Not Found"},
		{"GET", "users/", ``, 200, `"name":"guest"`},
		{"PUT", "permissions/%2F/u1", `{"configure":".*"}`, 400, "[{key_missing,write},{key_missing,read}]"},
		{"PUT", "permissions/%2F/u1", `{"configure":"(","write":"","read":""}`, 400, "invalid"},
		{"PUT", "permissions/none/u1", `{"configure":".*","write":"","read":""}`, 400, "vhost_or_user_not_found"},
		{"PUT", "permissions/%2F/none", `{"configure":".*","write":"","read":""}`, 400, "vhost_or_user_not_found"},
	})
	as := func(user, method, path, body string, status int, contains string) {
		t.Helper()
		if w := s.askAs(user, "secret", method, path, body); w.Code != status || !strings.Contains(w.Body.String(), contains) {
			t.Errorf("%s: %s %s: %d %s, want %d %s", user, method, path, w.Code, w.Body, status, contains)
		}
	}
	as("u1", "GET", "whoami", "", 200, `{"name":"u1","tags":["management","foo"]`)
	as("u1", "GET", "queues/%2F", "", 401, "User not authorised to access virtual host")
	as("u1", "GET", "users", "", 401, "Not administrator user")
	as("u1", "GET", "users/u1", "", 200, `"name":"u1"`)
	as("u1", "GET", "nodes", "", 401, "Not monitor user")
	as("u1", "GET", "policies", "", 401, "Not policymaker user")
	as("u1", "GET", "vhosts", "", 200, "[]")
	as("u1", "GET", "vhosts/%2F", "", 401, "User not authorised")
	as("u1", "GET", "definitions", "", 401, "Not administrator user")
	as("u1", "GET", "connections/username/guest", "", 401, "Not monitor user")
	as("u3", "GET", "overview", "", 401, "Login failed")
	s.walk(t, []step{
		{"PUT", "permissions/%2F/u1", `{"configure":"^mine","write":"","read":".*"}`, 201, ""},
		{"PUT", "permissions/%2F/u1", `{"configure":"^mine","write":"","read":".*"}`, 204, ""},
		{"GET", "permissions/%2F/u1", ``, 200, `{"user":"u1","vhost":"/","configure":"^mine","write":"","read":".*"}`},
		{"GET", "users/u1/permissions", ``, 200, `"vhost":"/"`},
		{"GET", "vhosts/%2F/permissions", ``, 200, `"user":"u1"`},
		{"GET", "users/without-permissions", ``, 200, `"name":"u2"`},
		{"PUT", "queues/%2F/mine", ``, 201, ""},
		{"PUT", "queues/%2F/theirs", ``, 201, ""},
	})
	as("u1", "GET", "queues/%2F?columns=name", "", 200, `[{"name":"mine"},{"name":"theirs"}]`)
	as("u1", "DELETE", "queues/%2F/theirs", "", 401, "refused for user 'u1'")
	as("u1", "POST", "exchanges/%2F/amq.topic/publish", toPublish("k", "{}", "a", "string"), 401, "refused for user 'u1'")
	as("u1", "DELETE", "queues/%2F/mine", "", 204, "")
	s.walk(t, []step{
		{"PUT", "topic-permissions/%2F/u1", `{"exchange":"amq.topic","write":"a","read":"b"}`, 201, ""},
		{"GET", "topic-permissions/%2F/u1", ``, 200, `[{"user":"u1","vhost":"/","exchange":"amq.topic","write":"a","read":"b"}]`},
		{"DELETE", "topic-permissions/%2F/u1/amq.topic", ``, 204, ""},
		{"GET", "topic-permissions/%2F/u1", ``, 404, ""},
		{"PUT", "user-limits/u1/max-channels", `{"value":5}`, 204, ""},
		{"PUT", "user-limits/u1/nope", `{"value":5}`, 400, "Validation failed"},
		{"GET", "user-limits/u1", ``, 200, `[{"user":"u1","value":{"max-channels":5}}]`},
		{"DELETE", "user-limits/u1/max-channels", ``, 204, ""},
		{"GET", "user-limits", ``, 200, `[]`},
		{"DELETE", "permissions/%2F/u1", ``, 204, ""},
		{"DELETE", "permissions/%2F/u1", ``, 404, ""},
		{"POST", "users/bulk-delete", `{"users":["u1","none","u2"]}`, 204, ""},
		{"DELETE", "users/u3", ``, 204, ""},
		{"DELETE", "users/u3", ``, 404, ""},
	})
}

func TestVHosts(t *testing.T) {
	s, _ := startNode(t)
	s.walk(t, []step{
		{"PUT", "vhosts/a%2Fb", ``, 201, ""},
		{"PUT", "vhosts/a%2Fb", `{"description":"d","tags":"x,y","default_queue_type":"quorum"}`, 204, ""},
		{"GET", "vhosts/a%2Fb", ``, 200, `"name":"a/b","description":"d","tags":["x","y"],"default_queue_type":"quorum"`},
		{"GET", "vhosts", ``, 200, `"cluster_state":{"n1":"running"}`},
		{"PUT", "queues/a%2Fb/q", ``, 201, ""},
		{"GET", "queues/a%2Fb/q", ``, 200, `"vhost":"a/b"`},
		{"PUT", "vhost-limits/a%2Fb/max-queues", `{"value":1}`, 204, ""},
		{"GET", "vhost-limits", ``, 200, `[{"vhost":"a/b","value":{"max-queues":1}}]`},
		{"PUT", "queues/a%2Fb/q2", ``, 400, "limit"},
		{"GET", "parameters", ``, 200, `[{"value":{"max-queues":1},"vhost":"a/b","component":"vhost-limits","name":"limits"}]`},
		{"DELETE", "vhost-limits/a%2Fb/max-queues", ``, 204, ""},
		{"GET", "vhost-limits/a%2Fb", ``, 200, `[]`},
		{"DELETE", "vhosts/a%2Fb", ``, 204, ""},
		{"DELETE", "vhosts/a%2Fb", ``, 404, ""},
		{"GET", "queues/a%2Fb", ``, 404, ""},
	})
}

func TestPoliciesAndParameters(t *testing.T) {
	s, _ := startNode(t)
	s.walk(t, []step{
		{"PUT", "queues/%2F/aq", ``, 201, ""},
		{"PUT", "policies/%2F/p1", `{"pattern":"^a","definition":{"message-ttl":5000},"priority":1,"apply-to":"queues"}`, 201, ""},
		{"PUT", "policies/%2F/p1", `{"pattern":"^a","definition":{"message-ttl":5000},"priority":1,"apply-to":"queues"}`, 204, ""},
		{"PUT", "policies/%2F/p2", `{"pattern":"(","definition":{"message-ttl":5}}`, 400, "Validation failed"},
		{"PUT", "policies/%2F/p2", `{"pattern":"x","definition":{"nope":5}}`, 400, "not recognised policy settings"},
		{"PUT", "policies/%2F/p2", `{"pattern":"x"}`, 400, "[{key_missing,definition}]"},
		{"GET", "policies", ``, 200, `[{"vhost":"/","name":"p1","pattern":"^a","apply-to":"queues","definition":{"message-ttl":5000},"priority":1}]`},
		{"GET", "policies/%2F/p1", ``, 200, `"name":"p1"`},
		{"PUT", "operator-policies/%2F/o1", `{"pattern":".*","definition":{"max-length":10},"apply-to":"queues"}`, 201, ""},
		{"GET", "queues/%2F/aq", ``, 200, `"policy":"p1","operator_policy":"o1","effective_policy_definition":{`},
		{"DELETE", "operator-policies/%2F/o1", ``, 204, ""},
		{"DELETE", "policies/%2F/p1", ``, 204, ""},
		{"DELETE", "policies/%2F/p1", ``, 404, ""},
		{"GET", "queues/%2F/aq", ``, 200, `"policy":null,"operator_policy":null,"effective_policy_definition":{}`},
		{"PUT", "parameters/shovel/%2F/s", `{"value":{}}`, 400, `Validation failed\n\ncomponent shovel not found\n`},
		{"POST", "definitions", `{"parameters":[{"value":{"a":[1,"x"]},"vhost":"/","component":"shovel","name":"s"}]}`, 204, ""},
		{"GET", "parameters/shovel/%2F/s", ``, 200, `{"value":{"a":[1,"x"]},"vhost":"/","component":"shovel","name":"s"}`},
		{"GET", "parameters/shovel", ``, 200, `"name":"s"`},
		{"DELETE", "parameters/shovel/%2F/s", ``, 204, ""},
		{"DELETE", "parameters/shovel/%2F/s", ``, 404, ""},
		{"PUT", "parameters/vhost-limits/%2F/limits", `{"value":{"max-queues":9}}`, 204, ""},
		{"GET", "vhost-limits", ``, 200, `[{"vhost":"/","value":{"max-queues":9}}]`},
		{"PUT", "global-parameters/g", `{"value":"x"}`, 201, ""},
		{"GET", "global-parameters/g", ``, 200, `{"name":"g","value":"x"}`},
		{"DELETE", "global-parameters/g", ``, 204, ""},
		{"GET", "cluster-name", ``, 200, `{"name":"triagemq"}`},
		{"PUT", "cluster-name", `{}`, 400, "[{key_missing,name}]"},
		{"PUT", "cluster-name", `{"name":"mine"}`, 204, ""},
		{"GET", "cluster-name", ``, 200, `{"name":"mine"}`},
	})
}

func TestClosingConnections(t *testing.T) {
	s, n := startNode(t)
	for _, path := range []string{"connections/worker", "connections/username/guest"} {
		details := worker().Append(nil)
		c := openClient(t, n, broker.SessionSpec{VHost: "/", User: "guest", Name: "worker", Details: details})
		s.walk(t, []step{{"DELETE", path, ``, 204, ""}, {"GET", "connections", ``, 200, "[]"}, {"DELETE", "connections/worker", ``, 404, ""}})
		<-c.ended
		if c.why.Code != fsm.Forced || !strings.Contains(c.why.Text, "Closed via management plugin") {
			t.Errorf("the client was told %+v", c.why)
		}
	}
}

// definitions as RabbitMQ 3.10 exports them.
const definitions = `{"rabbit_version":"3.10.8","rabbitmq_version":"3.10.8","product_name":"RabbitMQ","product_version":"3.10.8",
"users":[{"name":"ann","password_hash":"ZvYOLob12e/c2CHNuea5yRcGE99jxs8qITB4IRSt/lUkEN0k","hashing_algorithm":"rabbit_password_hashing_sha256","tags":["management"],"limits":{"max-channels":7}}],
"vhosts":[{"name":"/"},{"name":"v1"}],
"permissions":[{"user":"ann","vhost":"v1","configure":".*","write":".*","read":".*"}],
"topic_permissions":[{"user":"ann","vhost":"v1","exchange":"x","write":"a","read":"b"}],
"parameters":[{"value":{"max-queues":9},"vhost":"v1","component":"vhost-limits","name":"limits"},
 {"value":{"pattern":".*","definition":{"max-length":99},"priority":0,"apply-to":"queues"},"vhost":"v1","component":"operator_policy","name":"op"}],
"global_parameters":[{"name":"cluster_name","value":"imported"}],
"policies":[{"vhost":"v1","name":"p","pattern":"^q","apply-to":"all","definition":{"message-ttl":60000},"priority":0}],
"queues":[{"name":"q","vhost":"v1","durable":true,"auto_delete":false,"arguments":{"x-max-priority":3}},{"name":"q","vhost":"/","durable":true,"auto_delete":false,"arguments":{}}],
"exchanges":[{"name":"x","vhost":"v1","type":"topic","durable":true,"auto_delete":false,"internal":false,"arguments":{}}],
"bindings":[{"source":"x","vhost":"v1","destination":"q","destination_type":"queue","routing_key":"a.#","arguments":{}},
 {"source":"x","vhost":"v1","destination":"amq.fanout","destination_type":"exchange","routing_key":"b","arguments":{"n":1}}]}`

func TestDefinitions(t *testing.T) {
	s, _ := startNode(t)
	s.walk(t, []step{{"POST", "definitions", definitions, 204, ""}})
	exported := s.ask("GET", "definitions", "").Body.String()
	for _, want := range []string{
		`"name":"ann","password_hash":"ZvYOLob12e/c2CHNuea5yRcGE99jxs8qITB4IRSt/lUkEN0k"`, `"limits":{"max-channels":7}`, `"exchange":"x","write":"a","read":"b"`,
		`{"value":{"max-queues":9},"vhost":"v1","component":"vhost-limits","name":"limits"}`, `"component":"operator_policy","name":"op"`,
		`{"name":"cluster_name","value":"imported"}`, `"name":"p","pattern":"^q"`, `{"name":"q","vhost":"v1","durable":true,"auto_delete":false,"arguments":{"x-max-priority":3}}`,
		`"routing_key":"b","arguments":{"n":1}`,
	} {
		if !strings.Contains(exported, want) {
			t.Errorf("exported definitions lack %s\n%s", want, exported)
		}
	}
	s.walk(t, []step{{"POST", "definitions", exported, 204, ""}})
	if again := s.ask("GET", "definitions", "").Body.String(); again != exported {
		t.Errorf("an export that is imported changes something:\n%s\n%s", exported, again)
	}
	s.walk(t, []step{
		{"PUT", "vhosts/v2", ``, 201, ""},
		{"POST", "definitions/v2", s.ask("GET", "definitions/v1", "").Body.String(), 204, ""},
		{"GET", "definitions/v2", ``, 200, `"queues":[{"name":"q","durable":true,"auto_delete":false,"arguments":{"x-max-priority":3}}]`},
		{"POST", "definitions", `{"queues":[{"name":"bad","vhost":"/","arguments":{"x-max-priority":"a"}}]}`, 400, "x-max-priority"},
		{"POST", "definitions", `{"queues":[{"name":"bad"}]}`, 400, "key_missing,vhost"},
		{"POST", "definitions", `{"queues":{}}`, 400, "not_list"},
	})
}
