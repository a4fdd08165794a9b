package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// walker sends what comes to its mind: methods of every kind on a few channels, content in and out of place, damaged frames.
type walker struct {
	random  *rand.Rand
	opened  [4]bool // what the walker believes
	tame    bool    // sends only what a client may send in some order: such walks go deeper
	damaged bool    // a length may be wrong: the server may wait for the rest of a frame
	b       []byte
}

func (w *walker) pick(n int) int                 { return w.random.IntN(n) }
func (w *walker) word(words ...string) string    { return words[w.pick(len(words))] }
func (w *walker) octets(words ...string) []byte  { return []byte(w.word(words...)) }
func (w *walker) channel() uint16                { return uint16(1 + w.pick(3)) }
func (w *walker) method(m wire.Method, c uint16) { w.b = wire.AppendMethod(w.b, c, m) }

func (w *walker) step() {
	c := w.channel()
	kinds := 100
	if w.tame {
		kinds = 88
	}
	switch n := w.pick(kinds); {
	case !w.opened[c] && n < 90:
		w.method(&wire.ChannelOpen{}, c)
		w.opened[c] = true
	case n < 30:
		w.publish(c)
	case n < 40:
		w.method(&wire.BasicAck{DeliveryTag: uint64(w.pick(6)), Multiple: w.pick(2) == 0}, c)
	case n < 50:
		w.method(&wire.QueueDeclare{Queue: w.word("q", "r", "", "amq.q"), Passive: w.pick(4) == 0, Durable: w.pick(8) == 0}, c)
	case n < 60:
		w.method(&wire.BasicConsume{Queue: w.word("q", "r", ""), ConsumerTag: w.word("", "", fmt.Sprint(len(w.b))), NoAck: w.pick(2) == 0, NoWait: w.pick(3) == 0}, c)
	case n < 66:
		w.method(&wire.BasicGet{Queue: w.word("q", "r"), NoAck: w.pick(2) == 0}, c)
	case n < 72:
		w.method(&wire.BasicCancel{ConsumerTag: w.word("c", "d", "e")}, c)
	case n < 78:
		w.method(&wire.ChannelClose{}, c)
		w.opened[c] = false
	case n < 82:
		w.method(&wire.ChannelCloseOk{}, c)
	case n < 84:
		w.method(&wire.ConfirmSelect{}, c)
	case n < 86:
		w.method([]wire.Method{&wire.TxSelect{}, &wire.TxCommit{}, &wire.TxCommit{}, &wire.TxRollback{}}[w.pick(4)], c)
	case n < 88:
		w.b = wire.AppendHeartbeat(w.b)
	case n < 98:
		w.anything(c)
	default:
		w.damage(c)
	}
}

// publish is whole, mostly; else it lacks something or is told wrong.
func (w *walker) publish(c uint16) {
	w.method(&wire.BasicPublish{Exchange: w.octets("", "", "", "amq.direct", "none"), RoutingKey: w.octets("q", "r", "nowhere"), Mandatory: w.pick(3) == 0}, c)
	properties := content.Properties{Has: content.HasPriority, Priority: uint8(w.pick(256))}
	if w.pick(20) == 0 {
		properties.Has |= content.HasExpiration
		properties.Expiration = w.word("x", "-1", "1000")
	}
	body := make([]byte, w.pick(3)*w.pick(200))
	switch flaw := w.pick(20); {
	case flaw == 0 && !w.tame:
		w.b = wire.AppendContentHeader(w.b, c, properties.Append(nil), uint64(len(body))+1)
	case flaw == 1:
		w.b = wire.AppendContentHeader(w.b, c, properties.Append(nil), 17<<20)
	case flaw == 2 && !w.tame:
	default:
		w.b = wire.AppendContent(w.b, c, 131072, properties.Append(nil), body)
	}
}

