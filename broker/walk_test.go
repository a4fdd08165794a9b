package broker

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

var (
	walkSeed = flag.Uint64("walk.seed", 0, "replay one random walk")
	walkRuns = flag.Int("walk.runs", 150, "random walks")
)

// walk drives a cluster of three nodes through random steps, faults among them, and judges what gets into the log.
//
//  1. No command applies twice; the commands of a connection apply in order, without gaps.
//  2. What was confirmed is in the committed log.
//  3. Once faults stop, every node opens, and every client gets its confirms, well before the half-dead rule could help.
//  4. A message is applied at most 1 + (closings of its connection while it was unconfirmed) times.
type walk struct {
	c       *memCluster
	rng     *rand.Rand
	clients []*walkClient
	stops   map[int]chan struct{}

	mu       sync.Mutex // guards what follows: handlers may be called by the node's own goroutines
	why      string     // the first violation
	twin     map[string]*fsm.OriginInfo
	due      map[int]int // per connection: next command due
	applied  map[int]int // per message
	closings map[int]int // per message
	uids     int
	messages int
}

// walkClient publishes with confirms, again what was unconfirmed when its connection closed.
type walkClient struct {
	w       *walk
	left    int   // new messages it may still publish
	again   []int // messages to be published once more
	conn    *walkConn
	waiting bool // OpenSession is under way
}

// walkConn is one connection as its client sees it, and its Handler.
type walkConn struct {
	client  *walkClient
	uid     int
	node    int
	session *Session
	sent    []int // messages
	acked   int
	over    bool
}

func (w *walk) fail(format string, a ...any) {
	if w.why == "" {
		w.why = fmt.Sprintf(format, a...)
	}
}

func (h *walkConn) Effect(e *fsm.Effect) {
	w := h.client.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Kind != fsm.Published || h.over {
		return
	}
	if int(e.Confirm) != h.acked+1 {
		w.fail("connection %d: confirm of %d after %d", h.uid, e.Confirm, h.acked)
	}
	if w.due[h.uid] < int(e.Confirm) {
		w.fail("2: command %d of connection %d confirmed, but not in the committed log", e.Confirm, h.uid)
	}
	h.acked = int(e.Confirm)
}

func (h *walkConn) Flush()               {}
func (h *walkConn) Blocked(string)       {}
func (h *walkConn) End(fsm.Code, string) { h.lost() }

// lost is what a client does when its connection ends.
func (h *walkConn) lost() {
	w := h.client.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.over {
		return
	}
	h.over = true
	for _, m := range h.sent[h.acked:] {
		w.closings[m]++
		h.client.again = append(h.client.again, m)
	}
	if h.client.conn == h {
		h.client.conn = nil
	}
}

// connect opens a session in the background.
func (c *walkClient) connect(i int) {
	w := c.w
	w.mu.Lock()
	w.uids++
	h := &walkConn{client: c, uid: w.uids, node: i}
	c.waiting = true
	w.mu.Unlock()
	node := w.c.nodes[i].node
	go func() {
		s, err := node.OpenSession(context.Background(), SessionSpec{VHost: "/", User: "guest", Name: strconv.Itoa(h.uid)}, h)
		if err == nil {
			ref := fsm.Ref{Conn: s.Conn(), Channel: 1, Incarnation: 1}
			setup := (&fsm.OpenChannel{Ref: ref}).Append(nil)
			setup = (&fsm.DeclareQueue{Ref: ref, Name: "q", Durable: true}).Append(setup)
			err = s.Submit(context.Background(), setup)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		c.waiting = false
		if err == nil && !h.over {
			h.session = s
			c.conn = h
		}
	}()
}

// publish sends one message.
func (c *walkClient) publish() {
	w := c.w
	w.mu.Lock()
	h := c.conn
	var m int
	if len(c.again) > 0 {
		m, c.again = c.again[0], c.again[1:]
	} else {
		w.messages++
		m = w.messages
		c.left--
	}
	idx := len(h.sent)
	h.sent = append(h.sent, m)
	w.mu.Unlock()
	body := fmt.Sprintf("U%d:I%d:M%d;", h.uid, idx, m)
	p := fsm.Publish{
		Ref: fsm.Ref{Conn: h.session.Conn(), Channel: 1, Incarnation: 1}, RoutingKey: []byte("q"), Properties: []byte{0, 0},
		Confirm: uint64(idx + 1), Body: []byte(body + strings.Repeat("x", w.rng.IntN(3000))),
	}
	if err := h.session.Submit(context.Background(), p.Append(nil)); err != nil {
		h.lost()
	}
}

func (c *walkClient) canPublish() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.conn != nil && (c.left > 0 || len(c.again) > 0)
}

