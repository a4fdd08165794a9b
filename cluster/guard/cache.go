package guard

import (
	"sync"

	"github.com/hashicorp/raft"
)

// entryOverhead is what an entry costs in memory beside its data and extensions, in bytes.
const entryOverhead = 128

// entryCache keeps the newest entries of the log in memory, bounded in bytes.
//
// A leader reads every entry back from its log store to send it, which is some 40 % of raft's CPU per message. raft.LogCache bounds the number of entries (512
// of 32 MiB would pin 16 GiB) and empties itself at every DeleteRange, hence at every compaction.
//
// The entries are one gapless run that ends at the last entry stored, in a ring that grows with the number of entries and never beyond what the bound lets in.
// Adding evicts from the front, but the newest entriesKept stay however large they are. Raft reads both for each request to each follower (the last but one
// for its term alone), and followers read the last one again to apply it: from the store each of these reads would be two copies, and on a small node with
// messages of 16 MiB that is more memory than the entries. Data and Extensions are shared with raft, the store and every reader: whoever gets an entry must not
// write to them.
type entryCache struct {
	bound int64 // bytes; 0 keeps nothing

	mu    sync.RWMutex // guards what follows
	ring  []raft.Log
	head  int // position of the oldest entry in ring
	count int
	bytes int64
}

// entriesKept is how many of the newest entries are kept whatever they take, unless the bound is 0.
const entriesKept = 2

func newEntryCache(bound int64) *entryCache { return &entryCache{bound: bound} }

// get copies entry index to out, or reports that it is not here.
func (c *entryCache) get(index uint64, out *raft.Log) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.count == 0 || index < c.ring[c.head].Index || index-c.ring[c.head].Index >= uint64(c.count) {
		return false
	}
	*out = *c.at(int(index - c.ring[c.head].Index))
	return true
}

// add appends entries that the store has just written. Entries that do not continue the run replace it.
func (c *entryCache) add(logs []*raft.Log) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		if c.count > 0 && c.at(c.count-1).Index+1 != l.Index {
			c.clear()
		}
		c.push(l)
	}
}

// dropFrom forgets index and what follows; dropTo forgets index and what precedes it.
func (c *entryCache) dropFrom(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.count > 0 && c.at(c.count-1).Index >= index {
		c.release(c.count - 1)
		c.count--
	}
}

func (c *entryCache) dropTo(index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.count > 0 && c.ring[c.head].Index <= index {
		c.popOldest()
	}
}

func (c *entryCache) push(l *raft.Log) {
	size := entrySize(l)
	if c.bound == 0 {
		return
	}
	for c.count >= entriesKept && c.bytes+size > c.bound {
		c.popOldest()
	}
	if c.count == len(c.ring) {
		c.grow()
	}
	c.count++
	*c.at(c.count - 1) = *l
	c.bytes += size
}

func (c *entryCache) popOldest() {
	c.release(0)
	c.head = (c.head + 1) % len(c.ring)
	c.count--
}

func (c *entryCache) clear() {
	for c.count > 0 {
		c.popOldest()
	}
}

func (c *entryCache) grow() {
	bigger := make([]raft.Log, max(64, 2*len(c.ring)))
	for i := range c.count {
		bigger[i] = *c.at(i)
	}
	c.ring, c.head = bigger, 0
}

// at is the i-th entry from the oldest; release gives its memory back.
func (c *entryCache) at(i int) *raft.Log { return &c.ring[(c.head+i)%len(c.ring)] }

func (c *entryCache) release(i int) {
	l := c.at(i)
	c.bytes -= entrySize(l)
	*l = raft.Log{}
}

func entrySize(l *raft.Log) int64 {
	return int64(len(l.Data)) + int64(len(l.Extensions)) + entryOverhead
}
