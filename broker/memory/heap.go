package memory

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Heap keeps the Go heap within what the rest of the process leaves of the watermark.
//
// Left alone, the collector lets the heap grow to twice what is alive, and gives memory back when it likes: half of the watermark would be for garbage, and an
// alarm would stand for minutes after the last message is gone. So its limit moves with the memory outside the heap (message bodies, which it does not see), and
// while an alarm stands Collect gives back what is free. Slabs hold no pointers: a collection costs milliseconds per million messages, also close to the limit.
//
// There is one for the process; a nil Heap does nothing.
type Heap struct {
	fixed   bool // GOMEMLIMIT is given: whoever set it knows better
	set     int64
	samples []metrics.Sample
	next    time.Time // no Collect before it
}

const (
	totalBytes    = "/memory/classes/total:bytes"
	releasedBytes = "/memory/classes/heap/released:bytes"
	liveBytes     = "/gc/heap/live:bytes"

	heapSpareBytes = 16 << 20 // what the heap may always grow by between two collections
	hardPercent    = 90       // of the limit: what the heap may at most fill it to
	collectPause   = time.Second
	collectShare   = 20 // a collection is followed by a pause of that many times its length
)

// OpenHeap takes the heap over, unless GOMEMLIMIT is given.
func OpenHeap() *Heap {
	_, given := os.LookupEnv("GOMEMLIMIT")
	return &Heap{fixed: given, samples: []metrics.Sample{{Name: totalBytes}, {Name: releasedBytes}, {Name: liveBytes}}}
}

// Steer sets the heap's limit from what was just read.
func (h *Heap) Steer(u Usage, watermarkBytes int64) {
	if h == nil || h.fixed || u.OwnBytes < 0 {
		return
	}
	metrics.Read(h.samples)
	mapped := int64(h.samples[0].Value.Uint64() - h.samples[1].Value.Uint64())
	limit := heapLimit(u, watermarkBytes, mapped, int64(h.samples[2].Value.Uint64()))
	if change := limit - h.set; max(change, -change) > h.set/64 {
		h.set = limit
		debug.SetMemoryLimit(limit)
	}
}

// heapLimit leaves the heap what the rest of the process does not use of the watermark. It is never so near to what is alive that collections follow on one
// another, unless the limit of the process itself is near.
func heapLimit(u Usage, watermarkBytes, mappedBytes, liveBytes int64) int64 {
	outside := max(0, u.OwnBytes-mappedBytes)
	least := liveBytes + liveBytes/4 + heapSpareBytes
	most := u.LimitBytes/100*hardPercent - outside
	return max(min(max(watermarkBytes-outside, least), most), liveBytes+heapSpareBytes/4)
}

// Collect gives free memory of the heap back to the system, if the last time is long enough ago. It takes as long as a collection.
func (h *Heap) Collect() {
	began := time.Now()
	if h == nil || h.fixed || began.Before(h.next) {
		return
	}
	debug.FreeOSMemory()
	h.next = time.Now().Add(max(collectPause, collectShare*time.Since(began)))
}
