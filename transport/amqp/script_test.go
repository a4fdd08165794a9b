package amqp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

var update = flag.Bool("update", false, "write the output of the scripts in testdata")

// A script in testdata is a list of blocks: what a client sends, a line "----", what it gets back. Lines that a client sends:
//
//	CHANNEL METHOD FIELD=VALUE…       a method; flags need no value, tables are name:value,…
//	CHANNEL publish KEY BODY [FIELD=VALUE…]  basic.publish with properties and body, in one frame each
//	CHANNEL header SIZE | CHANNEL body TEXT | raw HEX | string TEXT | heartbeat
//	alarm REASON              the node blocks publishers, before what else the block has; without a reason it lets them go on
//
// {reply-to} stands for the reply-to of the message that came last.
//
// After each block a channel of the test's own makes two round trips, so that all answers to it are there: the second one is for
// the confirms, which are gathered over a log entry. How many entries a block took is chance, so confirms are printed together,
// at the end of the block.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	shared := serve(t, ForNode(newNode(t)), testConfig())
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			s := shared
			if !strings.ContainsAny(name, "_") || name == "channel_errors" { // the others leave nothing behind
				s = serve(t, ForNode(newNode(t)), testConfig())
			}
			runScript(t, s, file)
		})
	}
}

// TestScriptsNameEveryMethod: there is a script for each method. No mechanism of ours has a challenge, so connection.secure is never sent.
func TestScriptsNameEveryMethod(t *testing.T) {
	var all strings.Builder
	files, err := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, failed := os.ReadFile(file)
		err = errors.Join(err, failed)
		all.Write(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	methods := 0
	for m := range allMethods() {
		methods++
		line := regexp.MustCompile(`(?m)^\d+ ` + regexp.QuoteMeta(m.ID().String()) + `( |$)`)
		if m.ID() != wire.IDConnectionSecure && !line.MatchString(all.String()) {
			t.Errorf("no script has %v", m.ID())
		}
	}
	if methods < 60 {
		t.Errorf("only %d methods", methods)
	}
}

func runScript(t *testing.T, s *Server, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader(), server: s}
	var out strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		input, _, _ := strings.Cut(block, "\n----")
		fmt.Fprintf(&out, "%s\n----\n%s\n", input, p.play(input))
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimSpace(out.String())+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, want := strings.TrimSpace(out.String()), strings.TrimSpace(string(text)); got != want {
		t.Errorf("got:\n%s\n\nwant:\n%s", got, want)
	}
}

// peer is a client that speaks frames.
type peer struct {
	t       testing.TB
	conn    net.Conn
	in      *wire.Reader
	server  *Server // of the script
	opened  bool    // the barrier channel is open
	replyTo string
	closed  bool
}

const barrierChannel = 2047

// play sends a block and returns what came back.
func (p *peer) play(input string) string {
	var b []byte
	for _, line := range strings.Split(input, "\n") {
		line = strings.ReplaceAll(line, "{reply-to}", p.replyTo)
		line = strings.TrimSpace(line)
		if reason, ok := strings.CutPrefix(line, "alarm"); ok {
			p.server.alarm(strings.TrimSpace(reason))
		} else if line != "" && !strings.HasPrefix(line, "#") {
			b = p.encode(b, line)
		}
	}
	var out strings.Builder
	p.send(b)
	p.collect(&out)
	return out.String()
}

// alarm tells all connections what their node would tell them.
func (s *Server) alarm(reason string) {
	s.mu.Lock()
	connections := slices.Collect(maps.Keys(s.connections))
	s.mu.Unlock()
	for _, c := range connections {
		c.Blocked(reason)
	}
}

func (p *peer) send(b []byte) {
	if _, err := p.conn.Write(b); err != nil && !p.closed {
		p.t.Logf("write: %v", err)
	}
}

// open makes the handshake as amqp091-go does.
func (p *peer) open(client content.Table) {
	b := []byte(wire.ProtocolHeader)
	b = (&wire.ConnectionStartOk{Mechanism: "PLAIN", Response: []byte("\x00guest\x00guest"), Locale: "en_US", ClientProperties: client.Append(nil)}).AppendFrame(b, 0)
	b = (&wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072}).AppendFrame(b, 0)
	b = (&wire.ConnectionOpen{VirtualHost: "/"}).AppendFrame(b, 0)
	p.send(b)
	p.await(wire.IDConnectionOpenOk)
}

// await reads until a method comes and returns its channel and arguments.
func (p *peer) await(want wire.MethodID) (channel uint16, arguments []byte) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("%v awaited: %v", want, err)
		}
		if f.Type != wire.FrameMethod {
			continue
		}
		id, arguments, err := wire.SplitMethod(f.Payload)
		if err != nil {
			p.t.Fatal(err)
		}
		if id == want {
			return f.Channel, arguments
		}
	}
}

