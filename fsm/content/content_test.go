package content

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// recorded holds tables {"k": value} as the writer of amqp091-go v1.16.0 encodes them.
var recorded = []struct {
	name  string
	hex   string
	value any
}{
	{"bool", "00000004016b7401", true},
	{"int8", "00000004016b62fe", int8(-2)},
	{"uint8", "00000004016b42c8", uint8(200)},
	{"int16", "00000005016b73fed4", int16(-300)},
	{"uint16", "00000005016b75ea60", uint16(60000)},
	{"int32", "00000007016b49fffeee90", int32(-70000)},
	{"uint32", "00000007016b69ee6b2800", uint32(4000000000)},
	{"int64", "0000000b016b6cfffffffed5fa0e00", int64(-5000000000)},
	{"float32", "00000007016b663fc00000", Float32(math.Float32bits(1.5))},
	{"float64", "0000000b016b64c002000000000000", Float64(math.Float64bits(-2.25))},
	{"decimal", "00000008016b440200003039", Decimal{Scale: 2, Value: 12345}},
	{"string", "0000000d016b530000000668c3a96c6c6f", "héllo"},
	{"bytes", "0000000a016b7800000003000102", []byte{0, 1, 2}},
	{"timestamp", "0000000b016b54000000006553f100", Timestamp(1700000000)},
	{"array", "0000001a016b410000001353000000016149000000015641000000027401", Array{"a", int32(1), nil, Array{true}}},
	{"table", "00000019016b4600000012016e460000000b01646c0000000000000007",
		Table{{Name: "n", Value: Table{{Name: "d", Value: int64(7)}}}}},
	{"void", "00000003016b56", nil},
	// 'L' is not among amqp091-go's types: py-amqp writes it for integers beyond int64.
	{"uint64", "0000000b016b4cffffffffffffffff", uint64(math.MaxUint64)},
}

func TestRecordedTables(t *testing.T) {
	for _, c := range recorded {
		want := Table{{Name: "k", Value: c.value}}
		encoded := unhex(t, c.hex)
		got, rest, err := DecodeTable(append(encoded, "rest"...))
		if err != nil || string(rest) != "rest" || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: DecodeTable = %v, %q, %v", c.name, got, rest, err)
		}
		if back := want.Append([]byte("x")); !bytes.Equal(back[1:], encoded) {
			t.Errorf("%s: Append = %x, want %x", c.name, back[1:], encoded)
		}
		if err := want.Validate(); err != nil {
			t.Errorf("%s: Validate: %v", c.name, err)
		}
	}
}

// recordedProperties are all properties but cluster-id, as amqp091-go v1.16.0 writes them.
const recordedProperties = "fff8106170706c69636174696f6e2f6a736f6e057574662d380000000f09782d726574726965734900000003" +
	"020903632d31077265706c696573053630303030036d2d31000000006553f100036a6f6205677565737403617070"

func TestRecordedProperties(t *testing.T) {
	encoded := unhex(t, recordedProperties)
	got, err := DecodeProperties(encoded)
	want := Properties{
		Has: 0xfff8, ContentType: "application/json", ContentEncoding: "utf-8",
		Headers: Table{{Name: "x-retries", Value: int32(3)}}, DeliveryMode: 2, Priority: 9, CorrelationID: "c-1",
		ReplyTo: "replies", Expiration: "60000", MessageID: "m-1", Timestamp: 1700000000, Type: "job", UserID: "guest", AppID: "app",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("DecodeProperties = %+v, %v", got, err)
	}
	if back := got.Append(nil); !bytes.Equal(back, encoded) {
		t.Errorf("Append = %x", back)
	}
	s, err := Scan(encoded)
	if err != nil || s.Priority != 9 || !s.HasDeliveryMode || s.DeliveryMode != 2 || string(s.Expiration) != "60000" || string(s.UserID) != "guest" ||
		string(s.ReplyTo) != "replies" || !bytes.Equal(s.Headers, want.Headers.Append(nil)) {
		t.Errorf("Scan = %+v, %v", s, err)
	}
}

func TestScanTellsAbsentFromEmpty(t *testing.T) {
	absent, err := Scan([]byte{0, 0})
	if err != nil || absent.Expiration != nil || absent.UserID != nil || absent.ReplyTo != nil || absent.Headers != nil {
		t.Errorf("Scan of no properties = %+v, %v", absent, err)
	}
	p := Properties{Has: HasExpiration | HasUserID | HasReplyTo | HasHeaders | HasDeliveryMode, DeliveryMode: 1}
	empty, err := Scan(p.Append(nil))
	if err != nil || empty.Expiration == nil || empty.UserID == nil || empty.ReplyTo == nil || len(empty.Headers) != 4 || !empty.HasDeliveryMode {
		t.Errorf("Scan of empty properties = %+v, %v", empty, err)
	}
}

