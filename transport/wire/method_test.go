package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

// allMethods are empty values of every method.
func allMethods() (all []Method) {
	for class := uint32(0); class <= 100; class++ {
		for method := uint32(0); method <= 130; method++ {
			if m := NewMethod(MethodID(class<<16 | method)); m != nil {
				all = append(all, m)
			}
		}
	}
	return all
}

// fill sets every field to something that is not zero.
func fill(m Method) {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.String:
			f.SetString("text")
		case reflect.Slice:
			f.SetBytes(content.Table{{Name: "k", Value: "v"}}.Append(nil)) // good as bytes and as a table
		default:
			f.SetUint(uint64(i + 1))
		}
	}
}

func TestMethodsDecodeWhatTheyEncode(t *testing.T) {
	all := allMethods()
	if len(all) != 66 {
		t.Fatalf("%d methods", len(all))
	}
	for _, m := range all {
		for _, full := range []bool{false, true} {
			if full {
				fill(m)
			}
			payload := m.Append(nil)
			id, arguments, err := SplitMethod(payload)
			if err != nil || id != m.ID() {
				t.Fatalf("%v: id %v, %v", m.ID(), id, err)
			}
			back := NewMethod(id)
			if err := back.Decode(arguments); err != nil {
				t.Fatalf("%v: %v", id, err)
			}
			if again := back.Append(nil); !bytes.Equal(again, payload) {
				t.Fatalf("%v: %x, want %x", id, again, payload)
			}
			for cut := range arguments {
				if err := NewMethod(id).Decode(arguments[:cut]); !errors.Is(err, ErrSyntax) {
					t.Fatalf("%v cut at %d: %v", id, cut, err)
				}
			}
			if err := NewMethod(id).Decode(append(arguments, 0)); !errors.Is(err, ErrSyntax) {
				t.Fatalf("%v with a byte too many: %v", id, err)
			}
		}
	}
}

// TestKnownBytes pins the encoding to the specification's, byte by byte, for one method of each field kind.
func TestKnownBytes(t *testing.T) {
	for _, c := range []struct {
		m    Method
		want string
	}{
		{&ConnectionTune{2047, 131072, 60}, "\x00\x0a\x00\x1e\x07\xff\x00\x02\x00\x00\x00\x3c"},
		{&ConnectionOpenOk{}, "\x00\x0a\x00\x29\x00"},
		{&ChannelOpenOk{}, "\x00\x14\x00\x0b\x00\x00\x00\x00"},
		{&ExchangeUnbindOk{}, "\x00\x28\x00\x33"},
		{&QueueDeclare{Queue: "q", Durable: true, NoWait: true}, "\x00\x32\x00\x0a\x00\x00\x01q\x12\x00\x00\x00\x00"},
		{&BasicDeliver{ConsumerTag: "c", DeliveryTag: 1, Redelivered: true, Exchange: []byte("x"), RoutingKey: []byte("kk")},
			"\x00\x3c\x00\x3c\x01c\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01x\x02kk"},
		{&BasicNack{DeliveryTag: 2, Requeue: true}, "\x00\x3c\x00\x78\x00\x00\x00\x00\x00\x00\x00\x02\x02"},
		{&ConfirmSelect{}, "\x00\x55\x00\x0a\x00"},
	} {
		if got := string(c.m.Append(nil)); got != c.want {
			t.Errorf("%v: %x, want %x", c.m.ID(), got, c.want)
		}
	}
}

func TestLongTextIsCut(t *testing.T) {
	m := ChannelClose{ReplyText: string(bytes.Repeat([]byte("x"), 300))}
	_, arguments, _ := SplitMethod(m.Append(nil))
	var back ChannelClose
	if err := back.Decode(arguments); err != nil || len(back.ReplyText) != 255 {
		t.Fatal(len(back.ReplyText), err)
	}
}

func FuzzMethod(f *testing.F) {
	for _, m := range allMethods() {
		f.Add(m.Append(nil))
		fill(m)
		f.Add(m.Append(nil))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		id, arguments, err := SplitMethod(payload)
		if err != nil {
			return
		}
		m := NewMethod(id)
		if m == nil || m.Decode(arguments) != nil {
			return
		}
		encoded := m.Append(nil)
		back := NewMethod(id)
		if err := back.Decode(encoded[4:]); err != nil {
			t.Fatalf("%v: re-encoded arguments: %v", id, err)
		}
		if again := back.Append(nil); !bytes.Equal(again, encoded) {
			t.Fatalf("%v: %x, then %x", id, encoded, again)
		}
	})
}

// TestLongTexts lose their end, never half a character.
func TestLongTexts(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("a", 255):       strings.Repeat("a", 255),
		strings.Repeat("a", 256):       strings.Repeat("a", 252) + "...",
		strings.Repeat("ä", 128):       strings.Repeat("ä", 126) + "...",
		"a" + strings.Repeat("ä", 128): "a" + strings.Repeat("ä", 125) + "...",
		strings.Repeat("€", 100):       strings.Repeat("€", 84) + "...",
		"ab" + strings.Repeat("😀", 70): "ab" + strings.Repeat("😀", 62) + "...",
		strings.Repeat("\x80", 300):    strings.Repeat("\x80", 252) + "...",
	} {
		got := appendShortstr(nil, text)
		if int(got[0]) != len(got)-1 || string(got[1:]) != want {
			t.Errorf("%q\nbecame %q", text, got)
		}
	}
}

// TestShortStringsAreText: RabbitMQ refuses what is not UTF-8, and so does every method with a name in it.
func TestShortStringsAreText(t *testing.T) {
	good := (&QueueDeclare{Queue: "größe"}).Append(nil)[4:]
	if err := new(QueueDeclare).Decode(good); err != nil {
		t.Error(err)
	}
	for _, m := range []Method{
		&QueueDeclare{Queue: "\xff\xfe"}, &BasicPublish{RoutingKey: []byte("a\xc3")}, &ConnectionOpen{VirtualHost: "\x80"},
	} {
		if err := NewMethod(m.ID()).Decode(m.Append(nil)[4:]); !errors.Is(err, ErrUTF8) {
			t.Errorf("%v: %v", m.ID(), err)
		}
	}
}
