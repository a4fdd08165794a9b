package fsm

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// What DecodeEntry shows of an entry encodes to that entry again.
func TestDecodeEntry(t *testing.T) {
	g := newEntryGenerator(t, rand.NewPCG(3, 1))
	r := newTestReplica(g.origins[0])
	for index := uint64(1); index <= 60; index++ {
		g.state = r.state
		entry, text := g.entry()
		r.state.Apply(index, entry)
		info, err := DecodeEntry(entry)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		size := entryHeadSize
		for _, it := range info.Items {
			size += it.SizeBytes
			var commands []byte
			for _, c := range it.Commands {
				before := len(commands)
				if commands = c.Command.Append(commands); len(commands)-before != c.SizeBytes {
					t.Fatalf("%v has %d bytes, %d are told", c.Kind, len(commands)-before, c.SizeBytes)
				}
			}
			if !bytes.Contains(entry, commands) {
				t.Fatalf("%s: the commands shown are not those of the entry", text)
			}
		}
		if size != len(entry) || info.TimeMillis != g.nowMillis {
			t.Fatalf("%s: %d of %d bytes, time %d", text, size, len(entry), info.TimeMillis)
		}
	}
}

func TestDecodeEntryKeepsWhatPrecedesAFault(t *testing.T) {
	whole := AppendEntry(nil, 5, [][]byte{AppendTick(nil), AppendMark(nil)})
	info, err := DecodeEntry(whole[:len(whole)-1])
	if err == nil || len(info.Items) != 1 || info.Items[0].Kind != "tick" {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := DecodeEntry([]byte{99, 0, 0, 0, 0, 0, 0, 0, 0}); err == nil {
		t.Error("an entry of an unknown version was decoded")
	}
}
