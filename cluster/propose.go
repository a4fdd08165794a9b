package cluster

import (
	"context"
	"time"
)

// item is what an origin or this node's duties want in the log.
type item struct {
	data   []byte
	buffer *[]byte // the pooled buffer behind data; nil where data is the caller's
}

func (it item) free(g *Group) {
	if it.buffer != nil {
		g.buffers.Put(it.buffer)
	}
}

// An entry costs about 300 µs of CPU on three nodes whatever it holds, so few and well-filled ones are everything under load, and none may wait when idle.
const (
	queueBytesMax = 8 << 20   // of items that are admitted and not yet proposed; one item may exceed it alone
	entryBytes    = 256 << 10 // of items joined into an entry; a larger item goes alone
	joinEnough    = 64 << 10  // a batch of this size is proposed at once
	joinWait      = time.Millisecond
	busyFor       = 5 * time.Millisecond // how long the last entry tells anything about the next
)

// admit puts an item into the queue, and waits while there is no room: nothing is ever dropped from it while the reign lasts. in is nil for this node's own
// duties.
func (r *reign) admit(done <-chan struct{}, in *intake, it item) error {
	size := int64(len(it.data))
	for {
		r.mu.Lock()
		switch {
		case in != nil && in.ended:
			r.mu.Unlock()
			return ErrStreamOver
		case !r.ready:
			r.mu.Unlock()
			return ErrNotLeader
		case len(r.queue) == 0 || r.bytes+size <= queueBytesMax:
			before := r.bytes
			r.queue, r.bytes = append(r.queue, it), before+size
			signal := len(r.queue) == 1 || before < joinEnough && r.bytes >= joinEnough
			r.mu.Unlock()
			if signal {
				r.signal()
			}
			return nil
		}
		space := r.space
		r.mu.Unlock()
		select {
		case <-space:
		case <-r.over:
		case <-done:
			return ErrStreamOver
		}
	}
}

func (r *reign) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take removes the items of the next entry from the queue.
func (r *reign) take(batch []item) []item {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, bytes := 0, 0
	for n < len(r.queue) && (n == 0 || bytes+len(r.queue[n].data) <= entryBytes) {
		bytes += len(r.queue[n].data)
		n++
	}
	batch = append(batch[:0], r.queue[:n]...)
	rest := copy(r.queue, r.queue[n:])
	clear(r.queue[rest:])
	r.queue, r.bytes = r.queue[:rest], r.bytes-int64(bytes)
	if n > 0 {
		close(r.space)
		r.space = make(chan struct{})
	}
	return batch
}

func (r *reign) waiting() (items int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue), r.bytes
}

// propose turns the queue into entries, one in flight at a time, until the reign is over. Any error ends it, because nobody can tell whether the entry is in
// the log: the origins will, from what they apply.
func (r *reign) propose() error {
	p := proposer{reign: r, timer: time.NewTimer(time.Hour)}
	p.timer.Stop()
	for {
		select {
		case <-r.over:
			return nil
		case <-r.wake:
		}
		for {
			p.join()
			n, err := p.next()
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
}

// proposer is propose's memory.
type proposer struct {
	*reign
	timer *time.Timer
	batch []item
	data  [][]byte
	busy  time.Time // until then more is likely to come at once
}

// join waits under load, at most joinWait, for more items to share the entry. Under load is: several items came while the last entry was in flight, or it
// was well filled. The timer is precise enough there; in an idle process it would take a whole millisecond too long, and is not used.
func (p *proposer) join() {
	if items, bytes := p.waiting(); items == 0 || bytes >= joinEnough || time.Now().After(p.busy) {
		return
	}
	p.timer.Reset(joinWait)
	defer p.timer.Stop()
	for {
		select {
		case <-p.wake:
			if _, bytes := p.waiting(); bytes >= joinEnough {
				return
			}
		case <-p.timer.C:
			return
		case <-p.over:
			return
		}
	}
}

// next proposes one entry and waits until it has been applied here. It returns how many items it held.
func (p *proposer) next() (int, error) {
	p.batch = p.take(p.batch)
	if len(p.batch) == 0 {
		return 0, nil
	}
	bytes := 0
	p.data = p.data[:0]
	for _, it := range p.batch {
		p.data = append(p.data, it.data)
		bytes += len(it.data)
	}
	// A fresh buffer each time: raft and the cache of the log keep the entry for as long as they like.
	entry := p.g.machine.Seal(make([]byte, 0, bytes+64+16*len(p.batch)), p.data)
	for _, it := range p.batch {
		it.free(p.g)
	}
	clear(p.batch)
	clear(p.data)
	future := p.raft.Apply(entry, 0)
	if err := future.Error(); err != nil {
		return 0, err
	}
	if term, _ := future.Response().(uint64); term != p.term {
		return 0, errOtherTerm
	}
	items, _ := p.waiting()
	if items >= 2 || bytes >= joinEnough {
		p.busy = time.Now().Add(busyFor)
	}
	if items == 0 { // else the next entry carries the commit index within a millisecond
		p.notify(future.Index())
	}
	return len(p.batch), nil
}

// Propose admits an item of this node's own duties as leader (Tick, OriginDown, Mark, Verify), which must not be changed afterwards. ErrNotLeader, ctx's error.
// The outcome shows in Apply only.
func (g *Group) Propose(ctx context.Context, data []byte) error {
	r := g.readyReign()
	if r == nil {
		return ErrNotLeader
	}
	err := r.admit(ctx.Done(), nil, item{data: data})
	if err == ErrStreamOver {
		return ctx.Err()
	}
	return err
}
