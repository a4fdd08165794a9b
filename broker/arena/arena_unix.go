//go:build unix

package arena

import (
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/triagemq/triagemq/fsm/store"
)

const (
	unitBytes   = 64 << 10
	regionBytes = 64 << 20
	regionUnits = regionBytes / unitBytes

	// blockBytesMax is the largest block that comes from a region; a larger one is a mapping of its own.
	blockBytesMax = regionBytes / 4

	chunkUnits    = store.ChunkBytes / unitBytes
	warmChunksMax = 128
)

// Arena implements store.Chunks. It is safe for concurrent use.
type Arena struct {
	mu      sync.Mutex // guards all below
	regions []*region
	lent    map[*byte]block // by first byte
	warm    []block         // freed chunks, still resident
	stats   Stats
}

// region is one mapping and a bit map of its lent (or warm) units.
type region struct {
	memory []byte
	used   [regionUnits / 64]uint64
	free   int
}

// block is a run of units of a region, or a mapping of its own where region is nil.
type block struct {
	region *region
	memory []byte // whole units
	unit   int
}

// New returns an empty Arena. It maps nothing yet.
func New() *Arena { return &Arena{lent: make(map[*byte]block)} }

// Alloc implements store.Chunks. The memory is not zeroed. It panics when the operating system has no more: like the Go heap, the process
// cannot go on.
func (a *Arena) Alloc(sizeBytes int) []byte {
	if sizeBytes <= 0 {
		panic("arena: a block of no bytes")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.take(sizeBytes)
	a.lent[&b.memory[0]] = b
	a.stats.LentBytes += int64(len(b.memory))
	return b.memory[:sizeBytes:sizeBytes]
}

// Free implements store.Chunks. It panics on memory that is not lent.
func (a *Arena) Free(chunk []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.lent[&chunk[0]]
	if !ok {
		panic("arena: freeing memory that is not lent")
	}
	delete(a.lent, &chunk[0])
	a.stats.LentBytes -= int64(len(b.memory))
	switch {
	case b.region == nil:
		a.unmap(b.memory)
	case len(b.memory) == store.ChunkBytes && len(a.warm) < warmChunksMax:
		a.warm = append(a.warm, b)
		a.stats.WarmBytes += store.ChunkBytes
	default:
		a.giveBack(b)
	}
}

// Stats returns the present figures.
func (a *Arena) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Close unmaps everything, lent or not: whoever still reads lent memory faults.
func (a *Arena) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.regions {
		a.unmap(r.memory)
	}
	for _, b := range a.lent { // order does not matter to the kernel
		if b.region == nil {
			a.unmap(b.memory)
		}
	}
	a.regions, a.warm, a.lent, a.stats = nil, nil, make(map[*byte]block), Stats{}
}

// take finds a block of at least sizeBytes: a warm chunk, the first gap of a region, a new region.
func (a *Arena) take(sizeBytes int) block {
	if sizeBytes > blockBytesMax {
		return block{memory: a.mmap((sizeBytes + unitBytes - 1) / unitBytes * unitBytes)}
	}
	if n := len(a.warm); sizeBytes == store.ChunkBytes && n > 0 {
		b := a.warm[n-1]
		a.warm = a.warm[:n-1]
		a.stats.WarmBytes -= store.ChunkBytes
		return b
	}
	units := (sizeBytes + unitBytes - 1) / unitBytes
	for _, r := range a.regions {
		if b, ok := r.take(units); ok {
			return b
		}
	}
	r := &region{memory: a.mmap(regionBytes), free: regionUnits}
	a.regions = append(a.regions, r)
	b, _ := r.take(units)
	return b
}

// giveBack returns a block's pages to the operating system and its units to the region; a region without blocks goes, unless it is the last.
func (a *Arena) giveBack(b block) {
	r := b.region
	r.mark(b.unit, len(b.memory)/unitBytes)
	if r.free == regionUnits && len(a.regions) > 1 {
		a.regions = slices.DeleteFunc(a.regions, func(o *region) bool { return o == r })
		a.unmap(r.memory)
		return
	}
	if err := unix.Madvise(b.memory, unix.MADV_DONTNEED); err != nil {
		panic(fmt.Sprintf("arena: giving back %d bytes: %v", len(b.memory), err))
	}
}

func (a *Arena) mmap(sizeBytes int) []byte {
	memory, err := unix.Mmap(-1, 0, sizeBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("arena: mapping %d bytes more than the present %d: %v", sizeBytes, a.stats.MappedBytes, err))
	}
	a.stats.MappedBytes += int64(sizeBytes)
	return memory
}

func (a *Arena) unmap(memory []byte) {
	if err := unix.Munmap(memory); err != nil {
		panic(fmt.Sprintf("arena: unmapping %d bytes: %v", len(memory), err))
	}
	a.stats.MappedBytes -= int64(len(memory))
}

// take finds the first gap of that many units.
func (r *region) take(units int) (block, bool) {
	if r.free < units {
		return block{}, false
	}
	for from := 0; from+units <= regionUnits; {
		from = r.nextFree(from)
		gap := r.gap(from, units)
		if gap == units {
			r.mark(from, -units)
			to := (from + units) * unitBytes
			return block{region: r, memory: r.memory[from*unitBytes : to : to], unit: from}, true
		}
		from += gap + 1
	}
	return block{}, false
}

// nextFree is the first free unit from a unit on, or regionUnits.
func (r *region) nextFree(unit int) int {
	for unit < regionUnits {
		if free := ^r.used[unit/64] >> (unit % 64); free != 0 {
			return unit + bits.TrailingZeros64(free)
		}
		unit = unit/64*64 + 64
	}
	return regionUnits
}

// gap counts the free units from a unit on, up to the limit.
func (r *region) gap(from, limit int) int {
	for n := range limit {
		if unit := from + n; unit >= regionUnits || r.used[unit/64]>>(unit%64)&1 == 1 {
			return n
		}
	}
	return limit
}

// mark frees that many units, or takes them where units is negative.
func (r *region) mark(from, units int) {
	r.free += units
	for unit := from; unit < from+max(units, -units); unit++ {
		r.used[unit/64] ^= 1 << (unit % 64)
	}
}
