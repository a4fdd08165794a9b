package store

import "encoding/binary"

// ChunkBytes is the size of the chunks that many contents share. A content that needs more than a quarter of it has a chunk of its own.
const ChunkBytes = 256 << 10

// Chunks lends memory for message contents.
type Chunks interface {
	Alloc(sizeBytes int) []byte // zeroed or not; len == sizeBytes
	Free(chunk []byte)
}

// HeapChunks is Chunks on the Go heap, for tests and tools.
type HeapChunks struct{}

// Alloc implements Chunks.
func (HeapChunks) Alloc(sizeBytes int) []byte { return make([]byte, sizeBytes) }

// Free implements Chunks.
func (HeapChunks) Free([]byte) {}

// Every content in a chunk follows a header, so that Compact finds the message that owns it: message slot and content length, 32 bits each.
const contentHeaderBytes = 8

// scanCostBytes is what Compact charges its budget for looking at a header: many small dead contents must not make a call long.
const scanCostBytes = 16

// Compact leaves that much dead memory in sparse chunks alone, or a quarter of the live bytes where that is more. Every chunk of a queue
// that drains in order is sparse for a while before it is gone by itself; to move its contents just before they die would be for nothing.
const sparseDeadMin = 32 * ChunkBytes

const noChunk = ^uint32(0)

// contents is the chunk memory. Within a chunk, memory is only ever appended, until the last content of the chunk is gone: that is what
// lets a Frozen view read while the store goes on.
type contents struct {
	source Chunks
	chunks []chunk  // by number; data is nil where vacant
	vacant []uint32 // numbers to use again

	// Two chunks are open for appending. What Compact moves has outlived its neighbours and will outlive new contents too; among them it
	// would be moved again and again.
	fresh, moved uint32

	// Closed chunks that are less than half live, in the order in which they came to be so: the first have had the longest time to go.
	sparseFirst, sparseLast uint32
	sparseDead              int64 // bytes in them that are not live
	deadMin                 int64 // sparseDeadMin, but in tests

	retired [][]byte // no longer used, but a Frozen view may read them: freed at Thaw

	contentBytes int64 // live, without headers
	heldBytes    int64 // from source, retired included
	epoch        uint32
	barrier      uint32 // chunks born before this epoch are pinned; 0 for none
}

type chunk struct {
	data     []byte
	used     uint32 // bytes appended
	live     uint32 // of them live, headers included
	contents uint32 // live contents
	scanned  uint32 // Compact has dealt with what is below
	epoch    uint32 // of birth

	sparse     bool
	next, prev uint32 // sparse neighbours, or noChunk
}

func newContents(source Chunks) contents {
	return contents{source: source, fresh: noChunk, moved: noChunk, sparseFirst: noChunk, sparseLast: noChunk, deadMin: sparseDeadMin, epoch: 1}
}

// reserve makes room for a content of sizeBytes, in the chunk open for its kind (&c.fresh or &c.moved), and writes the header.
func (c *contents) reserve(open *uint32, owner Message, sizeBytes int) (number, offset uint32, content []byte) {
	need := uint32(sizeBytes + contentHeaderBytes)
	if need > ChunkBytes/4 {
		number = c.add(int(need))
	} else {
		if *open == noChunk || ChunkBytes-c.chunks[*open].used < need {
			c.replaceOpen(open)
		}
		number = *open
	}
	k := &c.chunks[number]
	offset = k.used
	k.used += need
	k.live += need
	k.contents++
	c.contentBytes += int64(sizeBytes)
	b := k.data[offset : offset+need : offset+need]
	binary.LittleEndian.PutUint32(b, uint32(owner))
	binary.LittleEndian.PutUint32(b[4:], uint32(sizeBytes))
	return number, offset, b[contentHeaderBytes:]
}

func (c *contents) content(number, offset, sizeBytes uint32) []byte {
	from := offset + contentHeaderBytes
	return c.chunks[number].data[from : from+sizeBytes : from+sizeBytes]
}

func (c *contents) replaceOpen(open *uint32) {
	old := *open
	*open = c.add(ChunkBytes)
	if old != noChunk {
		c.review(old)
	}
}

func (c *contents) add(sizeBytes int) uint32 {
	k := chunk{data: c.source.Alloc(sizeBytes), epoch: c.epoch}
	c.heldBytes += int64(sizeBytes)
	if n := len(c.vacant); n > 0 {
		number := c.vacant[n-1]
		c.vacant = c.vacant[:n-1]
		c.chunks[number] = k
		return number
	}
	if uint64(len(c.chunks)) >= uint64(noChunk) {
		panic("store: 2^32-1 chunks are in use, the most that can be numbered")
	}
	c.chunks = append(c.chunks, k)
	return uint32(len(c.chunks) - 1)
}

