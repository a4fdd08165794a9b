package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// reign is this node's time as the leader of one term, from its barrier to the first doubt. Everything that was admitted belongs to it and ends with it:
// what a closed reign still had in its queue is sent again by its origins, from what they have applied, on their next streams. A reign never resumes: where
// raft leads on after an error or a transfer that failed, another reign of the same term begins.
type reign struct {
	g    *Group
	raft *raft.Raft
	term uint64
	over chan struct{} // closed when it ends
	idle chan struct{} // closed when nothing more is proposed
	gone chan struct{} // closed when Machine.Follow has returned

	pilots sync.WaitGroup

	wake chan struct{} // for the proposer; capacity 1

	mu      sync.Mutex // guards what follows
	ready   bool       // Machine.Lead has returned
	ended   bool
	cause   string
	queue   []item
	bytes   int64         // in queue
	space   chan struct{} // closed, and replaced, when the queue shrinks
	intakes map[string]*intake
	going   map[string]bool // servers that are being removed: their streams are refused
	heardAt map[string]time.Time

	notices map[raft.ServerID]*noticeSender // the proposer's
	since   time.Time                       // when it began
}

// reignPause keeps a leader whose proposals fail at once from spinning.
const reignPause = 50 * time.Millisecond

func newReign(g *Group, r *raft.Raft, term uint64) *reign {
	return &reign{
		g: g, raft: r, term: term,
		over: make(chan struct{}), idle: make(chan struct{}), gone: make(chan struct{}), wake: make(chan struct{}, 1), space: make(chan struct{}),
		intakes: map[string]*intake{}, going: map[string]bool{}, heardAt: map[string]time.Time{}, notices: map[raft.ServerID]*noticeSender{},
		since: time.Now(),
	}
}

// run is the life of a reign; it is also the proposer.
func (r *reign) run() {
	defer r.g.poke()
	defer close(r.gone)
	ctx, cancel := context.WithCancel(r.g.ctx)
	defer cancel()
	led, err := r.lead(ctx)
	r.end(causeOf(err))
	close(r.idle)
	cancel()
	r.pilots.Wait()
	if led {
		r.g.machine.Follow()
		r.g.log.Info("no longer leading", "term", r.term, "cause", r.endCause())
	}
	if err != nil {
		select {
		case <-time.After(reignPause):
		case <-r.g.ctx.Done():
		}
	}
}

// lead proposes until the reign is over. led says that the Machine was told to lead.
func (r *reign) lead(ctx context.Context) (led bool, err error) {
	if err := r.barrier(); err != nil {
		return false, err
	}
	r.g.machine.Lead(r.term)
	r.open()
	r.g.poke()
	r.g.log.Info("leading", "term", r.term)
	r.pilots.Go(func() { r.fly(ctx) })
	return true, r.propose()
}

func causeOf(err error) string {
	if err == nil {
		return "over"
	}
	return err.Error()
}

var errOtherTerm = errors.New("leading another term by now")

// barrier returns when this node's machine has applied everything that earlier leaders committed.
func (r *reign) barrier() error {
	if err := r.raft.Barrier(0).Error(); err != nil {
		return err
	}
	if r.raft.CurrentTerm() != r.term || r.raft.State() != raft.Leader {
		return errOtherTerm
	}
	return nil
}

// open begins to admit, unless the reign has ended meanwhile.
func (r *reign) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = !r.ended
}

// admits reports whether items are admitted now.
func (r *reign) admits() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}

// end closes all streams and drops the queue. The first cause stays.
func (r *reign) end(cause string) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return
	}
	r.ended, r.ready, r.cause = true, false, cause
	queue := r.queue
	r.queue, r.bytes = nil, 0
	for _, in := range r.intakes {
		in.endLocked("the leader's reign is over: " + cause)
	}
	close(r.over)
	r.mu.Unlock()
	for _, it := range queue {
		it.free(r.g)
	}
	r.g.poke()
}

func (r *reign) endCause() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause
}

func (r *reign) isGone() bool {
	select {
	case <-r.gone:
		return true
	default:
		return false
	}
}

func (r *reign) heard(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heardAt[server] = time.Now()
}

// watchLeadership follows raft: it begins and ends reigns, ends a stream whose term is over, and publishes what Leadership tells.
func (g *Group) watchLeadership() {
	tick := time.NewTicker(leadershipTick)
	defer tick.Stop()
	for g.ctx.Err() == nil {
		g.followRaft()
		select {
		case <-g.raftEvents: // an observation is a hint to look, so losing one behind another does no harm
		case <-g.poked:
		case <-tick.C:
		case <-g.ctx.Done():
		}
	}
}

// leadershipTick is for the hint that did get lost.
const leadershipTick = 200 * time.Millisecond

func (g *Group) followRaft() {
	in := g.instance()
	leader, term, leads := in.leadership()
	if leads {
		leader = g.self
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.reign; r != nil {
		if !leads || term != r.term {
			r.end("leadership lost")
		}
		if r.isGone() {
			g.reign = nil
		}
	}
	if g.reign == nil && leads && g.halts == 0 && g.ctx.Err() == nil {
		g.reign = newReign(g, in.raft, term)
		g.wg.Go(g.reign.run)
	}
	g.publishLocked(Leadership{Server: leader, Term: term, Self: g.reign != nil && g.reign.admits()})
}

// publishLocked tells those who wait on Leadership, and ends a stream to a leader or of a term that is over. A leader that is unknown for a moment does not
// end it: keep-alives judge the stream meanwhile.
func (g *Group) publishLocked(l Leadership) {
	if s := g.stream; s != nil && (l.Term != s.term || l.Server != "" && l.Server != s.leader) {
		s.end("the leader changed")
		g.stream = nil
	}
	if l == g.lead {
		return
	}
	g.lead = l
	close(g.leadChanged)
	g.leadChanged = make(chan struct{})
}

// halt ends the reign, waits until nothing more is proposed and keeps another from beginning until resume. It does not wait for Machine.Follow: the
// leader's duties, which Follow waits for, are among those that hand leadership over.
func (g *Group) halt() {
	g.mu.Lock()
	g.halts++
	r := g.reign
	g.mu.Unlock()
	if r != nil {
		r.end("handing over")
		<-r.idle
	}
}

func (g *Group) resume() {
	g.mu.Lock()
	g.halts--
	g.mu.Unlock()
	g.poke()
}

func (g *Group) poke() {
	select {
	case g.poked <- struct{}{}:
	default:
	}
}

// readyReign is the reign in which this node admits items; nil when there is none.
func (g *Group) readyReign() *reign {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reign != nil && g.reign.admits() {
		return g.reign
	}
	return nil
}

// heard notes a sign of life of a server.
func (g *Group) heard(server string) {
	g.mu.Lock()
	r := g.reign
	g.mu.Unlock()
	if r != nil {
		r.heard(server)
	}
}