// anything is any method at all with any fields, on any channel.
func (w *walker) anything(c uint16) {
	for {
		m := wire.NewMethod(wire.MethodID(uint32(10+10*w.pick(9))<<16 | uint32(10+w.pick(12)*10+w.pick(2))))
		if m == nil {
			continue
		}
		v := reflect.ValueOf(m).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.Bool:
				f.SetBool(w.pick(2) == 0)
			case reflect.String:
				f.SetString(w.word("", "q", "x", "amq.direct", "topic"))
			case reflect.Slice:
				f.SetBytes(content.Table{{Name: w.word("x-max-priority", "x"), Value: int32(w.pick(300))}}.Append(nil))
			default:
				f.SetUint(uint64(w.pick(3)))
			}
		}
		if w.pick(10) == 0 {
			c = 0
		}
		w.method(m, c)
		return
	}
}

func (w *walker) damage(c uint16) {
	start := len(w.b)
	w.damaged = true
	w.publish(c)
	w.b[start+w.pick(len(w.b)-start)] ^= byte(1 + w.pick(255))
}

// mannered are the codes that an error may have.
var mannered = map[uint16]bool{403: true, 404: true, 405: true, 406: true, 501: true, 502: true, 503: true, 504: true, 505: true, 506: true, 530: true, 540: true}

// TestRandomMethodOrders: whatever a client sends, in whatever order, it is answered or closed with a reason, and the server lives on.
func TestRandomMethodOrders(t *testing.T) {
	walks := 300
	if testing.Short() {
		walks = 30
	}
	s := serve(t, ForNode(newNode(t)), testConfig())
	for seed := range walks {
		walk(t, s, uint64(seed))
	}
	waitFor(t, "all connections to end", func() bool { return len(s.live()) == 0 })
	connect(t, s)
}

func walk(t *testing.T, s *Server, seed uint64) {
	w := &walker{random: rand.New(rand.NewPCG(seed, 0)), tame: seed%2 == 1}
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	defer p.conn.Close()
	p.open(nil)
	for range 60 {
		w.step()
	}
	w.b = (&wire.ConnectionClose{ReplyCode: 200}).AppendFrame(w.b, 0) // unless it is closed before
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = p.conn.Write(w.b)
		_ = p.conn.(*net.TCPConn).CloseWrite()
	}()
	if err := p.listen(); err != nil && !(w.damaged && errors.Is(err, io.EOF)) {
		t.Fatalf("seed %d: %v", seed, err)
	}
	p.conn.Close()
	<-sent
}

// listen reads to the end of the connection and checks the manners of the server.
func (p *peer) listen() error {
	m := manners{}
	for {
		f, err := p.next()
		if err != nil {
			return fmt.Errorf("ended without a word: %w", err)
		}
		if over, err := m.check(f); over || err != nil {
			return err
		}
	}
}

// manners are what a server's frames have to keep to: which channels it told the client are open.
type manners map[uint16]bool

// check takes the next frame of the server; over is true when it was the last word.
func (opened manners) check(f wire.Frame) (over bool, err error) {
	if f.Type != wire.FrameMethod {
		if f.Channel != 0 && !opened[f.Channel] {
			return false, fmt.Errorf("content on channel %d, which is closed", f.Channel)
		}
		return false, nil
	}
	id, arguments, err := wire.SplitMethod(f.Payload)
	if err != nil {
		return false, err
	}
	switch id {
	case wire.IDConnectionCloseOk:
		return true, nil
	case wire.IDConnectionClose:
		if code := binary.BigEndian.Uint16(arguments); !mannered[code] {
			return false, fmt.Errorf("connection.close with %d: %q", code, arguments)
		}
		return true, nil
	case wire.IDChannelClose:
		if code := binary.BigEndian.Uint16(arguments); !mannered[code] || !opened[f.Channel] {
			return false, fmt.Errorf("channel.close with %d on channel %d: %q", code, f.Channel, arguments)
		}
		opened[f.Channel] = false
	case wire.IDChannelOpenOk:
		opened[f.Channel] = true
	case wire.IDChannelCloseOk:
		opened[f.Channel] = false
	default:
		if f.Channel != 0 && !opened[f.Channel] {
			return false, fmt.Errorf("%v on channel %d, which is closed", id, f.Channel)
		}
	}
	return false, nil
}