// release gives up a live content.
func (c *contents) release(number, sizeBytes uint32) {
	k := &c.chunks[number]
	k.live -= sizeBytes + contentHeaderBytes
	k.contents--
	c.contentBytes -= int64(sizeBytes)
	if k.sparse {
		c.sparseDead += int64(sizeBytes + contentHeaderBytes)
	}
	if number == c.fresh || number == c.moved {
		if k.contents == 0 && !c.pinned(k) {
			k.used = 0 // start over in memory that is warm
		}
		return
	}
	c.review(number)
}

// review decides what becomes of a closed chunk.
func (c *contents) review(number uint32) {
	k := &c.chunks[number]
	switch {
	case k.contents == 0:
		c.drop(number)
	case !k.sparse && k.isSparse():
		c.listSparse(number)
	}
}

func (k *chunk) isSparse() bool { return int(k.live) < len(k.data)/2 }

func (k *chunk) deadBytes() int64 { return int64(len(k.data)) - int64(k.live) }

func (c *contents) listSparse(number uint32) {
	k := &c.chunks[number]
	k.sparse, k.prev, k.next = true, c.sparseLast, noChunk
	if c.sparseLast != noChunk {
		c.chunks[c.sparseLast].next = number
	} else {
		c.sparseFirst = number
	}
	c.sparseLast = number
	c.sparseDead += k.deadBytes()
}

func (c *contents) unlistSparse(number uint32) {
	k := &c.chunks[number]
	if k.next != noChunk {
		c.chunks[k.next].prev = k.prev
	} else {
		c.sparseLast = k.prev
	}
	if k.prev != noChunk {
		c.chunks[k.prev].next = k.next
	} else {
		c.sparseFirst = k.next
	}
	k.sparse = false
	c.sparseDead -= k.deadBytes()
}

func (c *contents) drop(number uint32) {
	k := &c.chunks[number]
	if k.sparse {
		c.unlistSparse(number)
	}
	if c.pinned(k) {
		c.retired = append(c.retired, k.data)
	} else {
		c.heldBytes -= int64(len(k.data))
		c.source.Free(k.data)
	}
	*k = chunk{}
	c.vacant = append(c.vacant, number)
}

// pinned tells whether a Frozen view may read the chunk.
func (c *contents) pinned(k *chunk) bool { return k.epoch < c.barrier }

// freeze pins the present chunks and returns their memory by number.
func (c *contents) freeze() [][]byte {
	c.epoch++
	c.barrier = c.epoch
	data := make([][]byte, len(c.chunks))
	for i := range c.chunks {
		data[i] = c.chunks[i].data
	}
	return data
}

func (c *contents) thaw() {
	c.barrier = 0
	for _, data := range c.retired {
		c.heldBytes -= int64(len(data))
		c.source.Free(data)
	}
	c.retired = nil
	for _, open := range []uint32{c.fresh, c.moved} {
		if open != noChunk && c.chunks[open].contents == 0 {
			c.chunks[open].used = 0
		}
	}
}

func (c *contents) freeAll() {
	c.thaw()
	for i := range c.chunks {
		if c.chunks[i].data != nil {
			c.source.Free(c.chunks[i].data)
		}
	}
	*c = newContents(c.source)
}

// Compact moves contents out of chunks that are less than half live, copying at most budgetBytes, while there is more dead memory in such
// chunks than there may be. Call it between entries; it changes nothing observable. While a Frozen view exists it does nothing: the view
// pins what would be freed. A budget below a quarter of ChunkBytes may be too small for the next content.
func (s *Store) Compact(budgetBytes int) {
	c := &s.contents
	if c.barrier != 0 {
		return
	}
	for budgetBytes > 0 && c.tooSparse() {
		budgetBytes = s.evacuate(c.sparseFirst, budgetBytes)
	}
}

func (c *contents) tooSparse() bool {
	return c.sparseDead > max(c.deadMin, c.contentBytes/4)
}

// evacuate moves the contents of a sparse chunk until it is gone or the budget is too small, and returns the rest of the budget.
func (s *Store) evacuate(number uint32, budgetBytes int) int {
	c := &s.contents
	for {
		k := &c.chunks[number]
		if k.scanned == k.used {
			panic("store: a chunk counts contents that it does not have")
		}
		header := k.data[k.scanned:k.used]
		m := Message(binary.LittleEndian.Uint32(header))
		need := binary.LittleEndian.Uint32(header[4:]) + contentHeaderBytes
		if s.residesAt(m, number, k.scanned) {
			if budgetBytes < int(need) {
				return 0
			}
			budgetBytes -= int(need)
			last := k.contents == 1
			k.scanned += need
			s.move(m)
			if last {
				return budgetBytes
			}
		} else {
			k.scanned += need
			budgetBytes -= scanCostBytes
			if budgetBytes <= 0 {
				return 0
			}
		}
	}
}
