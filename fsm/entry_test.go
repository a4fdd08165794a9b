package fsm

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// exampleItems has one item of every kind beside what it decodes to.
func exampleItems() (encoded [][]byte, decoded []item) {
	origin := Origin{Node: "n1-7f3a", Boot: 0x0102030405060708}
	commands := append((&Ack{Ref: Ref{1, 2, 3}, Tag: 4}).Append(nil), (&OpenChannel{Ref: Ref{1, 2, 4}}).Append(nil)...)
	reports := []DigestReport{{"n1", [16]byte{1, 2, 3}}, {"n2", [16]byte{15: 9}}}
	return [][]byte{
			AppendBatch(nil, origin, 0x1112131415161718, commands),
			AppendOriginOpen(nil, origin),
			AppendOriginDown(nil, origin),
			AppendTick(nil),
			AppendMark(nil),
			AppendVerify(nil, 0x2122232425262728, 3, reports),
			AppendFeatureLevel(nil, 1),
		}, []item{
			{kind: itemBatch, Origin: origin, seq: 0x1112131415161718, commands: commands},
			{kind: itemOriginOpen, Origin: origin},
			{kind: itemOriginDown, Origin: origin},
			{kind: itemTick},
			{kind: itemMark},
			{kind: itemVerify, markIndex: 0x2122232425262728, voters: 3, reports: reports},
			{kind: itemFeatureLevel, level: 1},
		}
}

func readItems(r itemReader) (items []item, err error) {
	for {
		it, ok, err := r.next()
		if err != nil || !ok {
			return items, err
		}
		items = append(items, it)
	}
}

func TestEntryRoundTrip(t *testing.T) {
	encoded, want := exampleItems()
	for _, timeMillis := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64} {
		gotTime, r, err := openEntry(AppendEntry(nil, timeMillis, encoded))
		if err != nil || gotTime != timeMillis {
			t.Fatalf("time %d, error %v", gotTime, err)
		}
		got, err := readItems(r)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: got\n%+v\nwant\n%+v", err, got, want)
		}
	}
}

func TestEveryItemKindIsInTheExamples(t *testing.T) {
	encoded, _ := exampleItems()
	for i, b := range encoded {
		kind := itemKind(i + 1)
		if itemKind(b[0]) != kind || strings.Contains(kind.String(), "kind") {
			t.Errorf("example %d is %v", i, itemKind(b[0]))
		}
		if err := CheckItem(b); err != nil {
			t.Error(err)
		}
	}
	if _, err := decodeItem(itemKind(len(encoded)+1), nil); !errors.Is(err, errKind) {
		t.Errorf("kind %d: %v", len(encoded)+1, err)
	}
}

func TestItemRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		encoded, want := drawItem(t)
		if err := CheckItem(encoded); err != nil {
			t.Fatal(err)
		}
		kind, payload, rest, err := splitItem(encoded)
		if err != nil || len(rest) != 0 {
			t.Fatalf("rest %x, error %v", rest, err)
		}
		got, err := decodeItem(kind, payload)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: got\n%+v\nwant\n%+v", err, got, want)
		}
		if again := appendItem(nil, got); !bytes.Equal(again, encoded) {
			t.Fatalf("encoded again it differs:\n%x\n%x", encoded, again)
		}
		o, seq, ok := BatchOrigin(encoded)
		if ok != (kind == itemBatch) || ok && (o != want.Origin || seq != want.seq) {
			t.Fatalf("BatchOrigin says %v %d %v of\n%+v", o, seq, ok, want)
		}
	})
}

func drawItem(t *rapid.T) ([]byte, item) {
	it := item{kind: itemKind(rapid.IntRange(int(itemBatch), int(itemFeatureLevel)).Draw(t, "kind"))}
	switch it.kind {
	case itemBatch:
		it.Origin = drawOrigin(t)
		it.seq = rapid.Uint64Min(1).Draw(t, "seq")
		it.commands = []byte{}
		for range rapid.IntRange(0, 4).Draw(t, "commands") {
			it.commands = drawCommand(t, rapid.SampledFrom(commandKinds()).Draw(t, "command")).Append(it.commands)
		}
	case itemOriginOpen, itemOriginDown:
		it.Origin = drawOrigin(t)
	case itemVerify:
		it.markIndex = rapid.Uint64().Draw(t, "mark")
		it.voters = int(rapid.Uint16().Draw(t, "voters"))
		for _, node := range []string{"", "a", "b", "bb"} {
			if rapid.Bool().Draw(t, "reports") {
				it.reports = append(it.reports, DigestReport{node, [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "hash"))})
			}
		}
	case itemFeatureLevel:
		it.level = rapid.Uint32Max(FeatureLevelMax).Draw(t, "level")
	}
	return appendItem(nil, it), it
}

func drawOrigin(t *rapid.T) Origin {
	return Origin{rapid.StringN(1, 20, 255).Draw(t, "node"), rapid.Uint64Min(1).Draw(t, "boot")}
}

func appendItem(dst []byte, it item) []byte {
	switch it.kind {
	case itemBatch:
		return AppendBatch(dst, it.Origin, it.seq, it.commands)
	case itemOriginOpen:
		return AppendOriginOpen(dst, it.Origin)
	case itemOriginDown:
		return AppendOriginDown(dst, it.Origin)
	case itemTick:
		return AppendTick(dst)
	case itemMark:
		return AppendMark(dst)
	case itemVerify:
		return AppendVerify(dst, it.markIndex, it.voters, it.reports)
	}
	return AppendFeatureLevel(dst, it.level)
}

