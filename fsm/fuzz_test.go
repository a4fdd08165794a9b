package fsm

import (
	"bytes"
	"runtime"
	"testing"
)

// allocatesAtMost runs f and fails where it allocated more than a fixed slack and a small multiple of its input: a length that an attacker wrote must not
// decide how much memory is taken. The slack covers what the test binary itself does meanwhile.
func allocatesAtMost(t *testing.T, inputBytes int, f func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(256<<10+8*inputBytes); got > limit {
		t.Fatalf("%d bytes of input made it allocate %d", inputBytes, got)
	}
}

func FuzzOpenEntry(f *testing.F) {
	encoded, _ := exampleItems()
	f.Add(AppendEntry(nil, 1, encoded))
	f.Fuzz(func(t *testing.T, b []byte) {
		var timeMillis int64
		var items []item
		var err error
		allocatesAtMost(t, len(b), func() {
			var r itemReader
			if timeMillis, r, err = openEntry(b); err == nil {
				items, err = readItems(r)
			}
		})
		if err != nil {
			return
		}
		var again [][]byte
		for _, it := range items {
			again = append(again, appendItem(nil, it))
		}
		if got := AppendEntry(nil, timeMillis, again); !bytes.Equal(got, b) {
			t.Fatalf("an entry has a second encoding:\n%x\n%x", b, got)
		}
	})
}

func FuzzCheckItem(f *testing.F) {
	encoded, _ := exampleItems()
	for _, b := range encoded {
		f.Add(b)
	}
	var all []byte
	for _, kind := range commandKinds() {
		all = exampleCommand(kind).Append(all)
	}
	f.Add(AppendBatch(nil, Origin{"n1", 1}, 1, all))
	f.Fuzz(func(t *testing.T, b []byte) {
		var err error
		allocatesAtMost(t, len(b), func() { err = CheckItem(b) })
		o, seq, isBatch := BatchOrigin(b)
		if err != nil {
			return
		}
		it, err := decodeItem(itemKind(b[0]), b[itemHeadSize:])
		if err != nil {
			t.Fatalf("CheckItem let it pass: %v", err)
		}
		if isBatch != (it.kind == itemBatch) || isBatch && (o != it.Origin || seq != it.seq) {
			t.Fatalf("BatchOrigin says %v %d %v of %+v", o, seq, isBatch, it)
		}
		for rest := it.commands; len(rest) > 0; {
			kind, ref, payload, next, err := decodeCommandHead(rest)
			if err != nil {
				t.Fatalf("CheckItem let a command pass: %v", err)
			}
			if err := newCommand(kind).decode(ref, payload); err != nil {
				t.Fatalf("CheckItem let a command pass: %v", err)
			}
			rest = next
		}
	})
}

func FuzzCommand(f *testing.F) {
	for _, kind := range commandKinds() {
		f.Add(exampleCommand(kind).Append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, ref, payload, rest, err := decodeCommandHead(b)
		command, restToo, ok := NextCommand(b)
		if err != nil {
			return
		}
		if !ok || !bytes.Equal(rest, restToo) || len(command)+len(rest) != len(b) {
			t.Fatalf("NextCommand splits %d+%d of %d bytes, ok %v; the head leaves %d", len(command), len(restToo), len(b), ok, len(rest))
		}
		c := newCommand(kind)
		if c == nil { // a number that is free
			if checkCommand(kind, ref, payload) == nil {
				t.Fatalf("checkCommand lets kind %d in, which is none", kind)
			}
			return
		}
		allocatesAtMost(t, len(payload), func() { err = c.decode(ref, payload) })
		if (checkCommand(kind, ref, payload) == nil) != (err == nil) {
			t.Fatalf("checkCommand and decode disagree: %v", err)
		}
		if err != nil {
			return
		}
		if again := c.Append(nil); !bytes.Equal(again, command) {
			t.Fatalf("a command has a second encoding:\n%x\n%x", command, again)
		}
	})
}
