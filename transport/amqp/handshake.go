package amqp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

const locales = "en_US"

// capabilities are what clients gate their features on.
var capabilities = []string{
	"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
	"consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to",
}

// handshake opens the connection, or says why not. It runs on the reader goroutine and writes by itself: the writer starts
// after it.
//
//	client                                    server
//	AMQP 0 0 9 1  ──────────────────────────▶
//	              ◀────────────────────────── connection.start
//	start-ok      ──────────────────────────▶ login
//	              ◀────────────────────────── tune
//	tune-ok, open ──────────────────────────▶ session
//	              ◀────────────────────────── open-ok
func (c *connection) handshake() error {
	if err := c.awaitNode(); err != nil {
		return err
	}
	if err := c.secure(c.ctx); err != nil {
		return err
	}
	err := c.negotiate()
	var x *exception
	if errors.As(err, &x) {
		c.refuse(x)
	}
	return err
}

// awaitNode holds the socket until the node serves clients, within the handshake time-out.
func (c *connection) awaitNode() error {
	_ = c.socket.SetDeadline(time.Now().Add(c.config.HandshakeTimeout))
	timeout := time.NewTimer(c.config.HandshakeTimeout)
	defer timeout.Stop()
	for {
		accepting, changed := c.server.broker.Accepting()
		if accepting {
			return nil
		}
		select {
		case <-changed:
		case <-timeout.C:
			return broker.ErrNotAccepting
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
}

func (c *connection) negotiate() error {
	if err := c.readProtocolHeader(); err != nil {
		return err
	}
	start := wire.ConnectionStart{
		VersionMajor: 0, VersionMinor: 9, ServerProperties: c.serverProperties(), Mechanisms: []byte(c.mechanisms()), Locales: []byte(locales),
	}
	if err := c.writeNow(&start); err != nil {
		return err
	}
	var startOk wire.ConnectionStartOk
	if err := c.readMethod(&startOk); err != nil {
		return err
	}
	c.client = clientOf(startOk.ClientProperties)
	if err := c.login(startOk.Mechanism, startOk.Response); err != nil {
		return err
	}
	if err := c.tune(); err != nil {
		return err
	}
	var open wire.ConnectionOpen
	if err := c.readMethod(&open); err != nil {
		return err
	}
	return c.open(open.VirtualHost)
}

// protocolHeaders are those that RabbitMQ answers by speaking 0-9-1: its own; that of AMQP 0-9, which Perl's clients send; and two of before the numbering was settled.
var protocolHeaders = [...]string{wire.ProtocolHeader, "AMQP\x01\x01\x00\x09", "AMQP\x01\x01\x08\x00", "AMQP\x01\x01\x09\x01"}

// beginsHeader tells whether this may become one of them.
func beginsHeader(b string) bool {
	return slices.ContainsFunc(protocolHeaders[:], func(header string) bool { return strings.HasPrefix(header, b) })
}

// readProtocolHeader answers anything but AMQP 0-9-1 with what would be right, at the first octet that differs.
func (c *connection) readProtocolHeader() error {
	const size = len(wire.ProtocolHeader)
	for {
		got := c.in.Buffered()
		n := min(len(got), size)
		if got := string(got[:n]); !beginsHeader(got) {
			_, _ = io.WriteString(c.socket, wire.ProtocolHeader)
			c.linger()
			return fmt.Errorf("protocol header %q", got)
		}
		if n == size {
			c.in.Discard(n)
			return nil
		}
		if err := c.in.Fill(c.socket); err != nil {
			return err
		}
	}
}

// linger lets the last words arrive: closing a socket that holds unread input resets it, and the peer may lose them.
func (c *connection) linger() {
	if half, ok := c.socket.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = c.socket.SetReadDeadline(time.Now().Add(min(time.Second, c.config.CloseTimeout)))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.socket, 1<<20))
}

func (c *connection) serverProperties() []byte {
	announced := make(content.Table, len(capabilities))
	for i, name := range capabilities {
		announced[i] = content.Field{Name: name, Value: true}
	}
	return content.Table{
		{Name: "capabilities", Value: announced},
		{Name: "cluster_name", Value: c.config.ClusterName},
		{Name: "copyright", Value: "Copyright (c) the TriageMQ authors"},
		{Name: "information", Value: "Replicated message broker for work queues"},
		{Name: "platform", Value: "Go " + strings.TrimPrefix(runtime.Version(), "go")},
		{Name: "product", Value: "TriageMQ"},
		{Name: "version", Value: c.config.Version},
	}.Append(nil)
}

// clientOf reads what matters of the client's properties.
func clientOf(encoded []byte) client {
	c := client{properties: append([]byte(nil), encoded...)}
	if encoded == nil {
		return c
	}
	properties, _, err := content.DecodeTable(encoded)
	if err != nil {
		return c
	}
	switch name, _ := properties.Get("connection_name"); name := name.(type) {
	case string:
		c.name = name
	case []byte:
		c.name = string(name)
	}
	announced, _ := properties.Get("capabilities")
	table, _ := announced.(content.Table)
	has := func(name string) bool {
		v, _ := table.Get(name)
		return v == true
	}
	c.cancelNotify = has("consumer_cancel_notify")
	c.blocked = has("connection.blocked")
	c.authFailureClose = has("authentication_failure_close")
	c.nackReason = has("triagemq.nack_reason")
	return c
}