func TestItemFaults(t *testing.T) {
	encoded, _ := exampleItems()
	for _, b := range encoded {
		kind := itemKind(b[0])
		for n := range len(b) {
			if err := CheckItem(b[:n]); !errors.Is(err, errTruncated) {
				t.Fatalf("%v cut to %d bytes: %v", kind, n, err)
			}
		}
		if err := CheckItem(append(bytes.Clone(b), 0)); !errors.Is(err, errTrailing) {
			t.Fatalf("%v with a byte after it: %v", kind, err)
		}
		for n := range len(b) - itemHeadSize {
			cut := endItem(bytes.Clone(b[:itemHeadSize+n]), 0) // a whole item whose payload ends early
			if err := CheckItem(cut); err == nil && kind != itemBatch {
				t.Fatalf("%v with %d bytes of payload passes", kind, n)
			}
		}
		stretched := endItem(append(bytes.Clone(b), 0), 0)
		if err := CheckItem(stretched); err == nil {
			t.Fatalf("%v with a byte more of payload passes", kind)
		}
	}
}

func TestItemValuesAreChecked(t *testing.T) {
	report := func(node string) []byte { return append(appendShort(nil, node), make([]byte, 16)...) }
	verify := func(count uint8, reports ...[]byte) []byte {
		b := append(beginItem(nil, itemVerify), make([]byte, 8+2)...)
		return endItem(append(append(b, 0, count), bytes.Join(reports, nil)...), 0)
	}
	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"no node":              {AppendOriginOpen(nil, Origin{"", 1}), errValue},
		"boot 0":               {AppendOriginDown(nil, Origin{"n1", 0}), errValue},
		"batch 0":              {AppendBatch(nil, Origin{"n1", 1}, 0), errValue},
		"a node reports twice": {verify(2, report("n1"), report("n1")), errValue},
		"reports descend":      {verify(2, report("n2"), report("n1")), errValue},
		"fewer than announced": {verify(255, report("n1")), errTruncated},
		"more than announced":  {verify(0, report("n1")), errTrailing},
		"a level of tomorrow":  {AppendFeatureLevel(nil, FeatureLevelMax+1), errValue},
		"kind 0":               {endItem(beginItem(nil, 0), 0), errKind},
		"huge":                 {[]byte{1, 0xff, 0xff, 0xff, 0xff}, errTruncated},
	} {
		if err := CheckItem(test.b); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// TestVerifyHasOneVotePerNode: whatever order the reports came in, and however often a node reported.
func TestVerifyHasOneVotePerNode(t *testing.T) {
	first, last := [16]byte{1}, [16]byte{2}
	given := []DigestReport{{"n2", first}, {"n1", first}, {"n2", last}}
	encoded := AppendVerify(nil, 5, 3, given)
	if err := CheckItem(encoded); err != nil {
		t.Fatal(err)
	}
	it, err := decodeItem(itemVerify, encoded[itemHeadSize:])
	if want := []DigestReport{{"n1", first}, {"n2", last}}; err != nil || !reflect.DeepEqual(it.reports, want) {
		t.Fatalf("%v: %v", err, it.reports)
	}
	if given[0].Node != "n2" {
		t.Fatal("the caller's slice was sorted")
	}
}

// TestCheckItemDecodesEveryCommand: a fault in the last command of a batch is found, and the error says where.
func TestCheckItemDecodesEveryCommand(t *testing.T) {
	good := (&Ack{Ref: Ref{1, 1, 1}, Tag: 1}).Append(nil)
	bad := bytes.Clone(good)
	bad[commandHeadSize] = 0x80
	err := CheckItem(AppendBatch(nil, Origin{"n1", 2}, 3, good, good, bad))
	if !errors.Is(err, errFlags) || !strings.Contains(err.Error(), "command 2 of batch 3 of n1, boot 2") {
		t.Fatal(err)
	}
	if err := CheckItem(AppendBatch(nil, Origin{"n1", 2}, 3, good, good[:5])); !errors.Is(err, errTruncated) {
		t.Fatal(err)
	}
}

func TestEntryFaults(t *testing.T) {
	encoded, _ := exampleItems()
	entry := AppendEntry(nil, 1, encoded)
	for n := range entryHeadSize {
		if _, _, err := openEntry(entry[:n]); !errors.Is(err, errTruncated) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	for _, version := range []byte{0, 2, 255} {
		other := bytes.Clone(entry)
		other[0] = version
		if _, _, err := openEntry(other); err == nil {
			t.Fatalf("version %d is read", version)
		}
	}
	_, r, _ := openEntry(entry[:len(entry)-1])
	if items, err := readItems(r); !errors.Is(err, errTruncated) || len(items) != len(encoded)-1 {
		t.Fatalf("the last item cut: %d items, %v", len(items), err)
	}
}

func TestBatchOriginOfDamage(t *testing.T) {
	b := AppendBatch(nil, Origin{"n1", 1}, 1)
	for n := range len(b) {
		if _, _, ok := BatchOrigin(b[:n]); ok {
			t.Fatalf("%d bytes pass", n)
		}
	}
}