func (c *walkClient) wantsConn() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.conn == nil && !c.waiting && (c.left > 0 || len(c.again) > 0)
}

func (c *walkClient) settled() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.left == 0 && len(c.again) == 0 && !c.waiting && (c.conn == nil || c.conn.acked == len(c.conn.sent))
}

var walkMark = regexp.MustCompile(`U(\d+):I(\d+):M(\d+);`)

// committed judges an entry with a twin of the rule for origins.
func (w *walk) committed(e memEntry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := e.data[9:]; len(rest) > 0; {
		size := 5 + int(binary.BigEndian.Uint32(rest[1:]))
		item := rest[:size]
		rest = rest[size:]
		if o, seq, ok := fsm.BatchOrigin(item); ok {
			w.batch(item, o, seq)
			continue
		}
		w.lifecycle(item)
	}
}

func (w *walk) batch(item []byte, o fsm.Origin, seq uint64) {
	t := w.twin[o.Node]
	if t == nil || !t.Open || t.Boot != o.Boot || seq != t.Last+1 {
		return
	}
	t.Last = seq
	for _, m := range walkMark.FindAllSubmatch(item, -1) {
		uid, _ := strconv.Atoi(string(m[1]))
		idx, _ := strconv.Atoi(string(m[2]))
		msg, _ := strconv.Atoi(string(m[3]))
		if due := w.due[uid]; idx != due {
			w.fail("1: connection %d: command %d applied where %d was due", uid, idx, due)
		}
		w.due[uid] = idx + 1
		if w.applied[msg]++; w.applied[msg] > 1+w.closings[msg] {
			w.fail("4: message %d applied %d times after %d closings", msg, w.applied[msg], w.closings[msg])
		}
	}
}

// lifecycle recognises OriginOpen and OriginDown by writing those that can occur.
func (w *walk) lifecycle(item []byte) {
	w.c.mu.Lock()
	boots := map[string]uint64{}
	for id, b := range w.c.boots {
		boots[id] = b
	}
	w.c.mu.Unlock()
	for id, highest := range boots {
		for b := uint64(1); b <= highest; b++ {
			o := fsm.Origin{Node: id, Boot: b}
			t := w.twin[id]
			switch string(item) {
			case string(fsm.AppendOriginOpen(nil, o)):
				if t == nil || b > t.Boot {
					w.twin[id] = &fsm.OriginInfo{Origin: o, Open: true}
				}
			case string(fsm.AppendOriginDown(nil, o)):
				if t != nil && t.Boot == b {
					t.Open = false
				}
			}
		}
	}
}

func newWalk(t testing.TB, seed uint64, mutant string) *walk {
	w := &walk{
		rng: rand.New(rand.NewPCG(seed, 1)), stops: map[int]chan struct{}{}, twin: map[string]*fsm.OriginInfo{},
		due: map[int]int{}, applied: map[int]int{}, closings: map[int]int{},
	}
	w.c = newMemCluster(t, 3, walkConfig)
	w.c.mutant, w.c.onCommit = mutant, w.committed
	for range 4 {
		w.clients = append(w.clients, &walkClient{w: w, left: 12})
	}
	return w
}

// act takes one random step; false means that it was not possible now.
func (w *walk) act() bool {
	c, r := w.c, w.rng
	i := r.IntN(3)
	m := c.nodes[i]
	switch k := r.IntN(100); {
	case k < 16:
		for _, cl := range w.clients {
			if cl.wantsConn() && m.up && m.node.phase() == phaseLive {
				cl.connect(i)
				return true
			}
		}
		return false
	case k < 36:
		cl := w.clients[r.IntN(len(w.clients))]
		if !cl.canPublish() {
			return false
		}
		cl.publish()
	case k < 48:
		c.mu.Lock()
		streams := slices.Clone(c.streams)
		c.mu.Unlock()
		return len(streams) > 0 && c.read(streams[r.IntN(len(streams))])
	case k < 58:
		return c.propose(1 + r.IntN(3))
	case k < 68:
		return c.commit()
	case k < 88:
		return m.applyOne()
	case k < 93:
		c.step.Unlock()
		time.Sleep(time.Duration(1+r.IntN(300)) * time.Millisecond)
		c.step.Lock()
	default:
		return w.fault(r.IntN(16), i)
	}
	return true
}