func (p *peer) next() (wire.Frame, error) {
	for {
		f, ok, err := p.in.Next()
		if ok || err != nil {
			return f, err
		}
		if err := p.in.Fill(p.conn); err != nil {
			return wire.Frame{}, err
		}
	}
}

// collect prints frames until the barrier's answer, a server that asks for an answer in the handshake, or the end.
func (p *peer) collect(out *strings.Builder) {
	if p.closed {
		return
	}
	acks := map[uint16]uint64{}
	defer func() {
		for _, channel := range slices.Sorted(maps.Keys(acks)) {
			fmt.Fprintf(out, "%d confirmed up to %d\n", channel, acks[channel])
		}
	}()
	barrier := (&wire.BasicQos{PrefetchCount: 1}).AppendFrame(nil, barrierChannel)
	roundTrips := 0
	if p.opened {
		p.send(barrier)
	}
	for {
		if b := p.in.Buffered(); bytes.HasPrefix(b, []byte("AMQP")) && len(b) >= 8 {
			fmt.Fprintf(out, "header %q\n", b[:8])
			p.in.Discard(8)
			continue
		}
		f, err := p.next()
		switch {
		case err != nil:
			if b := p.in.Buffered(); bytes.HasPrefix(b, []byte("AMQP")) {
				continue
			}
			fmt.Fprintln(out, "closed")
			p.closed = true
			return
		case f.Type == wire.FrameHeartbeat:
		case f.Type == wire.FrameMethod && isMethod(f, wire.IDBasicAck):
			acks[f.Channel] = binary.BigEndian.Uint64(f.Payload[4:])
		case f.Channel != barrierChannel:
			if p.print(out, f) {
				return
			}
		case isMethod(f, wire.IDBasicQosOk):
			if roundTrips++; roundTrips == 2 {
				return
			}
			p.send(barrier)
		}
	}
}

func isMethod(f wire.Frame, want wire.MethodID) bool {
	id, _, err := wire.SplitMethod(f.Payload)
	return err == nil && id == want
}

// print writes a frame and reports whether the server now waits for the client.
func (p *peer) print(out *strings.Builder, f wire.Frame) (wait bool) {
	switch f.Type {
	case wire.FrameHeader:
		h, err := wire.DecodeContentHeader(f.Payload)
		if err != nil {
			p.t.Fatal(err)
		}
		properties, err := content.DecodeProperties(h.Properties)
		if properties.ReplyTo != "" {
			p.replyTo = properties.ReplyTo
		}
		fmt.Fprintf(out, "%d header %d%s\n", f.Channel, h.BodySize, fields(&properties))
		if err != nil {
			p.t.Fatal(err)
		}
	case wire.FrameBody:
		fmt.Fprintf(out, "%d body %s\n", f.Channel, f.Payload)
	case wire.FrameMethod:
		id, arguments, err := wire.SplitMethod(f.Payload)
		if err != nil {
			p.t.Fatal(err)
		}
		m := wire.NewMethod(id)
		if err := m.Decode(arguments); err != nil {
			p.t.Fatal(err)
		}
		fmt.Fprintf(out, "%d %v%s\n", f.Channel, id, fields(m))
		switch id {
		case wire.IDConnectionStart, wire.IDConnectionTune:
			return true
		case wire.IDConnectionClose:
			p.opened = false
			p.send((&wire.ConnectionCloseOk{}).AppendFrame(nil, 0))
		case wire.IDConnectionOpenOk:
			p.opened = true
			p.send((&wire.ChannelOpen{}).AppendFrame(nil, barrierChannel))
			p.send((&wire.BasicQos{PrefetchCount: 1}).AppendFrame(nil, barrierChannel))
		}
	}
	return false
}

// generated is what the server draws by chance.
var generated = regexp.MustCompile(`(amq\.(?:gen|ctag)-|amq\.rabbitmq\.reply-to\.n1\.)[\w+/-]{22}(?:==)?`)

// fields prints the fields that are not zero.
func fields(m any) string {
	var b strings.Builder
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if f.IsZero() || name == "Has" || name == "ServerProperties" {
			continue
		}
		switch x := f.Interface().(type) {
		case bool:
			fmt.Fprintf(&b, " %s", name)
		case string:
			fmt.Fprintf(&b, " %s=%s", name, quote(generated.ReplaceAllString(x, "$1*")))
		case []byte:
			fmt.Fprintf(&b, " %s=%s", name, quote(generated.ReplaceAllString(string(x), "$1*")))
		default:
			fmt.Fprintf(&b, " %s=%v", name, x)
		}
	}
	return b.String()
}

func quote(s string) string {
	if strings.ContainsAny(s, " \"") || s == "" {
		return strconv.Quote(s)
	}
	return s
}