// TestMalformed lists what decoders refuse, and that all four agree on it.
func TestMalformed(t *testing.T) {
	many := Table(make([]Field, EntriesMax+1))
	long := Array(make([]any, EntriesMax+1))
	cases := []struct {
		name  string
		table []byte
		want  error
	}{
		{"no length", []byte{0, 0, 0}, errTruncated},
		{"length beyond the end", []byte{0, 0, 0, 1}, errTruncated},
		{"length of 4 GiB", []byte{0xff, 0xff, 0xff, 0xff}, errTruncated},
		{"name beyond the table", []byte{0, 0, 0, 2, 5, 'a'}, errTruncated},
		{"no type", []byte{0, 0, 0, 2, 1, 'a'}, errTruncated},
		{"unknown type", []byte{0, 0, 0, 3, 1, 'a', '?'}, errType},
		{"integer cut short", []byte{0, 0, 0, 4, 1, 'a', 'I', 0}, errTruncated},
		{"string beyond its table", append([]byte{0, 0, 0, 7, 1, 'a', 'S', 0, 0, 0, 1}, 'x'), errTruncated},
		{"array beyond its table", append([]byte{0, 0, 0, 7, 1, 'a', 'A', 0, 0, 0, 1}, 'V'), errTruncated},
		{"bytes beyond its table", append([]byte{0, 0, 0, 7, 1, 'a', 'x', 0, 0, 0, 1}, 'x'), errTruncated},
		{"too many entries", many.Append(nil), errEntries},
		{"too long an array", Table{{Name: "a", Value: long}}.Append(nil), errEntries},
		{"too deep a table", deepTable(DepthMax + 1).Append(nil), errDepth},
		{"too deep an array", Table{{Name: "a", Value: deepArray(DepthMax)}}.Append(nil), errDepth},
	}
	for _, c := range cases {
		properties := append([]byte{HasHeaders >> 8, 0}, c.table...)
		_, _, decodeErr := DecodeTable(c.table)
		_, _, scanErr := ScanTable(c.table)
		_, propertiesErr := DecodeProperties(properties)
		_, summaryErr := Scan(properties)
		for _, err := range []error{decodeErr, scanErr, propertiesErr, summaryErr} {
			if !errors.Is(err, c.want) || !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: error %v, want %v", c.name, err, c.want)
			}
		}
	}
}

func TestMalformedProperties(t *testing.T) {
	for _, c := range []struct {
		encoded []byte
		want    error
	}{
		{nil, errTruncated},
		{[]byte{0}, errTruncated},
		{[]byte{0, 1}, errFlags},
		{[]byte{0, 2}, errFlags},
		{[]byte{0, 0, 0}, errTrailing},
		{[]byte{HasPriority >> 8, 0}, errTruncated},
		{[]byte{0, HasTimestamp, 1, 2, 3}, errTruncated},
		{[]byte{HasContentType >> 8, 0, 2, 'a'}, errTruncated},
	} {
		if _, err := DecodeProperties(c.encoded); !errors.Is(err, c.want) {
			t.Errorf("DecodeProperties(%x): %v, want %v", c.encoded, err, c.want)
		}
		if _, err := Scan(c.encoded); !errors.Is(err, c.want) {
			t.Errorf("Scan(%x): %v, want %v", c.encoded, err, c.want)
		}
	}
}