func (w *walk) fault(k, i int) bool {
	c, r := w.c, w.rng
	m := c.nodes[i]
	switch k {
	case 0, 1, 2:
		if !m.up || m.cut || w.stopping(i) {
			return false
		}
		c.elect(i, r.IntN(3))
	case 3:
		c.depose(r.IntN(3))
	case 4, 5:
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.streams) == 0 {
			return false
		}
		s := c.streams[r.IntN(len(c.streams))]
		if s.endUpOrLo(r.IntN(2) == 0); !s.up && !s.lo {
			return false
		}
	case 6, 7: // raft.Apply fails for the head; what follows may be proposed before anyone notices
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.leader < 0 || len(c.queue) == 0 {
			return false
		}
		c.queue = c.queue[1:]
		c.failed = true
	case 8, 9:
		return c.noticeFailure()
	case 10:
		if w.stopping(i) {
			return false
		}
		if m.up {
			c.crash(i)
		} else {
			c.start(i)
		}
	case 11, 12:
		j := r.IntN(3)
		return i != j && c.restore(i, j)
	case 13:
		return w.suspect(m)
	case 14:
		if c.leader == i || w.stopping(i) {
			return false
		}
		c.mu.Lock()
		m.cut = !m.cut
		c.changeAll()
		c.mu.Unlock()
	case 15:
		if r.IntN(3) > 0 || !m.up || w.stopping(i) || m.node.phase() != phaseLive {
			return false
		}
		w.sigterm(i)
	}
	return true
}

// endUpOrLo breaks a stream at one end; the other end notices later. Called with c.mu held.
func (s *memStream) endUpOrLo(up bool) {
	if up {
		s.endUp()
		return
	}
	s.lo, s.buf = false, nil
	close(s.moved)
	s.moved = make(chan struct{})
}

// noticeFailure is what the leader does on an error of raft.Apply.
func (c *memCluster) noticeFailure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.failed {
		return false
	}
	c.failed = false
	if c.mutant != "NoClear" {
		c.queue = nil
	}
	c.closeStreams()
	return true
}

// suspect proposes OriginDown of a node's boot, rightly or wrongly.
func (w *walk) suspect(m *memNode) bool {
	w.mu.Lock()
	t := w.twin[m.id]
	w.mu.Unlock()
	w.c.mu.Lock()
	l := w.c.leader
	w.c.mu.Unlock()
	if t == nil || !t.Open || l < 0 {
		return false
	}
	return w.c.nodes[l].Propose(context.Background(), fsm.AppendOriginDown(nil, t.Origin)) == nil
}

func (w *walk) stopping(i int) bool { return w.stops[i] != nil }

func (w *walk) sigterm(i int) {
	done := make(chan struct{})
	w.stops[i] = done
	node := w.c.nodes[i].node
	go func() {
		defer close(done)
		node.Stop(context.Background())
	}()
}

// reap ends processes whose Stop has returned.
func (w *walk) reap() {
	for i, done := range w.stops {
		select {
		case <-done:
			delete(w.stops, i)
			w.c.crash(i)
		default:
		}
	}
}

