package http

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// connection is a session with what its door told of it.
type connection struct {
	fsm.SessionView
	details content.Table
	name    string // unique: "127.0.0.1:58060 -> 127.0.0.1:5672"
	node    string // for people
}

func newConnection(v fsm.SessionView, where *replicas) connection {
	c := connection{SessionView: v, details: decodedTable(v.Details), node: where.name(v.Origin.Node)}
	c.name = c.end("peer_host", "peer_port") + " -> " + c.end("host", "port")
	if c.text("peer_host") == "" {
		c.name = fmt.Sprintf("%s (%s-%d)", v.Name, c.node, v.Conn)
	}
	return c
}

func (c *connection) text(name string) string {
	v, _ := c.details.Get(name)
	s, _ := v.(string)
	return s
}

func (c *connection) number(name string) int64 {
	v, _ := c.details.Get(name)
	n, _ := content.Integer(v)
	return n
}

func (c *connection) end(host, port string) string {
	return net.JoinHostPort(c.text(host), strconv.FormatInt(c.number(port), 10))
}

// ours tells the sessions of this door, which are nobody's connections.
func (c *connection) ours() bool { return c.text("protocol") == sessionProtocol }

func (c *connection) clientProperties() object {
	v, _ := c.details.Get("client_properties")
	t, _ := v.(content.Table)
	return fieldsJSON(t)
}

// userProvidedName is the name that the client chose.
func (c *connection) userProvidedName() any {
	v, _ := c.details.Get("client_properties")
	t, _ := v.(content.Table)
	if name, has := t.Get("connection_name"); has {
		return valueJSON(name)
	}
	return nil
}

func (c *connection) object() object {
	ssl, _ := c.details.Get("ssl")
	secure, _ := ssl.(bool)
	o := object{
		{"name", c.name},
		{"user_provided_name", c.userProvidedName()},
		{"node", c.node},
		{"vhost", c.VHost},
		{"user", c.User},
		{"user_who_performed_action", c.User},
		{"type", "network"},
		{"state", "running"},
		{"protocol", cmp.Or(c.text("protocol"), "AMQP 0-9-1")},
		{"channels", c.Channels},
		{"channel_max", c.number("channel_max")},
		{"frame_max", c.number("frame_max")},
		{"timeout", c.number("timeout")},
		{"connected_at", c.number("connected_at")},
		{"client_properties", c.clientProperties()},
		{"auth_mechanism", c.text("auth_mechanism")},
		{"host", c.text("host")},
		{"port", c.number("port")},
		{"peer_host", c.text("peer_host")},
		{"peer_port", c.number("peer_port")},
		{"ssl", secure},
	}
	for _, name := range []string{"ssl_protocol", "ssl_cipher", "ssl_hash", "ssl_key_exchange", "peer_cert_subject", "peer_cert_issuer", "peer_cert_validity"} {
		v, _ := c.details.Get(name)
		o = append(o, field{name, valueJSON(v)})
	}
	o = append(o, field{"recv_cnt", 0}, field{"send_cnt", 0}, field{"send_pend", 0})
	o = append(o, withRate("recv_oct", 0, 0)...)
	return append(o, withRate("send_oct", 0, 0)...)
}

// brief is how other resources name a connection.
func (c *connection) brief() object {
	return object{{"name", c.name}, {"peer_host", c.text("peer_host")}, {"peer_port", c.number("peer_port")}}
}

// connections lists those that the user sees, by name.
func (r *request) connections(wanted func(c *connection) bool) []connection {
	where := r.replicas()
	var out []connection
	for _, v := range r.server.broker.Sessions() {
		c := newConnection(v, &where)
		if !c.ours() && (r.isMonitor() || c.User == r.who.User) && (wanted == nil || wanted(&c)) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b connection) int { return cmp.Compare(a.name, b.name) })
	return out
}

func (r *request) connectionList(connections []connection) (response, error) {
	items := make([]object, len(connections))
	for i := range connections {
		items[i] = connections[i].object()
	}
	return r.list(items)
}

// connectionOf finds the connection of a session that something refers to.
func (r *request) connectionOf(key fsm.SessionKey) *connection {
	where := r.replicas()
	for _, v := range r.server.broker.Sessions() {
		if v.Origin == key.Origin && v.Conn == key.Conn {
			c := newConnection(v, &where)
			return &c
		}
	}
	return &connection{}
}

func (r *request) listConnections() (response, error) { return r.connectionList(r.connections(nil)) }

func (r *request) listVHostConnections() (response, error) {
	return r.connectionList(r.connections(func(c *connection) bool { return c.VHost == r.vhost() }))
}

func (r *request) listUserConnections() (response, error) {
	var items []object
	for _, c := range r.connections(func(c *connection) bool { return c.User == r.args["user"] }) {
		items = append(items, object{{"name", c.name}, {"vhost", c.VHost}, {"user", c.User}, {"node", c.node}})
	}
	return r.list(items)
}

// theConnection is the one in the path, by its name or by the one that the client chose where that is unique.
func (r *request) theConnection() (connection, error) {
	name := r.args["connection"]
	found := r.connections(func(c *connection) bool { return c.name == name })
	if len(found) == 0 {
		found = r.connections(func(c *connection) bool { return c.userProvidedName() == name })
	}
	if len(found) != 1 {
		return connection{}, notFound()
	}
	return found[0], nil
}

// closedByOperator is what clients are told where the operator says nothing.
const closedByOperator = "Closed via management plugin"

// closeConnections ends connections; those that end meanwhile need no more.
func (r *request) closeConnections(connections []connection) (response, error) {
	reason := cmp.Or(r.http.Header.Get("X-Reason"), closedByOperator)
	if len(reason) > reasonBytesMax {
		reason = strings.ToValidUTF8(reason[:reasonBytesMax], "")
	}
	ctx, cancel := r.bounded()
	defer cancel()
	for _, c := range connections {
		var refusal *broker.Refusal
		err := r.server.broker.EndSession(ctx, c.Origin, c.Conn, reason)
		if err != nil && !(errors.As(err, &refusal) && refusal.Code == fsm.NotFound) {
			return response{}, err
		}
	}
	return noContent()
}

// reasonBytesMax leaves room for "CONNECTION_FORCED - " in a reply text of AMQP.
const reasonBytesMax = 200

func (r *request) deleteConnection() (response, error) {
	c, err := r.theConnection()
	if err != nil {
		return response{}, err
	}
	if !r.isAdministrator() && c.User != r.who.User {
		return response{}, notAuthorised("Not administrator user")
	}
	return r.closeConnections([]connection{c})
}

func (r *request) deleteUserConnections() (response, error) {
	return r.closeConnections(r.connections(func(c *connection) bool { return c.User == r.args["user"] }))
}

func (r *request) getConnection() (response, error) {
	c, err := r.theConnection()
	if err != nil {
		return response{}, err
	}
	return r.one(c.object())
}
