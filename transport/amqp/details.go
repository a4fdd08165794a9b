package amqp

import (
	"crypto/tls"
	"net"
	"strconv"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// details is what operators see of the connection at every node, under the names of RabbitMQ's management API: an encoded table.
func (c *connection) details() []byte {
	host, port := hostPort(c.tcp.LocalAddr())
	peerHost, peerPort := hostPort(c.tcp.RemoteAddr())
	t := content.Table{
		{Name: "protocol", Value: "AMQP 0-9-1"},
		{Name: "host", Value: host}, {Name: "port", Value: port},
		{Name: "peer_host", Value: peerHost}, {Name: "peer_port", Value: peerPort},
		{Name: "auth_mechanism", Value: c.mechanism},
		{Name: "channel_max", Value: int32(c.tuned.ChannelMax)},
		{Name: "frame_max", Value: int64(c.tuned.FrameMax)},
		{Name: "timeout", Value: int32(c.tuned.Heartbeat)}, // seconds
		{Name: "connected_at", Value: c.since.UnixMilli()},
	}
	t = append(t, c.secureDetails()...)
	properties, _, err := content.DecodeTable(c.client.properties)
	if err != nil {
		properties = nil
	}
	with := func(p content.Table) []byte {
		return append(t, content.Field{Name: "client_properties", Value: p}).Append(nil)
	}
	if whole := with(properties); len(whole) <= fsm.DetailsBytesMax {
		return whole
	}
	if brief := with(briefly(properties)); len(brief) <= fsm.DetailsBytesMax {
		return brief
	}
	return t.Append(nil)
}

// briefly keeps of too large properties what tells people whose connection it is.
func briefly(properties content.Table) content.Table {
	var kept content.Table
	for _, name := range []string{"connection_name", "product", "version", "platform"} {
		if v, has := properties.Get(name); has {
			kept = append(kept, content.Field{Name: name, Value: v})
		}
	}
	return kept
}

func (c *connection) secureDetails() content.Table {
	t, ok := c.socket.(*tls.Conn)
	if !ok {
		return content.Table{{Name: "ssl", Value: false}}
	}
	state := t.ConnectionState()
	out := content.Table{
		{Name: "ssl", Value: true}, {Name: "ssl_protocol", Value: tls.VersionName(state.Version)}, {Name: "ssl_cipher", Value: tls.CipherSuiteName(state.CipherSuite)},
	}
	if cert := c.certificate(); cert != nil {
		out = append(out, content.Table{
			{Name: "peer_cert_subject", Value: cert.Subject.String()}, {Name: "peer_cert_issuer", Value: cert.Issuer.String()},
			{Name: "peer_cert_validity", Value: cert.NotBefore.UTC().Format("2006-01-02T15:04:05Z") + " - " + cert.NotAfter.UTC().Format("2006-01-02T15:04:05Z")},
		}...)
	}
	return out
}

func hostPort(addr net.Addr) (host string, port int32) {
	host, text, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String(), 0
	}
	n, _ := strconv.ParseUint(text, 10, 16) // 0 where it is none
	return host, int32(n)
}