// tune makes the offer and checks the answer.
func (c *connection) tune() error {
	offer := wire.ConnectionTune{
		ChannelMax: c.config.ChannelMax, FrameMax: c.config.FrameMaxBytes, Heartbeat: uint16(c.config.Heartbeat / time.Second),
	}
	if err := c.writeNow(&offer); err != nil {
		return err
	}
	var answer wire.ConnectionTuneOk
	if err := c.readMethod(&answer); err != nil {
		return err
	}
	if answer.FrameMax != 0 && answer.FrameMax < wire.FrameMinMax {
		return exceptionf(notAllowed, wire.IDConnectionTuneOk, "negotiated frame_max = %d is lower than the minimum allowed value (%d)",
			answer.FrameMax, wire.FrameMinMax)
	}
	if err := withinOffer("frame_max", answer.FrameMax, offer.FrameMax); err != nil {
		return err
	}
	if err := withinOffer("channel_max", uint32(answer.ChannelMax), uint32(offer.ChannelMax)); err != nil {
		return err
	}
	c.tuned = wire.ConnectionTune(answer)
	c.in.SetFrameMax(answer.FrameMax)
	return nil
}

// withinOffer refuses what is above the offer; 0 stands for no limit.
func withinOffer(what string, answer, offer uint32) error {
	if answer != 0 && answer <= offer {
		return nil
	}
	meaning := ""
	if answer == 0 {
		meaning = " (no limit)"
	}
	return exceptionf(notAllowed, wire.IDConnectionTuneOk, "negotiated %s = %d%s is higher than the maximum allowed value (%d)", what, answer, meaning, offer)
}

// open gets the session. From here on effects may come; open-ok is the first that the client sees of it.
func (c *connection) open(vhost string) error {
	c.vhost = vhost
	name := c.client.name
	if name == "" {
		name = c.name
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.config.OpenTimeout)
	defer cancel()
	spec := broker.SessionSpec{VHost: vhost, User: c.user, Name: name, CancelNotify: c.client.cancelNotify, Details: c.details()}
	session, err := c.server.broker.OpenSession(ctx, spec, c)
	if err != nil {
		return refusalOf(err)
	}
	_ = c.socket.SetDeadline(time.Time{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session
	if c.phase != phaseOpening { // ended meanwhile; the farewell is in the output buffer already
		return nil
	}
	c.phase = phaseRunning
	c.encoder().b = (&wire.ConnectionOpenOk{}).AppendFrame(c.out.b, 0)
	c.signalWriter()
	return nil
}

func refusalOf(err error) error {
	var refusal *broker.Refusal
	switch {
	case errors.As(err, &refusal):
		code := replyCodeOf(refusal.Code)
		if !code.endsConnection() {
			code = notAllowed
		}
		return exceptionf(code, wire.IDConnectionOpen, "%s", refusal.Text)
	case errors.Is(err, context.DeadlineExceeded):
		return exceptionf(connectionForced, wire.IDConnectionOpen, "the cluster has no leader to open the connection")
	}
	return exceptionf(connectionForced, wire.IDConnectionOpen, "%v", err)
}

// writeNow writes one method. The handshake's deadline bounds it.
func (c *connection) writeNow(m wire.Method) error {
	_, err := c.socket.Write(wire.AppendMethod(nil, 0, m))
	return err
}

// readMethod waits for m on channel 0, skipping heartbeats.
func (c *connection) readMethod(m wire.Method) error {
	for {
		f, ok, err := c.in.Next()
		switch {
		case err != nil:
			return malformed(0, err)
		case !ok:
			if err := c.in.Fill(c.socket); err != nil {
				return err
			}
			continue
		case f.Type == wire.FrameHeartbeat:
			continue
		case f.Type != wire.FrameMethod || f.Channel != 0:
			return exceptionf(unexpectedFrame, 0, "expected %v, got a frame of type %d on channel %d", m.ID(), f.Type, f.Channel)
		}
		id, arguments, err := wire.SplitMethod(f.Payload)
		if err != nil {
			return malformed(0, err)
		}
		if id == wire.IDConnectionClose {
			_ = c.writeNow(&wire.ConnectionCloseOk{})
			return errClientCloses
		}
		if id != m.ID() {
			return exceptionf(channelError, id, "unexpected method %v, expected %v", id, m.ID())
		}
		if err := m.Decode(arguments); err != nil {
			return malformed(id, err)
		}
		return nil
	}
}

// refuse tells the client why there will be no connection and waits for its close-ok.
func (c *connection) refuse(x *exception) {
	_ = c.socket.SetDeadline(time.Now().Add(c.config.CloseTimeout))
	if c.writeNow(x.connectionClose()) != nil {
		return
	}
	for {
		f, ok, err := c.in.Next()
		switch {
		case err != nil:
			c.linger()
			return
		case !ok:
			if c.in.Fill(c.socket) != nil {
				return
			}
			continue
		}
		if id, _, _ := wire.SplitMethod(f.Payload); f.Type == wire.FrameMethod && id == wire.IDConnectionCloseOk {
			return
		}
	}
}
