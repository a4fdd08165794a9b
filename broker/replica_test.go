package broker

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/store"
)

// lentChunks counts the chunks that were lent and not given back, and spoils those that were: who reads them still must show.
type lentChunks struct{ lent, most int }

func (c *lentChunks) Alloc(sizeBytes int) []byte {
	c.lent++
	c.most = max(c.most, c.lent)
	return make([]byte, sizeBytes)
}

func (c *lentChunks) Free(chunk []byte) {
	c.lent--
	clear(chunk)
}

// filledReplica holds messages in several chunks.
func filledReplica(chunks store.Chunks, messages int) *replica {
	r := newReplica(fsm.Options{Chunks: chunks, Check: true})
	origin := fsm.Origin{Node: "n1", Boot: 1}
	ref := fsm.Ref{Conn: 1, Channel: 1, Incarnation: 1}
	commands := [][]byte{
		(&fsm.OpenSession{Ref: fsm.Ref{Conn: 1}, VHost: "/"}).Append(nil),
		(&fsm.OpenChannel{Ref: ref}).Append(nil),
		(&fsm.DeclareQueue{Ref: ref, Name: "q"}).Append(nil),
	}
	for i := range messages {
		body := bytes.Repeat([]byte(fmt.Sprint(i%10)), store.ChunkBytes/5)
		commands = append(commands, (&fsm.Publish{Ref: ref, RoutingKey: []byte("q"), Properties: []byte{0, 0}, Body: body}).Append(nil))
	}
	r.apply(1, fsm.AppendEntry(nil, 1000, [][]byte{fsm.AppendOriginOpen(nil, origin), fsm.AppendBatch(nil, origin, 1, commands...)}))
	return r
}

func written(t *testing.T, f Frozen) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLiveRestoreNeedsRoomForOneState: the old state is gone before the new one is built.
func TestLiveRestoreNeedsRoomForOneState(t *testing.T) {
	chunks := &lentChunks{}
	r := filledReplica(chunks, 20)
	frozen := r.freeze()
	snapshot := written(t, frozen)
	frozen.Release()
	full := chunks.lent
	r.empty()
	if chunks.lent != 0 {
		t.Errorf("%d chunks are lent by an empty state", chunks.lent)
	}
	swap, err := r.restore(bytes.NewReader(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	swap()
	if chunks.most > full {
		t.Errorf("%d chunks were lent at once, the state has %d", chunks.most, full)
	}
}

// TestRestoreGivesMemoryBack: a State that a restore replaces leaves nothing behind, at once where nobody reads it any more, and otherwise when its snapshot
// is released, until when that is whole.
func TestRestoreGivesMemoryBack(t *testing.T) {
	small := filledReplica(store.HeapChunks{}, 1).freeze()
	snapshot := written(t, small)
	small.Release()

	chunks := &lentChunks{}
	r := filledReplica(chunks, 20)
	full := chunks.lent
	if full < 4 {
		t.Fatalf("20 messages are in %d chunks: the test shows nothing", full)
	}
	open := r.freeze()
	before := written(t, open)
	swap, err := r.restore(bytes.NewReader(snapshot))
	if err != nil {
		t.Fatal(err)
	}
	swap()
	if !bytes.Equal(written(t, open), before) {
		t.Error("a snapshot that is open during a restore is written otherwise after it")
	}
	if chunks.lent != full+1 {
		t.Errorf("%d chunks are lent beside an open snapshot, want its %d and 1", chunks.lent, full)
	}
	open.Release()
	if chunks.lent != 1 {
		t.Errorf("%d chunks are lent once the snapshot is released, want 1", chunks.lent)
	}
	for range 3 {
		if swap, err = r.restore(bytes.NewReader(snapshot)); err != nil {
			t.Fatal(err)
		}
		swap()
	}
	if chunks.lent != 1 {
		t.Errorf("%d chunks are lent after more restores, want 1", chunks.lent)
	}
	r.view(func(s *fsm.State) {
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	})
}

// TestFailedRestoreGivesMemoryBack: what was read before the damage is not kept, and the old State stands.
func TestFailedRestoreGivesMemoryBack(t *testing.T) {
	f := filledReplica(store.HeapChunks{}, 20).freeze()
	snapshot := written(t, f)
	f.Release()
	chunks := &lentChunks{}
	r := filledReplica(chunks, 10)
	lent := chunks.lent
	for _, size := range []int{1, len(snapshot) / 2, len(snapshot) - 1} {
		if _, err := r.restore(bytes.NewReader(snapshot[:size])); err == nil {
			t.Fatalf("%d of %d bytes are restored", size, len(snapshot))
		}
	}
	if chunks.lent != lent {
		t.Errorf("%d chunks are lent after failed restores, before it were %d", chunks.lent, lent)
	}
	if q, _ := queueOf(r, "q"); q.Ready != 10 {
		t.Errorf("the old state has %d messages, want 10", q.Ready)
	}
}

func queueOf(r *replica, name string) (q fsm.QueueView, ok bool) {
	r.view(func(s *fsm.State) { q, ok = s.Queue("/", name) })
	return q, ok
}
