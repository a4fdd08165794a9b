package guard

import (
	"bytes"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// payloadOf is what raft-wal makes of an entry.
func payloadOf(t *testing.T, l *raft.Log) []byte {
	var b bytes.Buffer
	noError(t, new(wal.BinaryCodec).Encode(l, &b))
	return b.Bytes()
}

// TestShortReads reads entries of all the sizes at which reading changes, from a tail and from sealed segments.
func TestShortReads(t *testing.T) {
	whole := &raft.Log{Index: 1, Term: 1, Data: make([]byte, walReadSize)}
	noError(t, seal([]*raft.Log{whole}))
	overhead := len(payloadOf(t, whole)) - walReadSize
	var sizes []int
	for _, edge := range []int{walReadSize, walReadSize - walFrameHeader, walShortRead, walShortRead - walFrameHeader, 2 * walReadSize} {
		for d := -2; d <= 2; d++ {
			sizes = append(sizes, edge-overhead+d)
		}
	}
	// As entry 1, one of walReadSize bytes begins as a frame of 1 KiB would: the index stands for the type, and the length of the data for the length.
	sizes = append([]int{walReadSize - overhead, 0, 1}, sizes...)
	var logs []*raft.Log
	for i, size := range sizes {
		logs = append(logs, &raft.Log{Index: uint64(i + 1), Term: 1, Data: make([]byte, size)})
	}
	noError(t, seal(logs))
	if p := payloadOf(t, logs[0]); len(p) != walReadSize || p[0] != walEntry || frameSize(p) > walShortRead {
		t.Fatalf("entry 1 of %d bytes does not look like a short frame: % x", len(p), p[:walFrameHeader])
	}
	for name, segment := range map[string]int{"tail": 64 << 20, "sealed": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			w, err := OpenWAL(t.TempDir(), segment, hclog.NewNullLogger())
			noError(t, err)
			defer w.Close()
			for _, l := range logs {
				noError(t, w.StoreLog(l))
			}
			for _, want := range logs {
				var got raft.Log
				noError(t, w.GetLog(want.Index, &got))
				if !sameEntry(&got, want) {
					t.Errorf("entry %d of %d bytes reads as one of %d", want.Index, len(want.Data), len(got.Data))
				}
			}
		})
	}
}
