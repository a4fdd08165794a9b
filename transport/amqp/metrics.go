package amqp

import (
	"sync/atomic"
	"time"
)

// metrics count for the whole server.
type metrics struct {
	opened   atomic.Uint64
	closed   atomic.Uint64
	refused  atomic.Uint64
	logins   atomic.Uint64
	badLogin atomic.Uint64
	stalled  atomic.Uint64
	bytesIn  atomic.Uint64
	bytesOut atomic.Uint64
}

// Stats are counters since the start; connections are opened minus closed.
type Stats struct {
	ConnectionsOpened  uint64 // sockets admitted
	ConnectionsClosed  uint64
	ConnectionsRefused uint64 // sockets closed at once: too many in all, or of one address before login
	Logins             uint64
	LoginsRefused      uint64
	PeersStalled       uint64 // dropped: silent, or taking nothing
	BytesIn            uint64
	BytesOut           uint64
}

// Stats reads the counters. Any goroutine.
func (s *Server) Stats() Stats {
	m := &s.metrics
	return Stats{m.opened.Load(), m.closed.Load(), m.refused.Load(), m.logins.Load(), m.badLogin.Load(), m.stalled.Load(),
		m.bytesIn.Load(), m.bytesOut.Load()}
}

// ConnectionInfo is a client's connection as operators see it.
type ConnectionInfo struct {
	Name             string // "127.0.0.1:51324 -> 127.0.0.1:5672"
	ClientName       string // connection_name of the client, "" where it has none
	Peer             string
	User, VHost      string
	Conn             uint32
	Channels         int
	Since            time.Time
	HeartbeatSeconds uint16
	FrameMaxBytes    uint32
	ChannelMax       uint16
	ClientProperties []byte // encoded table
	Blocked          bool
	TLS              string // version, "TLS 1.3"; "" = none
}

// Connections lists those that have a session. Any goroutine.
func (s *Server) Connections() []ConnectionInfo {
	var all []ConnectionInfo
	for _, c := range s.live() {
		if info, ok := c.info(); ok {
			all = append(all, info)
		}
	}
	return all
}

func (c *connection) info() (ConnectionInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != phaseRunning {
		return ConnectionInfo{}, false
	}
	channels := 0
	for _, ch := range c.channels {
		if ch.state() != channelGone {
			channels++
		}
	}
	return ConnectionInfo{
		Name: c.name, ClientName: c.client.name, Peer: c.tcp.RemoteAddr().String(), User: c.user, VHost: c.vhost, Conn: c.session.Conn(),
		Channels: channels, Since: c.since, HeartbeatSeconds: c.tuned.Heartbeat, FrameMaxBytes: c.tuned.FrameMax, ChannelMax: c.tuned.ChannelMax,
		ClientProperties: c.client.properties, Blocked: c.toldBlocked, TLS: c.tlsVersion,
	}, true
}