func TestBoundsAreInclusive(t *testing.T) {
	deep, wide := deepTable(DepthMax), make(Table, EntriesMax)
	inArray := Table{{Name: "a", Value: deepArray(DepthMax - 1)}}
	for name, table := range map[string]Table{"depth": deep, "entries": wide, "arrays": inArray} {
		if err := table.Validate(); err != nil {
			t.Errorf("%s: Validate: %v", name, err)
		}
		if _, _, err := DecodeTable(table.Append(nil)); err != nil {
			t.Errorf("%s: DecodeTable: %v", name, err)
		}
		if _, _, err := ScanTable(table.Append(nil)); err != nil {
			t.Errorf("%s: ScanTable: %v", name, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for name, table := range map[string]Table{
		"type":       {{Name: "a", Value: 1}},
		"in array":   {{Name: "a", Value: Array{struct{}{}}}},
		"name":       {{Name: strings.Repeat("n", 256)}},
		"entries":    make(Table, EntriesMax+1),
		"long array": {{Name: "a", Value: make(Array, EntriesMax+1)}},
		"depth":      deepTable(DepthMax + 1),
		"array deep": {{Name: "a", Value: deepArray(DepthMax)}},
	} {
		if err := table.Validate(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Validate = %v", name, err)
		}
		p := Properties{Has: HasHeaders, Headers: table}
		if err := p.Validate(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: Properties.Validate = %v", name, err)
		}
	}
	for _, p := range []Properties{{Has: 1}, {Has: 2}, {Has: HasAppID, AppID: strings.Repeat("a", 256)}} {
		if err := p.Validate(); !errors.Is(err, ErrMalformed) {
			t.Errorf("Properties.Validate(%#x) = %v", p.Has, err)
		}
		mustPanic(t, func() { p.Append(nil) })
	}
	mustPanic(t, func() { Table{{Name: "a", Value: 1}}.Append(nil) })
	mustPanic(t, func() { Table{{Name: strings.Repeat("n", 256)}}.Append(nil) })
	if err := (&Properties{AppID: strings.Repeat("a", 256)}).Validate(); err != nil {
		t.Errorf("a property that is not present matters: %v", err)
	}
}

func TestGetWithWithout(t *testing.T) {
	table := Table{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}}
	if v, ok := table.Get("a"); v != "1" || !ok {
		t.Errorf("Get = %v, %v", v, ok)
	}
	if v, ok := table.Get("z"); v != nil || ok {
		t.Errorf("Get of none = %v, %v", v, ok)
	}
	if got := table.With("b", true); !reflect.DeepEqual(got, Table{{Name: "a", Value: "1"}, {Name: "b", Value: true}, {Name: "a", Value: "3"}}) {
		t.Errorf("With = %v", got)
	}
	if got := table.With("c", nil); len(got) != 4 || got[3].Name != "c" {
		t.Errorf("With of a new name = %v", got)
	}
	if got := table.Without("a"); !reflect.DeepEqual(got, Table{{Name: "b", Value: "2"}}) {
		t.Errorf("Without = %v", got)
	}
	if table[1].Value != "2" || len(table) != 3 {
		t.Errorf("the original changed: %v", table)
	}
}

func TestIntegerAndEqual(t *testing.T) {
	classes := [][]any{ // within a class all are equal, across classes none
		{int8(5), uint8(5), int16(5), uint16(5), int32(5), uint32(5), int64(5), uint64(5)},
		{int8(-1), int16(-1), int32(-1), int64(-1)},
		{uint64(math.MaxUint64)},
		{Float32(math.Float32bits(1.5)), Float64(math.Float64bits(1.5))},
		{Float32(math.Float32bits(0)), Float64(0), Float32(1 << 31), Float64(1 << 63)},
		{Float64(math.Float64bits(5))},
		{Float32(1), Float64(math.Float64bits(math.SmallestNonzeroFloat32))},
		{Float32(math.Float32bits(float32(math.Inf(-1)))), Float64(math.Float64bits(math.Inf(-1)))},
		{"5", "5"},
		{[]byte("5")},
		{true}, {false}, {nil},
		{Timestamp(5)},
		{Decimal{Value: 5}},
		{Array{int8(1), "a"}, Array{int64(1), "a"}},
		{Array{"a", int8(1)}},
		{Array{}, Array(nil)},
		{Table{}, Table(nil)},
		{Table{{"a", int8(1)}, {"b", nil}}, Table{{"b", nil}, {"a", uint16(1)}}},
		{Table{{"a", int8(1)}, {"a", int8(2)}}},
		{Table{{"a", int8(2)}, {"a", int8(1)}}},
	}
	for i, class := range classes {
		for _, a := range class {
			for j, other := range classes {
				for _, b := range other {
					if Equal(a, b) != (i == j) {
						t.Errorf("Equal(%T %v, %T %v) = %v", a, a, b, b, i != j)
					}
				}
			}
		}
	}
	for _, v := range classes[0] {
		if n, ok := Integer(v); n != 5 || !ok {
			t.Errorf("Integer(%T) = %d, %v", v, n, ok)
		}
	}
	for _, v := range []any{uint64(1 << 63), "5", Float64(5), Timestamp(5), nil} {
		if _, ok := Integer(v); ok {
			t.Errorf("%T %v is an integer", v, v)
		}
	}
}

func TestWiden(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.Uint32().Draw(t, "bits")
		f := math.Float32frombits(bits)
		if f != f {
			t.Skip("a conversion may quieten NaNs")
		}
		if got, want := Float32(bits).widen(), Float64(math.Float64bits(float64(f))); got != want {
			t.Fatalf("widen(%#08x) = %#016x, want %#016x", bits, got, want)
		}
	})
}