// rounds takes fair steps, without faults, for at most this long, until done.
func (w *walk) rounds(bound time.Duration, done func() bool) bool {
	c := w.c
	for end := time.Now().Add(bound); time.Now().Before(end); {
		c.step.Lock()
		w.reap()
		for i, m := range c.nodes {
			if !m.up {
				c.start(i)
			}
		}
		c.noticeFailure()
		w.notice()
		if c.leader < 0 {
			w.electAny()
		}
		c.turn()
		for k, cl := range w.clients {
			if m := c.nodes[k%3]; cl.wantsConn() && m.node.phase() == phaseLive && !w.stopping(k%3) {
				cl.connect(k % 3)
			}
			for cl.canPublish() {
				cl.publish()
			}
		}
		c.step.Unlock()
		synctest.Wait()
		if done() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func (w *walk) electAny() {
	for i := range w.c.nodes {
		if !w.stopping(i) {
			w.c.elect(i, 0)
			return
		}
	}
}

// notice heals the network and ends streams that are open at one end only, as keep-alives do.
func (w *walk) notice() {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	healed := false
	for _, m := range c.nodes {
		healed = healed || m.cut
		m.cut = false
	}
	if healed {
		c.changeAll()
	}
	for _, s := range c.streams {
		if !s.lo || !s.up {
			s.endUp()
		}
	}
}

// stuck says what is missing once all should be well.
func (w *walk) stuck() string {
	for _, m := range w.c.nodes {
		if err := m.node.Ready(); err != nil {
			return fmt.Sprintf("3: node %s: %v", m.id, err)
		}
		if _, any := m.node.pipe.oldest(); any {
			return "3: batches never apply"
		}
	}
	for k, cl := range w.clients {
		if !cl.settled() {
			return fmt.Sprintf("3: client %d waits for ever", k)
		}
	}
	return ""
}

// walkConfig leaves every step to the walk: a seed must give the same walk again.
func walkConfig(i int) Config {
	cfg := memConfig(i)
	cfg.firstUser = false
	return cfg
}

// run is a whole walk; it returns what went wrong.
func (w *walk) run(steps int) string {
	synctest.Wait()
	w.c.elect(0, 0)
	for range steps {
		w.c.step.Lock()
		w.reap()
		for tries := 0; tries < 10 && !w.act(); tries++ {
		}
		w.c.step.Unlock()
		synctest.Wait()
		w.mu.Lock()
		why := w.why
		w.mu.Unlock()
		if why != "" {
			return why
		}
	}
	w.rounds(time.Minute, func() bool { return len(w.stops) == 0 })
	for _, cl := range w.clients { // one publish more on every node proves that it serves
		cl.left++
	}
	if !w.rounds(9*time.Second, func() bool { return w.stuck() == "" }) && w.why == "" {
		return w.stuck()
	}
	return w.why
}

func randomWalk(t *testing.T, seed uint64, mutant string) (why string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWalk(t, seed, mutant)
		why = w.run(400)
		w.tally()
		w.c.mutant = ""
		w.c.close()
	})
	return why
}

// TestOriginProtocol walks at random through the protocol of origins, batches and streams, with every fault that it must survive.
func TestOriginProtocol(t *testing.T) {
	if *walkSeed != 0 {
		if why := randomWalk(t, *walkSeed, ""); why != "" {
			t.Fatal(why)
		}
		return
	}
	for seed := range *walkRuns {
		if why := randomWalk(t, uint64(seed)+1, ""); why != "" {
			t.Fatalf("-walk.seed %d: %s", seed+1, why)
		}
	}
	t.Logf("%d walks: %+v", *walkRuns, walked)
	if walked.twice == 0 || walked.gaps == 0 || walked.boots < 5**walkRuns || walked.applied < 40**walkRuns {
		t.Errorf("the walks do not reach what they are to test: %+v", walked)
	}
}

// walked counts what all walks met.
var walked struct{ entries, applied, twice, closings, boots, gaps int }

func (w *walk) tally() {
	walked.entries += len(w.c.log)
	for m, k := range w.applied {
		walked.applied += k
		if k > 1 {
			walked.twice++
		}
		walked.closings += w.closings[m]
	}
	for _, b := range w.c.boots {
		walked.boots += int(b)
	}
	for _, m := range w.c.nodes {
		walked.gaps += int(m.node.counters.Gaps.Load())
	}
}

// TestMutants keeps the walk honest: it must catch what breaks the protocol.
func TestMutants(t *testing.T) {
	for _, mutant := range []string{"NoResend", "OpenOnce", "DropOpen", "StreamOnce", "RestoreKeep"} {
		t.Run(mutant, func(t *testing.T) {
			for seed := range uint64(300) {
				if why := randomWalk(t, seed+1, mutant); why != "" {
					t.Logf("seed %d: %s", seed+1, why)
					return
				}
			}
			t.Error("not caught")
		})
	}
}
