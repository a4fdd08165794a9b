package amqp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// errorRow is a row of the error table of docs/protocol.md: what a client sends on a new connection with channel 1 open, in the lines of a script, and with
// which code, on which level, for which method it is refused.
type errorRow struct {
	name   string
	lines  string
	code   uint16
	level  string // channel, connection or return
	method wire.MethodID
}

var errorTable = []errorRow{
	{"no route", "1 publish-mandatory nowhere m", 312, "return", 0},

	{"reserved queue name", "1 queue.declare Queue=amq.mine", 403, "channel", wire.IDQueueDeclare},
	{"reserved exchange name", "1 exchange.declare Exchange=amq.mine Type=direct", 403, "channel", wire.IDExchangeDeclare},
	{"delete a built-in exchange", "1 exchange.delete Exchange=amq.direct", 403, "channel", wire.IDExchangeDelete},
	{"delete the default exchange", `1 exchange.delete Exchange=`, 403, "channel", wire.IDExchangeDelete},
	{"declare the default exchange", "1 exchange.declare Exchange= Type=direct", 403, "channel", wire.IDExchangeDeclare},
	{"bind to the default exchange", "1 queue.declare Queue=q1\n1 queue.bind Queue=q1 Exchange= RoutingKey=k", 403, "channel", wire.IDQueueBind},
	{"unbind from the default exchange", "1 queue.declare Queue=q1\n1 queue.unbind Queue=q1 Exchange= RoutingKey=k", 403, "channel", wire.IDQueueUnbind},
	{"bind an exchange to the default one", "1 exchange.bind Source= Destination=amq.direct", 403, "channel", wire.IDExchangeBind},
	{"publish to an internal exchange", "1 exchange.declare Exchange=inner Type=fanout Internal AutoDelete\n1 basic.publish Exchange=inner\n1 header 0", 403, "channel", wire.IDBasicPublish},
	{"consume what is consumed exclusively", "1 queue.declare Queue=q2 AutoDelete\n1 basic.consume Queue=q2 Exclusive\n2 channel.open\n2 basic.consume Queue=q2", 403, "channel", wire.IDBasicConsume},
	{"bind an address for replies", "1 queue.bind Queue=amq.rabbitmq.reply-to Exchange=amq.direct", 403, "channel", wire.IDQueueBind},

	{"declare a missing queue passively", "1 queue.declare Queue=none Passive", 404, "channel", wire.IDQueueDeclare},
	{"declare no queue passively", "1 queue.declare Passive", 404, "channel", wire.IDQueueDeclare},
	{"declare a missing exchange passively", "1 exchange.declare Exchange=none Passive", 404, "channel", wire.IDExchangeDeclare},
	{"publish to a missing exchange", "1 basic.publish Exchange=none\n1 header 0", 404, "channel", wire.IDBasicPublish},
	{"consume from a missing queue", "1 basic.consume Queue=none", 404, "channel", wire.IDBasicConsume},
	{"get from a missing queue", "1 basic.get Queue=none", 404, "channel", wire.IDBasicGet},
	{"purge a missing queue", "1 queue.purge Queue=none", 404, "channel", wire.IDQueuePurge},
	{"bind a missing queue", "1 queue.bind Queue=none Exchange=amq.direct", 404, "channel", wire.IDQueueBind},
	{"bind to a missing exchange", "1 queue.declare Queue=q1\n1 queue.bind Queue=q1 Exchange=none", 404, "channel", wire.IDQueueBind},
	{"bind a missing exchange", "1 exchange.bind Source=none Destination=amq.direct", 404, "channel", wire.IDExchangeBind},
	{"no queue was declared before", "1 basic.get", 404, "channel", wire.IDBasicGet},
	{"a requester that is gone", "1 queue.declare Queue=amq.rabbitmq.reply-to.x.y", 404, "channel", wire.IDQueueDeclare},

	{"another's exclusive queue", "1 queue.declare Queue=others", 405, "channel", wire.IDQueueDeclare},
	{"consume from another's exclusive queue", "1 basic.consume Queue=others", 405, "channel", wire.IDBasicConsume},
	{"get from another's exclusive queue", "1 basic.get Queue=others", 405, "channel", wire.IDBasicGet},
	{"purge another's exclusive queue", "1 queue.purge Queue=others", 405, "channel", wire.IDQueuePurge},
	{"delete another's exclusive queue", "1 queue.delete Queue=others", 405, "channel", wire.IDQueueDelete},
	{"bind another's exclusive queue", "1 queue.bind Queue=others Exchange=amq.direct", 405, "channel", wire.IDQueueBind},

	{"another kind of queue", "1 queue.declare Queue=q1\n1 queue.declare Queue=q1 Durable", 406, "channel", wire.IDQueueDeclare},
	{"another type of exchange", "1 exchange.declare Exchange=amq.direct Type=fanout Durable", 406, "channel", wire.IDExchangeDeclare},
	{"an invalid argument", "1 queue.declare Queue=bad Arguments=x-max-priority:-1", 406, "channel", wire.IDQueueDeclare},
	{"an unknown tag in ack", "1 basic.ack DeliveryTag=7", 406, "channel", wire.IDBasicAck},
	{"an unknown tag in nack", "1 basic.nack DeliveryTag=7", 406, "channel", wire.IDBasicNack},
	{"an unknown tag in reject", "1 basic.reject DeliveryTag=7", 406, "channel", wire.IDBasicReject},
	{"a reject before a nack", "1 basic.reject DeliveryTag=7\n1 basic.nack DeliveryTag=8", 406, "channel", wire.IDBasicReject},
	{"a bad expiration", "1 publish q1 m Expiration=soon", 406, "channel", wire.IDBasicPublish},
	{"another's user-id", "1 publish q1 m UserID=eve", 406, "channel", wire.IDBasicPublish},
	{"an unknown delivery mode", "1 publish q1 m DeliveryMode=3", 406, "channel", wire.IDBasicPublish},
	{"a message over the limit", "1 basic.publish RoutingKey=q1\n1 header 16777217", 406, "channel", wire.IDBasicPublish},
	{"an unknown type of exchange", "1 exchange.declare Exchange=x Type=odd", 406, "channel", wire.IDExchangeDeclare},
	{"delete a queue in use", "1 queue.declare Queue=q3 AutoDelete\n1 basic.consume Queue=q3\n1 queue.delete Queue=q3 IfUnused", 406, "channel", wire.IDQueueDelete},
	{"delete a queue that is not empty", "1 queue.declare Queue=q4\n1 publish q4 m\n1 queue.delete Queue=q4 IfEmpty", 406, "channel", wire.IDQueueDelete},
	{"delete an exchange in use", "1 queue.declare Queue=q1\n1 exchange.declare Exchange=used Type=direct\n1 queue.bind Queue=q1 Exchange=used\n1 exchange.delete Exchange=used IfUnused", 406, "channel", wire.IDExchangeDelete},
	{"tx after confirms", "1 confirm.select\n1 tx.select", 406, "channel", wire.IDTxSelect},
	{"confirms after tx", "1 tx.select\n1 confirm.select", 406, "channel", wire.IDConfirmSelect},
	{"commit without tx", "1 tx.commit", 406, "channel", wire.IDTxCommit},
	{"rollback without tx", "1 tx.rollback", 406, "channel", wire.IDTxRollback},
	{"replies with acknowledgement", "1 basic.consume Queue=amq.rabbitmq.reply-to", 406, "channel", wire.IDBasicConsume},
	{"a request without a consumer of replies", "1 publish q1 m ReplyTo=amq.rabbitmq.reply-to", 406, "channel", wire.IDBasicPublish},

	{"unknown frame type", "raw 04000100000000ce", 501, "connection", 0},
	{"wrong end octet", "raw 010001000000040014000a00", 501, "connection", 0},
	{"frame over frame_max", "raw 03000100020000", 501, "connection", 0},
	{"arguments that end early", "raw 010001000000060032000a0000ce", 501, "connection", wire.IDQueueDeclare},
	{"octets behind the arguments", "raw 010001000000080014001401000000ce", 501, "connection", wire.IDChannelFlow},
	{"a method frame of two octets", "raw 010001000000020032ce", 501, "connection", 0},
	{"a name that is no text", "raw 0100010000000e0032000a000002fffe0000000000ce", 501, "connection", 0},
	{"properties that do not decode", "1 basic.publish RoutingKey=q1\nraw 0200010000000f003c000000000000000000008000ffce", 502, "connection", wire.IDBasicPublish},
	{"unknown method", "raw 01000100000004003c00ffce", 503, "connection", 60<<16 | 255},
	{"unknown class", "raw 010001000000040063000ace", 503, "connection", 99<<16 | 10},
	{"a method for a server to send", "1 basic.deliver", 503, "connection", wire.IDBasicDeliver},
	{"a channel that is not open", "9 basic.get Queue=q1", 504, "connection", wire.IDBasicGet},
	{"a channel opened twice", "1 channel.open", 504, "connection", wire.IDChannelOpen},
	{"a header without a publish", "1 header 1", 505, "connection", 0},
	{"a body without a header", "1 body text", 505, "connection", 0},
	{"a header on a channel that is not open", "9 header 1", 505, "connection", 0},
	{"a method in place of the header", "1 basic.publish RoutingKey=q1\n1 basic.get Queue=q1", 505, "connection", wire.IDBasicPublish},
	{"a method in place of the body", "1 basic.publish RoutingKey=q1\n1 header 5\n1 basic.get Queue=q1", 505, "connection", wire.IDBasicPublish},
	{"a body longer than its header says", "1 basic.publish RoutingKey=q1\n1 header 2\n1 body text", 505, "connection", wire.IDBasicPublish},
	{"a header with a weight", "1 basic.publish RoutingKey=q1\nraw 0200010000000e003c000100000000000000000000ce", 505, "connection", wire.IDBasicPublish},
	{"a heartbeat on a channel", "raw 08000100000000ce", 505, "connection", 0},
	{"content on channel 0", "0 header 1", 505, "connection", 0},
	{"channel above channel_max", "2048 channel.open", 530, "connection", wire.IDChannelOpen},
	{"a consumer tag used twice", "1 queue.declare Queue=q1\n1 basic.consume Queue=q1 ConsumerTag=t\n1 basic.consume Queue=q1 ConsumerTag=t", 530, "connection", wire.IDBasicConsume},
	{"immediate", "1 basic.publish RoutingKey=q1 Immediate\n1 header 0", 540, "connection", wire.IDBasicPublish},
	{"prefetch_size", "1 basic.qos PrefetchSize=1", 540, "connection", wire.IDBasicQos},
	{"flow off", "1 channel.flow", 540, "connection", wire.IDChannelFlow},
	{"recover without requeue", "1 basic.recover", 540, "connection", wire.IDBasicRecover},
	{"recover-async without requeue", "1 basic.recover-async", 540, "connection", wire.IDBasicRecoverAsync},
}