// encode appends what a line of a script says.
func (p *peer) encode(b []byte, line string) []byte {
	words := split(line)
	switch words[0] {
	case "protocol":
		return append(b, wire.ProtocolHeader...)
	case "raw":
		raw, err := hex.DecodeString(words[1])
		if err != nil {
			p.t.Fatal(line, err)
		}
		return append(b, raw...)
	case "string":
		return append(b, words[1]...)
	case "heartbeat":
		return wire.AppendHeartbeat(b)
	}
	n, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil {
		p.t.Fatal(line, err)
	}
	channel := uint16(n)
	switch words[1] {
	case "publish":
		b = (&wire.BasicPublish{RoutingKey: []byte(words[2])}).AppendFrame(b, channel)
		return wire.AppendContent(b, channel, 131072, p.properties(words[4:]), []byte(words[3]))
	case "publish-mandatory":
		b = (&wire.BasicPublish{RoutingKey: []byte(words[2]), Mandatory: true}).AppendFrame(b, channel)
		return wire.AppendContent(b, channel, 131072, p.properties(words[4:]), []byte(words[3]))
	case "header":
		size, err := strconv.ParseUint(words[2], 10, 64)
		if err != nil {
			p.t.Fatal(line, err)
		}
		return wire.AppendContentHeader(b, channel, p.properties(words[3:]), size)
	case "body":
		frame := wire.AppendContent(nil, channel, 131072, nil, []byte(words[2]))
		return append(b, frame[len(wire.AppendContentHeader(nil, channel, nil, 0)):]...)
	}
	m := p.method(words[1])
	p.set(m, words[2:])
	return wire.AppendMethod(b, channel, m)
}

func (p *peer) properties(words []string) []byte {
	var properties content.Properties
	for i, word := range words {
		if headers, ok := strings.CutPrefix(word, "Headers="); ok {
			properties.Headers, _, _ = content.DecodeTable(table(headers))
			properties.Has |= content.HasHeaders
			words = slices.Delete(slices.Clone(words), i, i+1)
			break
		}
	}
	p.set(&properties, words)
	for _, word := range words {
		name, _, _ := strings.Cut(word, "=")
		properties.Has |= map[string]uint16{"Priority": content.HasPriority, "Expiration": content.HasExpiration, "UserID": content.HasUserID,
			"MessageID": content.HasMessageID, "ReplyTo": content.HasReplyTo, "DeliveryMode": content.HasDeliveryMode}[name]
	}
	return properties.Append(nil)
}

func (p *peer) method(name string) wire.Method {
	for m := range allMethods() {
		if m.ID().String() == name {
			return m
		}
	}
	p.t.Fatalf("no method %q", name)
	return nil
}

// allMethods are the methods of the codec.
func allMethods() iter.Seq[wire.Method] {
	return func(yield func(wire.Method) bool) {
		for class := uint32(10); class <= 90; class++ {
			for id := uint32(10); id <= 120; id++ {
				if m := wire.NewMethod(wire.MethodID(class<<16 | id)); m != nil && !yield(m) {
					return
				}
			}
		}
	}
}

// set sets fields from FIELD=VALUE.
func (p *peer) set(m any, words []string) {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		f := reflect.ValueOf(m).Elem().FieldByName(name)
		if !f.IsValid() {
			p.t.Fatalf("%T has no field %q", m, name)
		}
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.String:
			f.SetString(value)
		case reflect.Slice:
			f.SetBytes(octets(name, value))
		default:
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				p.t.Fatal(word, err)
			}
			f.SetUint(n)
		}
	}
}

// octets reads a table, a SASL response with colons for its zeros, or plain text.
func octets(field, value string) []byte {
	switch field {
	case "Arguments", "ClientProperties":
		return table(value)
	case "Response":
		return []byte(strings.ReplaceAll(value, ":", "\x00"))
	}
	return []byte(value)
}

// table reads "name:value,name:value" with strings, integers and, as {name}, tables of one truth.
func table(value string) []byte {
	var t content.Table
	for _, entry := range strings.Split(value, ",") {
		name, text, _ := strings.Cut(entry, ":")
		switch n, err := strconv.ParseInt(text, 10, 32); {
		case text == "true":
			t = append(t, content.Field{Name: name, Value: true})
		case err == nil:
			t = append(t, content.Field{Name: name, Value: int32(n)})
		case strings.HasPrefix(text, "{"):
			t = append(t, content.Field{Name: name, Value: content.Table{{Name: strings.Trim(text, "{}"), Value: true}}})
		default:
			t = append(t, content.Field{Name: name, Value: text})
		}
	}
	return t.Append(nil)
}

// split cuts a line at spaces outside quotes.
func split(line string) []string {
	var words []string
	for line != "" {
		if quoted, err := strconv.QuotedPrefix(line); err == nil {
			word, _ := strconv.Unquote(quoted)
			words = append(words, word)
			line = strings.TrimLeft(line[len(quoted):], " ")
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		words = append(words, word)
		line = strings.TrimLeft(rest, " ")
	}
	return words
}