func TestEqualScalarsDoNotAllocate(t *testing.T) {
	values := []any{"a", int32(5), int64(5), true, Float64(1), Decimal{}, nil}
	n := testing.AllocsPerRun(100, func() {
		for _, a := range values {
			for _, b := range values {
				Equal(a, b)
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	p := Properties{Has: 0xfffc, Headers: Table{{Name: "a", Value: Array{deepTable(5), "s", nil}}}, UserID: "u"}
	encoded := p.Append(nil)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Scan(encoded); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func drawValue(t *rapid.T, depth int) any {
	kinds := 18
	if depth == 0 {
		kinds = 16
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int8().Draw(t, "int8")
	case 3:
		return rapid.Uint8().Draw(t, "uint8")
	case 4:
		return rapid.Int16().Draw(t, "int16")
	case 5:
		return rapid.Uint16().Draw(t, "uint16")
	case 6:
		return rapid.Int32().Draw(t, "int32")
	case 7:
		return rapid.Uint32().Draw(t, "uint32")
	case 8:
		return rapid.Int64().Draw(t, "int64")
	case 9:
		return rapid.Uint64().Draw(t, "uint64")
	case 10:
		return Float32(rapid.Uint32().Draw(t, "float32"))
	case 11:
		return Float64(rapid.Uint64().Draw(t, "float64"))
	case 12:
		return Decimal{Scale: rapid.Uint8().Draw(t, "scale"), Value: rapid.Uint32().Draw(t, "value")}
	case 13:
		return Timestamp(rapid.Uint64().Draw(t, "timestamp"))
	case 14:
		return rapid.String().Draw(t, "string")
	case 15:
		return append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")...)
	case 16:
		return drawTable(t, depth-1)
	}
	var a Array
	for range rapid.IntRange(0, 4).Draw(t, "length") {
		a = append(a, drawValue(t, depth-1))
	}
	return a
}

func drawTable(t *rapid.T, depth int) Table {
	var table Table
	for range rapid.IntRange(0, 4).Draw(t, "fields") {
		name := rapid.OneOf(rapid.StringN(0, 12, 60), rapid.SampledFrom([]string{"CC", "BCC", "CCC", "XX"})).Draw(t, "name")
		table = append(table, Field{Name: name, Value: drawValue(t, depth)})
	}
	return table
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		short := rapid.StringN(0, -1, 255)
		p := Properties{Has: rapid.Uint16().Draw(t, "has") &^ hasNothing}
		for bit := uint16(HasContentType); bit >= HasClusterID; bit >>= 1 {
			if s := p.short(bit); s != nil && p.Has&bit != 0 {
				*s = short.Draw(t, "short")
			}
		}
		if p.Has&HasHeaders != 0 {
			p.Headers = drawTable(t, 3)
		}
		if p.Has&HasDeliveryMode != 0 {
			p.DeliveryMode = rapid.Uint8().Draw(t, "mode")
		}
		if p.Has&HasPriority != 0 {
			p.Priority = rapid.Uint8().Draw(t, "priority")
		}
		if p.Has&HasTimestamp != 0 {
			p.Timestamp = Timestamp(rapid.Uint64().Draw(t, "timestamp"))
		}
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		encoded := p.Append(nil)
		got, err := DecodeProperties(encoded)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("DecodeProperties = %+v, %v\nwant %+v", got, err, p)
		}
		checkSummary(t, encoded, got)
		// Every prefix is an error, never a panic.
		cut := rapid.IntRange(0, len(encoded)-1).Draw(t, "cut")
		if _, err := DecodeProperties(encoded[:cut]); err == nil {
			t.Fatalf("the first %d of %d bytes decode", cut, len(encoded))
		}
	})
}

// checkSummary compares Scan with what DecodeProperties found.
func checkSummary(t interface{ Fatalf(string, ...any) }, encoded []byte, p Properties) {
	s, err := Scan(encoded)
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	present := func(b []byte, bit uint16, want string) bool {
		return (b != nil) == (p.Has&bit != 0) && string(b) == want
	}
	if s.Priority != p.Priority || s.DeliveryMode != p.DeliveryMode || !present(s.Expiration, HasExpiration, p.Expiration) ||
		!present(s.UserID, HasUserID, p.UserID) || !present(s.ReplyTo, HasReplyTo, p.ReplyTo) || (s.Headers != nil) != (p.Has&HasHeaders != 0) {
		t.Fatalf("Scan = %+v of %+v", s, p)
	}
	if s.Headers == nil {
		return
	}
	_, cc := p.Headers.Get("CC")
	_, bcc := p.Headers.Get("BCC")
	if s.Copies != (cc || bcc) {
		t.Fatalf("Scan finds copies: %v, of %+v", s.Copies, p)
	}
	headers, rest, err := DecodeTable(s.Headers)
	if err != nil || len(rest) != 0 || !Equal(headers, p.Headers) {
		t.Fatalf("Scan's headers = %x: %v, %v", s.Headers, headers, err)
	}
}

func deepTable(depth int) Table {
	t := Table{}
	for range depth - 1 {
		t = Table{{Name: "d", Value: t}}
	}
	return t
}

func deepArray(depth int) Array {
	a := Array{}
	for range depth - 1 {
		a = Array{a}
	}
	return a
}

func mustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f()
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func BenchmarkScan(b *testing.B) {
	encoded := unhex(b, recordedProperties)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Scan(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
