package amqp

import (
	"bytes"
	"testing"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// TestMemoryShort: what would be new is refused on its channel, and whoever consumes goes on.
func TestMemoryShort(t *testing.T) {
	p, session, s := openFake(t, testConfig(), nil)
	s.broker.(*fakeBroker).short.Store(true)
	channel := uint16(1)
	for _, m := range []interface {
		AppendFrame(dst []byte, channel uint16) []byte
	}{
		&wire.QueueDeclare{Queue: "q"}, &wire.QueueDeclare{}, &wire.QueueDeclare{Queue: "q", NoWait: true},
		&wire.ExchangeDeclare{Exchange: "x", Type: "topic"}, &wire.QueueBind{Queue: "q", Exchange: "x"}, &wire.ExchangeBind{Source: "x", Destination: "y"},
	} {
		p.send(m.AppendFrame(nil, channel))
		end := session.await(t, fsm.KindCloseChannel)
		session.effects(fsm.Effect{Kind: fsm.Replied, Ref: end.ref, Command: fsm.KindCloseChannel})
		var closed wire.ChannelClose
		if _, arguments := p.await(wire.IDChannelClose); closed.Decode(arguments) != nil {
			t.Fatal("channel.close does not decode")
		}
		if closed.ReplyCode != 406 || !bytes.Contains([]byte(closed.ReplyText), []byte("short of memory")) {
			t.Errorf("%T: %d %s", m, closed.ReplyCode, closed.ReplyText)
		}
		channel++
		p.send((&wire.ChannelOpen{}).AppendFrame(nil, channel))
		p.await(wire.IDChannelOpenOk)
	}
	p.send((&wire.BasicConsume{Queue: "q"}).AppendFrame(nil, channel))
	session.await(t, fsm.KindConsume)
}
