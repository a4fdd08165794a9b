package http

import (
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/triagemq/triagemq/broker"
)

// nodeCache keeps what the nodes said of themselves: lists of queues need it, and a dead node costs a time-out.
type nodeCache struct {
	mu    sync.Mutex // held while the nodes are asked: one request asks for all that wait
	at    time.Time
	nodes []broker.NodeDetails
}

// nodesFresh is how old an answer may be.
const nodesFresh = time.Second

func (s *Server) nodeDetails(ctx context.Context) []broker.NodeDetails {
	c := &s.nodes
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nodes == nil || time.Since(c.at) > nodesFresh {
		c.nodes = s.broker.Details(ctx)
		c.at = time.Now()
	}
	return c.nodes
}

// replicas says where queues are: on every node, led by one.
type replicas struct {
	leader          string // "" = none
	members, online []string
	names           map[string]string // id in the log: name
}

func (r *request) replicas() replicas {
	out := replicas{members: []string{}, online: []string{}, names: map[string]string{}}
	for _, n := range r.server.nodeDetails(r.ctx()) {
		out.names[n.Node] = n.Name
		out.members = append(out.members, n.Name)
		if n.Running {
			out.online = append(out.online, n.Name)
		}
		if n.Leader {
			out.leader = n.Name
		}
	}
	return out
}

// name of a node, its id in the log where it is no member any more.
func (p *replicas) name(node string) string {
	if name, known := p.names[node]; known {
		return name
	}
	return node
}

func (r *request) listNodes() (response, error) {
	var items []object
	for _, n := range r.server.nodeDetails(r.ctx()) {
		items = append(items, r.node(&n))
	}
	return r.list(items)
}

func (r *request) getNode() (response, error) {
	for _, n := range r.server.nodeDetails(r.ctx()) {
		if n.Name == r.args["node"] {
			return r.one(r.node(&n))
		}
	}
	return response{}, notFound()
}

func (r *request) node(n *broker.NodeDetails) object {
	o := object{
		{"name", n.Name},
		{"type", "disc"},
		{"running", n.Running},
		{"being_drained", false},
		{"partitions", []string{}},
		{"rates_mode", "basic"},
		{"os_pid", strconv.Itoa(n.PID)},
		{"uptime", n.UptimeMillis},
		{"run_queue", 0},
		{"processors", n.Processors},
		{"fd_total", max(n.FDTotal, 0)},
		{"sockets_total", max(n.FDTotal, 0)},
		{"sockets_used", n.Sessions},
		{"proc_total", 1 << 20},
		{"mem_limit", n.MemLimit},
		{"mem_alarm", n.MemAlarm},
		{"disk_free_limit", n.DiskLimit},
		{"disk_free_alarm", n.DiskAlarm},
		{"exchange_types", exchangeTypes()},
		{"auth_mechanisms", authMechanisms()},
		{"applications", []object{{{"name", "triagemq"}, {"description", "TriageMQ"}, {"version", n.Version}}}},
		{"contexts", r.contexts(n)},
		{"log_files", []string{}},
		{"db_dir", ""},
		{"config_files", []string{}},
		{"enabled_plugins", []string{"rabbitmq_management"}},
		{"net_ticktime", 60},
		{"mem_calculation_strategy", "rss"},
		{"cluster_links", []object{}},
		{"metrics_gc_queue_length", object{}},
		{"triagemq", object{{"leader", n.Leader}, {"voter", n.Voter}}},
	}
	for _, gauge := range []field{
		{"mem_used", max(n.MemUsed, 0)}, {"fd_used", max(n.FDUsed, 0)}, {"proc_used", n.Goroutines}, {"disk_free", max(n.DiskFree, 0)},
	} {
		o = append(o, withRate(gauge.name, gauge.value, 0)...)
	}
	return append(o, r.churn(n.Node)...)
}

func (r *request) contexts(n *broker.NodeDetails) []object {
	_, port, _ := net.SplitHostPort(n.HTTPAddr)
	return []object{{
		{"node", n.Name}, {"description", "TriageMQ management API"}, {"path", "/"}, {"port", port}, {"ssl_opts", []string{}}, {"cowboy_opts", ""},
	}}
}

// listener is a door of a node.
type listener struct {
	node, protocol, host string
	port                 int
}

func listenersOf(n *broker.NodeDetails) []listener {
	var all []listener
	for _, l := range []struct{ protocol, addr string }{
		{"amqp", n.AMQPAddr}, {"amqp/ssl", n.AMQPSAddr}, {"clustering", n.PeerAddr}, {"http", n.HTTPAddr},
	} {
		host, port, err := net.SplitHostPort(l.addr)
		number, bad := strconv.Atoi(port)
		if err == nil && bad == nil {
			all = append(all, listener{node: n.Name, protocol: l.protocol, host: host, port: number})
		}
	}
	return all
}

func (l listener) object() object {
	return object{{"node", l.node}, {"protocol", l.protocol}, {"ip_address", l.host}, {"port", l.port}, {"socket_opts", object{}}}
}

func exchangeTypes() []object {
	var types []object
	for _, name := range []string{"direct", "fanout", "headers", "topic"} {
		types = append(types, object{{"name", name}, {"description", "AMQP " + name + " exchange, as per the AMQP specification"}, {"enabled", true}})
	}
	return append(types, object{{"name", "x-delayed-message"}, {"description", "Delayed Message Exchange."}, {"enabled", true}})
}

func authMechanisms() []object {
	var mechanisms []object
	for _, m := range []struct{ name, description string }{
		{"PLAIN", "SASL PLAIN authentication mechanism"}, {"AMQPLAIN", "QPid AMQPLAIN mechanism"},
	} {
		mechanisms = append(mechanisms, object{{"name", m.name}, {"description", m.description}, {"enabled", true}})
	}
	return mechanisms
}