// TestErrorTable drives every row over a socket against a real node. After a channel error the connection has to live.
func TestErrorTable(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	other := openRow(t, s)
	other.send((&wire.QueueDeclare{Queue: "others", Exclusive: true}).AppendFrame(nil, 1))
	other.await(wire.IDQueueDeclareOk)
	for _, row := range errorTable {
		t.Run(row.name, func(t *testing.T) {
			p := openRow(t, s)
			defer p.conn.Close()
			var b []byte
			for line := range strings.SplitSeq(row.lines, "\n") {
				b = p.encode(b, line)
			}
			p.send(b)
			want := fmt.Sprintf("%s %d %v", row.level, row.code, row.method)
			if got := p.refusal(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if row.level == "channel" {
				p.send((&wire.ChannelOpen{}).AppendFrame(nil, 77))
				p.await(wire.IDChannelOpenOk)
			}
		})
	}
}

func openRow(t *testing.T, s *Server) *peer {
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	p.open(content.Table{})
	p.send((&wire.ChannelOpen{}).AppendFrame(nil, 1))
	p.await(wire.IDChannelOpenOk)
	return p
}

// refusal reads to the first error and tells its level, code and method.
func (p *peer) refusal() string {
	for {
		f, err := p.next()
		if err != nil {
			return "closed without a word: " + err.Error()
		}
		if f.Type != wire.FrameMethod {
			continue
		}
		id, arguments, err := wire.SplitMethod(f.Payload)
		if err != nil {
			p.t.Fatal(err)
		}
		switch id {
		case wire.IDConnectionClose:
			var m wire.ConnectionClose
			_ = m.Decode(arguments)
			return fmt.Sprintf("connection %d %v", m.ReplyCode, wire.MethodID(uint32(m.ClassID)<<16|uint32(m.MethodID)))
		case wire.IDChannelClose:
			var m wire.ChannelClose
			_ = m.Decode(arguments)
			return fmt.Sprintf("channel %d %v", m.ReplyCode, wire.MethodID(uint32(m.ClassID)<<16|uint32(m.MethodID)))
		case wire.IDBasicReturn:
			var m wire.BasicReturn
			_ = m.Decode(arguments)
			return fmt.Sprintf("return %d %v", m.ReplyCode, wire.MethodID(0))
		}
	}
}

// TestTuneTable: what a client may answer to tune. 0 stands for no limit, so it is taken where the server has none, which ours always has; 0 for the heartbeat
// is none.
func TestTuneTable(t *testing.T) {
	s := serve(t, ForNode(newNode(t)), testConfig())
	const refused, taken = 530, 0
	for _, row := range []struct {
		answer wire.ConnectionTuneOk
		code   int
	}{
		{wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 4096}, taken},
		{wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 65535}, taken},
		{wire.ConnectionTuneOk{ChannelMax: 0, FrameMax: 131072}, refused},
		{wire.ConnectionTuneOk{ChannelMax: 2048, FrameMax: 131072}, refused},
		{wire.ConnectionTuneOk{ChannelMax: 65535, FrameMax: 131072}, refused},
		{wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 0}, refused},
		{wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 4095}, refused},
		{wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131073}, refused},
	} {
		t.Run(fmt.Sprint(row.answer.ChannelMax, row.answer.FrameMax, row.answer.Heartbeat), func(t *testing.T) {
			p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
			b := (&wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US"}).AppendFrame([]byte(wire.ProtocolHeader), 0)
			p.send((&wire.ConnectionOpen{VirtualHost: "/"}).AppendFrame(row.answer.AppendFrame(b, 0), 0))
			if row.code == taken {
				p.await(wire.IDConnectionOpenOk)
			} else if got, want := p.refusal(), fmt.Sprintf("connection %d %v", row.code, wire.IDConnectionTuneOk); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
