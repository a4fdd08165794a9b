package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
	"pgregory.net/rapid"
)

// commandKinds lists every kind of a release.
func commandKinds() (kinds []CommandKind) {
	for k := KindOpenSession; k <= KindDeleteParameter; k++ {
		if newCommand(k) != nil {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

func TestCommandKindsAreKnownToAll(t *testing.T) {
	kinds := commandKinds()
	for _, kind := range kinds {
		if strings.Contains(kind.String(), "kind") {
			t.Errorf("kind %d has no name", kind)
		}
		encoded := newCommand(kind).Append(nil)
		if got := CommandKind(encoded[4]); got != kind {
			t.Errorf("%v is encoded as %v", kind, got)
		}
	}
	for kind := range math.MaxUint8 + 1 {
		if kind := CommandKind(kind); (newCommand(kind) != nil) != (kind.Level() > 0) || kind.Level() > FeatureLevelMax {
			t.Errorf("command kind %d of level %d: newCommand gives %v", kind, kind.Level(), newCommand(kind))
		}
	}
	if got := CommandKind(200).String(); got != "command kind 200" {
		t.Errorf("an unknown kind is called %q", got)
	}
}

// drawCommand draws a command of a kind by filling its fields one after the other, so that a field added later is drawn too.
func drawCommand(t *rapid.T, kind CommandKind) decodable {
	c := newCommand(kind)
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		drawField(t, kind, v.Type().Field(i).Name, v.Field(i))
	}
	if tx, ok := c.(*Tx); ok {
		tx.Commands = drawTxCommands(t, tx.Ref)
	}
	return c
}

// drawTxCommands draws what a transaction may hold.
func drawTxCommands(t *rapid.T, ref Ref) (commands []byte) {
	for range rapid.IntRange(0, 4).Draw(t, "commands") {
		c := drawCommand(t, rapid.SampledFrom([]CommandKind{KindPublish, KindAck, KindNack}).Draw(t, "command"))
		reflect.ValueOf(c).Elem().FieldByName("Ref").Set(reflect.ValueOf(ref))
		if p, ok := c.(*Publish); ok {
			p.Confirm = 0
		}
		commands = c.Append(commands)
	}
	return commands
}

// TestTxHoldsOnlyItsOwn refuses what the door must not put into a transaction.
func TestTxHoldsOnlyItsOwn(t *testing.T) {
	ref, other := Ref{Conn: 1, Channel: 1, Incarnation: 1}, Ref{Conn: 1, Channel: 2, Incarnation: 1}
	many := bytes.Repeat((&Ack{Ref: ref, Tag: 1}).Append(nil), TxCommandsMax+1)
	for _, c := range []struct {
		name     string
		commands []byte
		want     error
	}{
		{"of another channel", (&Ack{Ref: other, Tag: 1}).Append(nil), errRef},
		{"of another kind", (&Recover{Ref: ref}).Append(nil), errKind},
		{"a transaction", (&Tx{Ref: ref}).Append(nil), errKind},
		{"a publish with a confirm", (&Publish{Ref: ref, Confirm: 1, Properties: []byte{0, 0}}).Append(nil), errValue},
		{"too many", many, errTooLong},
		{"as many as may be", many[:len(many)/(TxCommandsMax+1)*TxCommandsMax], nil},
	} {
		_, _, payload, _, err := decodeCommandHead((&Tx{Ref: ref, Commands: c.commands}).Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := checkCommand(KindTx, ref, payload); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func drawField(t *rapid.T, kind CommandKind, name string, v reflect.Value) {
	switch v.Interface().(type) {
	case Ref:
		v.Set(reflect.ValueOf(Ref{
			Conn:        rapid.Uint32().Draw(t, "conn"),
			Channel:     rapid.Uint16().Draw(t, "channel"),
			Incarnation: rapid.Uint32().Draw(t, "incarnation"),
		}))
	case string:
		sizeMax := ShortStringBytesMax
		if kind == KindOpenSession && name != "VHost" {
			sizeMax = 1000
		}
		v.SetString(string(rapid.SliceOfN(rapid.Byte(), 0, sizeMax).Draw(t, name)))
	case bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case []string:
		v.Set(reflect.ValueOf(rapid.SliceOfN(rapid.StringN(0, 8, 255), 0, 3).Draw(t, name)))
	case int64:
		v.SetInt(rapid.Int64().Draw(t, name))
	case uint8, uint16, uint32, uint64:
		v.SetUint(rapid.Uint64().Draw(t, name) >> (64 - v.Type().Bits()))
	case []byte:
		v.SetBytes(drawBytes(t, name))
	default:
		t.Fatalf("%v has a field %s of type %v that nobody draws", kind, name, v.Type())
	}
}

func drawBytes(t *rapid.T, name string) []byte {
	switch name {
	case "Arguments", "Details", "Definition":
		if table := drawTable(t, 2); len(table) > 0 {
			return table.Append(nil)
		}
		return nil
	case "Properties":
		p := content.Properties{Has: content.HasPriority | content.HasHeaders | content.HasUserID}
		p.Has &= rapid.Uint16().Draw(t, "properties")
		p.Headers = drawTable(t, 1)
		p.Priority = rapid.Uint8().Draw(t, "priority")
		p.UserID = rapid.StringN(0, 10, 255).Draw(t, "user id")
		return p.Append(nil)
	case "Exchange", "RoutingKey":
		return rapid.SliceOfN(rapid.Byte(), 0, ShortStringBytesMax).Draw(t, name)
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 4000).Draw(t, name)
}

func drawTable(t *rapid.T, depth int) content.Table {
	var table content.Table
	for range rapid.IntRange(0, 3).Draw(t, "fields") {
		f := content.Field{Name: rapid.StringN(0, 8, 255).Draw(t, "field")}
		switch kind := rapid.IntRange(0, 3).Draw(t, "value kind"); {
		case kind == 0:
			f.Value = rapid.Int32().Draw(t, "int32")
		case kind == 1:
			f.Value = rapid.String().Draw(t, "string")
		case kind == 2 && depth > 0:
			f.Value = drawTable(t, depth-1)
		default:
			f.Value = rapid.Bool().Draw(t, "bool")
		}
		table = append(table, f)
	}
	return table
}

// sameCommand compares values; an empty slice and nil are the same.
func sameCommand(a, b Command) bool {
	return fmt.Sprintf("%T%+q", a, a) == fmt.Sprintf("%T%+q", b, b)
}

func TestCommandRoundTrip(t *testing.T) {
	for _, kind := range commandKinds() {
		t.Run(kind.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { checkRoundTrip(t, drawCommand(t, kind), kind) })
		})
	}
}

func checkRoundTrip(t *rapid.T, c Command, kind CommandKind) {
	prefix := []byte("before")
	encoded := c.Append(prefix)
	if !bytes.HasPrefix(encoded, prefix) {
		t.Fatal("Append did not append")
	}
	encoded = encoded[len(prefix):]
	if again := c.Append(nil); !bytes.Equal(again, encoded) {
		t.Fatalf("encoded twice it differs:\n%x\n%x", encoded, again)
	}
	follows := (&OpenChannel{Ref: Ref{Conn: 7}}).Append(nil)
	stream := append(bytes.Clone(encoded), follows...)

	gotKind, ref, payload, rest, err := decodeCommandHead(stream)
	if err != nil || gotKind != kind || !bytes.Equal(rest, follows) {
		t.Fatalf("head: kind %v, rest %x, error %v", gotKind, rest, err)
	}
	command, rest, ok := NextCommand(stream)
	if !ok || !bytes.Equal(command, encoded) || !bytes.Equal(rest, follows) {
		t.Fatalf("NextCommand splits otherwise: %x, %x, %v", command, rest, ok)
	}
	got := newCommand(kind)
	if err := got.decode(ref, payload); err != nil {
		t.Fatal(err)
	}
	if !sameCommand(got, c) {
		t.Fatalf("decoded\n%+v\nwas\n%+v", got, c)
	}
	if again := got.Append(nil); !bytes.Equal(again, encoded) {
		t.Fatalf("decoded and encoded again it differs:\n%x\n%x", encoded, again)
	}
	if err := CheckItem(AppendBatch(nil, Origin{"n1", 1}, 1, stream)); err != nil {
		t.Fatal(err)
	}
}

// TestCommandFaults cuts and stretches every command, and sets each flag bit that it does not know.
func TestCommandFaults(t *testing.T) {
	for _, kind := range commandKinds() {
		t.Run(kind.String(), func(t *testing.T) {
			_, ref, full, _, err := decodeCommandHead(exampleCommand(kind).Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			body := 0
			if p, ok := exampleCommand(kind).(*Publish); ok {
				body = len(p.Body)
			}
			for n := range len(full) - body {
				if err := checkCommand(kind, ref, full[:n]); !errors.Is(err, errTruncated) && !errors.Is(err, content.ErrMalformed) {
					t.Fatalf("cut to %d of %d bytes: %v", n, len(full), err)
				}
			}
			if err := checkCommand(kind, ref, append(bytes.Clone(full), 0)); kind != KindPublish && !errors.Is(err, errTrailing) {
				t.Fatalf("one byte more: %v", err)
			}
			checkUnknownFlags(t, kind, ref, full)
		})
	}
}

// exampleCommand has something in every field.
func exampleCommand(kind CommandKind) decodable {
	c := newCommand(kind)
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case Ref:
			f.Set(reflect.ValueOf(Ref{Conn: 0x01020304, Channel: 0x0506, Incarnation: 0x0708090a}))
		case string:
			f.SetString(strings.ToLower(v.Type().Field(i).Name))
		case bool:
			f.SetBool(true)
		case []string:
			f.Set(reflect.ValueOf([]string{"one", "two"}))
		case int64:
			f.SetInt(0x2122232425262728)
		case uint8, uint16, uint32, uint64:
			f.SetUint(0x1112131415161718 >> (64 - f.Type().Bits()))
		case []byte:
			f.SetBytes([]byte(strings.ToLower(v.Type().Field(i).Name)))
		}
	}
	table := content.Table{{Name: "x-max-priority", Value: int32(9)}, {Name: "x-dead-letter-exchange", Value: "dlx"}}
	for _, name := range []string{"Arguments", "Details", "Definition"} {
		if f := v.FieldByName(name); f.IsValid() {
			f.SetBytes(table.Append(nil))
		}
	}
	if f := v.FieldByName("Commands"); f.IsValid() {
		ref := v.FieldByName("Ref").Interface().(Ref)
		commands := (&Ack{Ref: ref, Tag: 7}).Append(nil)
		commands = (&Publish{Ref: ref, RoutingKey: []byte("q"), Properties: []byte{0, 0}, Body: []byte("b")}).Append(commands)
		f.SetBytes((&Nack{Ref: ref, Tag: 8}).Append(commands))
	}
	if f := v.FieldByName("Properties"); f.IsValid() {
		properties := content.Properties{
			Has:         content.HasContentType | content.HasHeaders | content.HasPriority,
			ContentType: "text/plain", Headers: content.Table{{Name: "a", Value: "b"}}, Priority: 0x11,
		}
		f.SetBytes(properties.Append(nil))
	}
	return c
}

// checkUnknownFlags expects the commands' flags where their struct has booleans: first in the payload.
func checkUnknownFlags(t *testing.T, kind CommandKind, ref Ref, full []byte) {
	known := 0
	for _, f := range reflect.VisibleFields(reflect.TypeOf(newCommand(kind)).Elem()) {
		if f.Type.Kind() == reflect.Bool {
			known++
		}
	}
	if known == 0 {
		return
	}
	if full[0] != 1<<known-1 {
		t.Fatalf("all %d flags set are encoded as %#x", known, full[0])
	}
	for bit := known; bit < 8; bit++ {
		bad := bytes.Clone(full)
		bad[0] |= 1 << bit
		if err := checkCommand(kind, ref, bad); !errors.Is(err, errFlags) {
			t.Fatalf("flag %d: %v", bit, err)
		}
	}
}

func TestCommandHeadFaults(t *testing.T) {
	good := (&Ack{Ref: Ref{1, 2, 3}, Tag: 4}).Append(nil)
	huge := bytes.Clone(good)
	copy(huge, []byte{0xff, 0xff, 0xff, 0xff})
	long := bytes.Clone(good)
	long[3]++
	small := bytes.Clone(good)
	copy(small, []byte{0, 0, 0, 10})
	zero := bytes.Clone(good)
	zero[4] = 0
	unknown := bytes.Clone(good)
	unknown[4] = uint8(KindDeleteParameter) + 1

	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":       {nil, errTruncated},
		"half a head": {good[:commandHeadSize-1], errTruncated},
		"cut":         {good[:len(good)-1], errTruncated},
		"beyond max":  {huge, errTooLong},
		"one longer":  {long, errTruncated},
		"short":       {small, errTruncated},
		"kind 0":      {zero, errKind},
		"newer kind":  {unknown, errKind},
	} {
		if _, _, _, _, err := decodeCommandHead(test.b); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// TestCommandBytesMaxIsTheSameForAll: a command that is one byte too long does not pass even where all its bytes are there.
func TestCommandBytesMaxIsTheSameForAll(t *testing.T) {
	b := AppendPublishHead(make([]byte, 0, CommandBytesMax+1), &Publish{Properties: []byte{0, 0}}, CommandBytesMax-publishFixedBytes-2)
	b = b[:CommandBytesMax]
	if _, rest, ok := NextCommand(b); !ok || len(rest) != 0 {
		t.Fatalf("the longest command is refused: rest %d", len(rest))
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, CommandBytesMax-lengthBytes+1)
	if _, _, ok := NextCommand(b); ok {
		t.Fatal("NextCommand takes a longer one")
	}
	if _, _, _, _, err := decodeCommandHead(b); !errors.Is(err, errTooLong) {
		t.Fatal(err)
	}
}

func TestCommandTablesAreValidated(t *testing.T) {
	bad := append([]byte{0, 0, 0, 3}, 1, 'a', '?') // a field of unknown type
	for _, c := range []Command{
		&DeclareExchange{Name: "e", Type: "direct", Arguments: bad},
		&DeclareQueue{Name: "q", Arguments: bad},
		&Bind{Arguments: bad},
		&Unbind{Arguments: bad},
		&Consume{Queue: "q", Arguments: bad},
		&Publish{Properties: bad},
		&Publish{},
	} {
		if err := CheckItem(AppendBatch(nil, Origin{"n1", 1}, 1, c.Append(nil))); !errors.Is(err, content.ErrMalformed) {
			t.Errorf("%T: %v", c, err)
		}
	}
}

// TestEmptyTableHasOneForm: nil and the encoded empty table are the same in the log and after decoding.
func TestEmptyTableHasOneForm(t *testing.T) {
	a := (&DeclareQueue{Name: "q"}).Append(nil)
	b := (&DeclareQueue{Name: "q", Arguments: []byte{0, 0, 0, 0}}).Append(nil)
	if !bytes.Equal(a, b) {
		t.Fatalf("%x\n%x", a, b)
	}
	_, ref, payload, _, err := decodeCommandHead(a)
	if err != nil {
		t.Fatal(err)
	}
	var c DeclareQueue
	if err := c.decode(ref, payload); err != nil || c.Arguments != nil {
		t.Fatalf("arguments %x, error %v", c.Arguments, err)
	}
}

func TestOverlongIsRefusedBeforeTheLog(t *testing.T) {
	long := strings.Repeat("x", ShortStringBytesMax+1)
	for name, encode := range map[string]func(){
		"routing key":  func() { (&Publish{RoutingKey: []byte(long)}).Append(nil) },
		"queue":        func() { (&DeclareQueue{Name: long}).Append(nil) },
		"consumer tag": func() { (&Grant{Tag: long}).Append(nil) },
		"node":         func() { AppendOriginOpen(nil, Origin{long, 1}) },
		"body":         func() { AppendPublishHead(nil, &Publish{}, CommandBytesMax-publishFixedBytes+1) },
		"negative":     func() { AppendPublishHead(nil, &Publish{}, -1) },
		"voters":       func() { AppendVerify(nil, 1, 1<<16, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: encoded", name)
				}
			}()
			encode()
		}()
	}
	AppendPublishHead(nil, &Publish{}, CommandBytesMax-publishFixedBytes)
}

func TestPublishHead(t *testing.T) {
	p := exampleCommand(KindPublish).(*Publish)
	head := AppendPublishHead(nil, p, len(p.Body))
	if got := append(head, p.Body...); !bytes.Equal(got, p.Append(nil)) {
		t.Fatalf("head and body are %x", got)
	}
	if got, want := PublishSizeBytes(p, len(p.Body)), len(p.Append(nil)); got != want {
		t.Fatalf("PublishSizeBytes says %d, it is %d", got, want)
	}
}

// TestDecodedSlicesAreCapped: appending to what decode returned must not write into the entry, which is shared with the log's cache.
func TestDecodedSlicesAreCapped(t *testing.T) {
	encoded := append(exampleCommand(KindPublish).Append(nil), AppendTick(nil)...)
	before := bytes.Clone(encoded)
	_, ref, payload, _, _ := decodeCommandHead(encoded)
	var p Publish
	if err := p.decode(ref, payload); err != nil {
		t.Fatal(err)
	}
	command, _, _ := NextCommand(encoded)
	_ = append(command, 0xee)
	for _, b := range [][]byte{p.Exchange, p.RoutingKey, p.Properties, p.Body} {
		_ = append(b, 0xee)
	}
	if !bytes.Equal(encoded, before) {
		t.Fatal("an append reached into the entry")
	}
}

func TestHotCommandsDoNotAllocate(t *testing.T) {
	publish := exampleCommand(KindPublish).(*Publish)
	hot := []decodable{publish, exampleCommand(KindAck), exampleCommand(KindNack), &Grant{Ref: Ref{1, 1, 1}, Tag: "ctag-1.of a client", Messages: 1, Bytes: 2}}
	buffer := make([]byte, 0, 4096)
	for _, c := range hot {
		encoded := c.Append(nil)
		if n := testing.AllocsPerRun(100, func() { buffer = c.Append(buffer[:0]) }); n != 0 {
			t.Errorf("%T.Append allocates %v times", c, n)
		}
		if n := testing.AllocsPerRun(100, func() {
			_, ref, payload, _, err := decodeCommandHead(encoded)
			if err == nil {
				err = c.decode(ref, payload)
			}
			if err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%T.decode allocates %v times", c, n)
		}
	}
}
