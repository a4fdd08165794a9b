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
	t.Helper()
	w := &walker{random: rand.New(rand.NewPCG(seed, 0)), tame: seed%2 == 1}
	if err := w.walk(t, s, 60); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
}

// FuzzMethodOrders lets the input choose the steps of a walk, against a real node.
func FuzzMethodOrders(f *testing.F) {
	f.Add([]byte("\x00\x10\x80\xf0\x40\x20"))
	f.Add([]byte("open, declare, publish, consume, acknowledge, close and open again"))
	f.Add([]byte("\xff\xfe\xfd\xfc\x01\x02\x03\x04\x81\x82\x83\x84\x41\x42\x43\x44"))
	s := serve(f, ForNode(newNode(f)), testConfig())
	f.Fuzz(func(t *testing.T, program []byte) {
		source := &programSource{rest: program[:min(len(program), 400)]}
		w := &walker{random: rand.New(source), tame: len(program)%2 == 1}
		if err := w.walk(t, s, len(source.rest)/4); err != nil {
			t.Fatal(err)
		}
		p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
		defer p.conn.Close()
		p.open(nil) // the node lives, and the next walk finds no messages
		p.send((&wire.ChannelOpen{}).AppendFrame(nil, 1))
		for _, queue := range []string{"q", "r"} {
			p.send((&wire.QueueDelete{Queue: queue}).AppendFrame(nil, 1))
			p.await(wire.IDQueueDeleteOk)
		}
	})
}

// programSource is a source of chance that follows the octets of an input, and goes round all of them behind its end: some steps draw until something fits.
type programSource struct {
	rest   []byte
	behind byte
}

func (s *programSource) Uint64() uint64 {
	const middle = 1 << 55 // keeps rand from drawing again, for what it is asked here
	if len(s.rest) == 0 {
		s.behind += 37
		return uint64(s.behind)<<56 | middle
	}
	octet := s.rest[0]
	s.rest = s.rest[1:]
	return uint64(octet)<<56 | middle
}

// walk sends the steps and a close, and reads to the end.
func (w *walker) walk(t *testing.T, s *Server, steps int) error {
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	defer p.conn.Close()
	p.open(nil)
	for range steps {
		w.step()
	}
	w.b = (&wire.ConnectionClose{ReplyCode: 200}).AppendFrame(w.b, 0) // unless it is closed before
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = p.conn.Write(w.b)
		_ = p.conn.(*net.TCPConn).CloseWrite()
	}()
	err := p.listen()
	p.conn.Close()
	<-sent
	if w.damaged && errors.Is(err, io.EOF) {
		return nil
	}
	return err
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
