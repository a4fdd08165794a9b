package node

import "testing"

// TestBudget: what is large at once on a leader fits between the watermark and the limit. A message is in reception here, on its way from two followers, in an
// entry, twice in the log's buffers, and on its way to a consumer; the newest two entries stay in memory.
func TestBudget(t *testing.T) {
	for _, limit := range []int64{256 << 20, 512 << 20, 1 << 30, 4 << 30, 1 << 40} {
		b := budgetOf(limit)
		const places = 9
		if limit <= 512<<20 && int64(b.messageBytesMax)*places > limit/3 {
			t.Errorf("%d MiB: messages of %d bytes", limit>>20, b.messageBytesMax)
		}
		if b.intakeBytes < b.messageBytesMax || b.httpBytes < b.messageBytesMax*4/3 {
			t.Errorf("%d MiB: a message does not fit through a door: %+v", limit>>20, b)
		}
		if b.appendEntriesMax < 2 || b.appendEntriesMax > 8 {
			t.Errorf("%d MiB: %d entries at once", limit>>20, b.appendEntriesMax)
		}
	}
	if got := budgetOf(512 << 20).messageBytesMax; got != 16<<20 {
		t.Errorf("512 MiB: messages of %d bytes, want RabbitMQ's 16 MiB", got)
	}
}
