package broker

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	streamBackoffMin = 10 * time.Millisecond
	streamBackoffMax = time.Second
	streamOpenBound  = 5 * time.Second
)

// send keeps a stream to the leader open while a boot lives, and feeds it. It is one goroutine, so that at most one stream is open and its items are in order.
func (n *Node) send(ctx context.Context) {
	backoff := streamBackoffMin
	for ctx.Err() == nil {
		leadership, changed := n.log.Leadership()
		if leadership.Node == "" || !n.pipe.hasBoot() {
			select {
			case <-changed:
			case <-n.pipe.bootReady:
			case <-ctx.Done():
			}
			continue
		}
		if n.feedOnce(ctx) {
			backoff = streamBackoffMin
		}
		pause := time.NewTimer(backoff/2 + rand.N(backoff))
		select {
		case <-pause.C:
			backoff = min(2*backoff, streamBackoffMax)
		case <-changed:
			backoff = streamBackoffMin
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// feedOnce opens a stream and feeds it to its end; it reports whether something went through.
func (n *Node) feedOnce(ctx context.Context) (worked bool) {
	openCtx, cancel := context.WithTimeout(ctx, streamOpenBound)
	stream, err := n.log.OpenStream(openCtx)
	cancel()
	if err != nil {
		n.logger.Debug("no stream to the leader", "error", err)
		return false
	}
	defer stream.Close()
	if !n.pipe.attach(stream) {
		return false
	}
	defer n.pipe.detach(stream)
	for {
		item, b, over := n.pipe.take(stream)
		switch {
		case over:
			return worked
		case item != nil:
			err := stream.Send(item)
			n.pipe.sent(b)
			if err != nil {
				n.logger.Debug("stream to the leader ended", "error", err)
				return worked
			}
			worked = true
		default:
			select {
			case <-n.pipe.wake:
			case <-stream.Done():
				return worked
			case <-ctx.Done():
				return worked
			}
		}
	}
}

func (p *pipeline) hasBoot() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.ended
}

// attach makes a stream the present one: it begins behind the last batch applied here, whatever earlier streams carried. Liveness rests on this.
func (p *pipeline) attach(s Stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	p.stream, p.pos, p.gapAt, p.openSent, p.downSent = s, p.applied+1, 0, false, false
	return true
}

func (p *pipeline) detach(s Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream == s {
		p.stream = nil
	}
	p.parked = false
}

// take returns the next item for the stream: OriginOpen until it is applied here, then batches, at last OriginDown where it is wanted. Without one, the
// sender is parked and wake tells it to come again. over is set when the stream's boot has ended.
func (p *pipeline) take(s Stream) (item []byte, b *batch, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parked = false
	switch {
	case p.stream != s:
		return nil, nil, true
	case !p.open && !p.openSent:
		p.openSent, p.everSent, p.openedAt = true, true, p.age()
		return fsm.AppendOriginOpen(nil, p.origin), nil, false
	case p.open:
		if b = p.nextBatch(); b != nil {
			b.sends++
			b.sending = true
			p.pos = b.seq + 1
			return b.item, b, false
		}
		if p.wantDown && !p.downSent {
			p.downSent = true
			return fsm.AppendOriginDown(nil, p.origin), nil, false
		}
	}
	p.parked = true
	return nil, nil, false
}

// nextBatch is the one at the stream's position, cut now if need be: what waits is collected until the stream can take it.
func (p *pipeline) nextBatch() *batch {
	if len(p.window) > 0 {
		if at := p.pos - p.window[0].seq; at < uint64(len(p.window)) {
			return p.window[at]
		}
	}
	if p.mayCut() {
		return p.cut()
	}
	return nil
}

// sent says that Send has returned; b is nil for items that are no batches.
func (p *pipeline) sent(b *batch) {
	if b == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b.sending = false
	p.recycle(b)
}

// unpark wakes the sender if it waits.
func (p *pipeline) unpark() {
	if p.parked {
		p.parked = false
		notify(p.wake)
	}
}
