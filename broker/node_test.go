package broker

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/triagemq/triagemq/broker/memory"
	"github.com/triagemq/triagemq/fsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door is a Handler that remembers.
type door struct {
	mu      sync.Mutex
	effects []fsm.Effect
	flushes int
	ended   string
	blocked []string
}

func (d *door) Effect(e *fsm.Effect) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.effects = append(d.effects, *e)
}

func (d *door) Flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flushes++
}

func (d *door) End(code fsm.Code, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended != "" || code != fsm.Forced {
		panic("ended twice, or with another code")
	}
	d.ended = text
}

func (d *door) Blocked(reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked = append(d.blocked, reason)
}

func (d *door) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.blocked)
}

func (d *door) end() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended
}

func (d *door) count(kind fsm.EffectKind, command fsm.CommandKind) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.effects {
		if e.Kind == kind && (command == 0 || e.Command == command) {
			n++
		}
	}
	return n
}

// inCluster runs f with three nodes whose log moves by itself and whose first node leads; keep-alives pass every half second.
func inCluster(t *testing.T, nodes int, f func(t *testing.T, c *memCluster)) {
	inClusterOf(t, nodes, memConfig, f)
}

func inClusterOf(t *testing.T, nodes int, cfg func(int) Config, f func(t *testing.T, c *memCluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newMemCluster(t, nodes, cfg)
		defer c.close()
		defer c.live()()
		synctest.Wait()
		c.step.Lock()
		c.elect(0, 0)
		c.step.Unlock()
		time.Sleep(5 * time.Second)
		f(t, c)
	})
}

func session(t *testing.T, n *Node) (*Session, *door) {
	t.Helper()
	d := &door{}
	s, err := n.OpenSession(t.Context(), SessionSpec{VHost: "/", User: "guest", Name: "test"}, d)
	must(t, err)
	must(t, s.Submit(t.Context(), (&fsm.OpenChannel{Ref: ref(s)}).Append(nil)))
	return s, d
}

func ref(s *Session) fsm.Ref { return fsm.Ref{Conn: s.Conn(), Channel: 1, Incarnation: 1} }

func publish(t *testing.T, s *Session, confirm uint64) {
	t.Helper()
	p := fsm.Publish{Ref: ref(s), RoutingKey: []byte("q"), Properties: []byte{0, 0}, Confirm: confirm, Body: []byte("hello")}
	must(t, s.Submit(t.Context(), p.Append(nil)))
}

func (c *memCluster) logLen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.log)
}

func TestSessionLife(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		n := c.nodes[1].node
		if err := n.Ready(); err != nil {
			t.Fatal(err)
		}
		s, d := session(t, n)
		must(t, s.Submit(t.Context(), (&fsm.DeclareQueue{Ref: ref(s), Name: "q", Durable: true}).Append(nil)))
		for k := range uint64(10) {
			publish(t, s, k+1)
		}
		time.Sleep(time.Second)
		if got := d.count(fsm.Published, 0); got != 10 {
			t.Errorf("%d confirms, want 10", got)
		}
		if d.flushes == 0 || d.flushes > 12 {
			t.Errorf("%d flushes for 12 commands", d.flushes)
		}
		if q, ok := c.nodes[2].node.Queue("/", "q"); !ok || q.Ready != 10 {
			t.Errorf("queue on another node: %+v", q)
		}
		if got := n.Counters().Confirmed.Load(); got != 10 {
			t.Errorf("counted %d confirms, want 10", got)
		}
		time.Sleep(5 * time.Second) // the Mark that follows a second of quiet, and its Verify, are in
		before := c.logLen()
		again := (&fsm.DeclareQueue{Ref: ref(s), Name: "q", Durable: true}).Append(nil)
		reply, ok, err := s.Probe(t.Context(), again)
		if err != nil || !ok || reply.Queue != "q" || reply.Count != 10 {
			t.Errorf("probe: %+v, %v, %v", reply, ok, err)
		}
		if _, ok, err := s.Probe(t.Context(), (&fsm.DeclareQueue{Ref: ref(s), Name: "other"}).Append(nil)); err != nil || ok {
			t.Errorf("probe of a declare that changes something: %v, %v", ok, err)
		}
		if c.logLen() != before {
			t.Error("a probe wrote to the log")
		}
		s.Close(t.Context())
		s.Close(t.Context())
		if err := s.Submit(t.Context(), again); !errors.Is(err, ErrSessionOver) {
			t.Errorf("submit after close: %v", err)
		}
		if d.end() != "" || len(n.Sessions()) != 0 {
			t.Errorf("after close: end %q, sessions %v", d.end(), n.Sessions())
		}
	})
}

func TestProbeSeesWhatWasSubmittedBefore(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		s, _ := session(t, c.nodes[2].node)
		for range 50 {
			must(t, s.Submit(t.Context(), (&fsm.DeclareQueue{Ref: ref(s), Name: "q", Durable: true, NoWait: true}).Append(nil)))
			publish(t, s, 0)
			must(t, s.Submit(t.Context(), (&fsm.PurgeQueue{Ref: ref(s), Name: "q", NoWait: true}).Append(nil)))
			if _, ok, err := s.Probe(t.Context(), (&fsm.Get{Ref: ref(s), Queue: "q", NoAck: true}).Append(nil)); err != nil || !ok {
				t.Fatalf("get of a queue that was purged before: ok %v, %v", ok, err)
			}
			publish(t, s, 0)
			if _, ok, err := s.Probe(t.Context(), (&fsm.Get{Ref: ref(s), Queue: "q", NoAck: true}).Append(nil)); err != nil || ok {
				t.Fatalf("get of a queue that was published to before: ok %v, %v", ok, err)
			}
		}
	})
}

func TestOpenSessionRefused(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *memCluster) {
		n := c.nodes[0].node
		var refusal *Refusal
		if _, err := n.OpenSession(t.Context(), SessionSpec{VHost: "nowhere"}, &door{}); !errors.As(err, &refusal) || refusal.Code != fsm.NotAllowed {
			t.Errorf("open in a virtual host that does not exist: %v", err)
		}
		n.applyMu.Lock()
		defer n.applyMu.Unlock()
		if len(n.sessions) != 0 {
			t.Error("a refused session stays")
		}
	})
}

func TestOperate(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		n := c.nodes[1].node
		create := func(ref fsm.Ref) fsm.Command { return &fsm.PutVHost{Ref: ref, Name: "v"} }
		if _, err := n.Operate(t.Context(), create); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.nodes[2].node.Counts().VHosts; got != 2 {
			t.Errorf("%d virtual hosts on another node, want 2", got)
		}
		missing := func(ref fsm.Ref) fsm.Command { return &fsm.DeleteVHost{Ref: ref, Name: "missing"} }
		var refusal *Refusal
		if _, err := n.Operate(t.Context(), missing); !errors.As(err, &refusal) || refusal.Code != fsm.NotFound {
			t.Errorf("deleting a virtual host that does not exist: %v", err)
		}
		c.step.Lock()
		c.depose(0)
		c.step.Unlock()
		done := make(chan error)
		go func() {
			_, err := n.Operate(t.Context(), missing)
			done <- err
		}()
		if err := <-done; !errors.Is(err, ErrOutcomeUnknown) {
			t.Errorf("a call whose node is cut off: %v", err)
		}
	})
}

// TestIdle: a cluster that nobody uses writes nothing and disconnects nobody.
func TestIdle(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		_, d := session(t, c.nodes[1].node)
		time.Sleep(10 * time.Second)
		before := c.logLen()
		time.Sleep(20 * time.Minute)
		if after := c.logLen(); after != before {
			t.Errorf("%d entries in an idle hour", after-before)
		}
		if d.end() != "" {
			t.Errorf("disconnected: %s", d.end())
		}
	})
}

// TestHalfDead: without a leader a node keeps its clients for ten seconds and no longer, refuses new ones, and serves again when there is one.
func TestHalfDead(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		n := c.nodes[1].node
		_, idle := session(t, n)
		time.Sleep(5 * time.Second)
		c.step.Lock()
		c.depose(0)
		c.step.Unlock()
		time.Sleep(7 * time.Second)
		if idle.end() != "" {
			t.Error("clients closed too early")
		}
		if err := n.Ready(); !errors.Is(err, errNoLeader) {
			t.Errorf("ready without a leader: %v", err)
		}
		time.Sleep(5 * time.Second)
		if !strings.Contains(idle.end(), "majority") {
			t.Errorf("clients not closed: %q", idle.end())
		}
		if _, err := n.OpenSession(t.Context(), SessionSpec{VHost: "/"}, &door{}); !errors.Is(err, ErrNotAccepting) {
			t.Errorf("open at a node that is cut off: %v", err)
		}
		_, opened := n.Accepting()
		c.step.Lock()
		c.elect(2, 0)
		c.step.Unlock()
		<-opened
		session(t, n)
	})
}

// TestStalledBatch: a leader that answers and commits nothing is as good as none.
func TestStalledBatch(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		s, busy := session(t, c.nodes[1].node)
		_, idle := session(t, c.nodes[2].node)
		time.Sleep(time.Second)
		c.stalled.Store(true)
		publish(t, s, 1)
		time.Sleep(9 * time.Second)
		if busy.end() != "" {
			t.Error("clients closed too early")
		}
		time.Sleep(3 * time.Second)
		if busy.end() == "" || idle.end() != "" {
			t.Errorf("the node with a batch that does not apply: %q; the idle one: %q", busy.end(), idle.end())
		}
		if err := s.Submit(t.Context(), nil); !errors.Is(err, ErrSessionOver) {
			t.Errorf("submit: %v", err)
		}
		c.stalled.Store(false)
		notify(c.kick)
		time.Sleep(time.Second)
		if err := c.nodes[1].node.Ready(); err != nil {
			t.Error(err)
		}
		if got := busy.count(fsm.Published, 0); got != 0 {
			t.Errorf("%d confirms after the end", got)
		}
	})
}

// TestNodeDown: the leader closes the origin of a node that is silent for 15 s, not earlier, and the sessions there end.
func TestNodeDown(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		session(t, c.nodes[2].node)
		session(t, c.nodes[1].node)
		c.step.Lock()
		c.nodes[2].setUp(false)
		c.nodes[2].cancel()
		c.step.Unlock()
		<-c.nodes[2].done
		open := func() (n int) {
			for _, o := range origins(c.nodes[0].node) {
				if o.Open {
					n++
				}
			}
			return n
		}
		time.Sleep(13 * time.Second)
		if open() != 3 {
			t.Error("closed too early")
		}
		time.Sleep(5 * time.Second)
		if open() != 2 || len(c.nodes[0].node.Sessions()) != 1 {
			t.Errorf("%d origins open, sessions %v", open(), c.nodes[0].node.Sessions())
		}
	})
}

// TestNodeGone: what a majority finds gone is closed at once, and its consumers' messages go to others; what nobody finds gone is left alone.
func TestNodeGone(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		session(t, c.nodes[2].node)
		session(t, c.nodes[1].node)
		leader := c.nodes[0].node
		open := func() (n int) {
			for _, o := range origins(leader) {
				if o.Open {
					n++
				}
			}
			return n
		}
		c.step.Lock()
		c.nodes[2].setUp(false)
		c.nodes[2].cancel()
		c.step.Unlock()
		<-c.nodes[2].done
		leader.Lost(c.nodes[2].id)
		time.Sleep(2 * time.Second)
		if open() != 3 {
			t.Error("closed although nobody found it gone")
		}
		c.mu.Lock()
		c.gone[c.nodes[2].id], c.gone[c.nodes[1].id] = true, true // of node 2 the leader hears
		c.mu.Unlock()
		leader.Lost(c.nodes[1].id)
		leader.Lost(c.nodes[2].id)
		time.Sleep(time.Second) // a look may be under way, between two tries
		if open() != 2 || len(leader.Sessions()) != 1 {
			t.Errorf("%d origins open, sessions %v", open(), leader.Sessions())
		}
	})
}

// TestNodeGoneBeforeTheTerm: a new leader looks after all that its predecessors left open, the one before it above all.
func TestNodeGoneBeforeTheTerm(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		session(t, c.nodes[0].node)
		c.step.Lock()
		c.mu.Lock()
		c.gone[c.nodes[0].id] = true
		c.mu.Unlock()
		c.crash(0)
		c.elect(1, 0)
		c.step.Unlock()
		time.Sleep(100 * time.Millisecond)
		for _, o := range origins(c.nodes[1].node) {
			if o.Node == c.nodes[0].id && o.Open {
				t.Error("the origin of the leader that died is open")
			}
		}
	})
}

func origins(n *Node) (out []fsm.OriginInfo) {
	n.View(func(s *fsm.State) { out = s.Origins() })
	return out
}

// TestAlarm: an alarm of any node holds the publishers of all, and nothing else.
func TestAlarm(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		s, d := session(t, c.nodes[1].node)
		must(t, s.Submit(t.Context(), (&fsm.DeclareQueue{Ref: ref(s), Name: "q", Durable: true}).Append(nil)))
		publish(t, s, 1)
		must(t, s.Submit(t.Context(), (&fsm.Get{Ref: ref(s), Queue: "q"}).Append(nil)))
		must(t, s.AwaitPublish(t.Context()))
		c.nodes[2].resident.Store(1 << 60)
		time.Sleep(3 * time.Second)
		if blocked := d.told(); !slices.Equal(blocked, []string{"low on memory"}) {
			t.Errorf("told %q", blocked)
		}
		waited := make(chan error, 1)
		go func() { waited <- s.AwaitPublish(t.Context()) }()
		must(t, s.Submit(t.Context(), (&fsm.Ack{Ref: ref(s), Tag: 1}).Append(nil)))
		time.Sleep(time.Second)
		if q, _ := c.nodes[0].node.Queue("/", "q"); q.Held != 0 || q.Ready != 0 {
			t.Errorf("the ack did not flow: %+v", q)
		}
		select {
		case <-waited:
			t.Error("a publisher went on during the alarm")
		default:
		}
		_, late := session(t, c.nodes[0].node)
		time.Sleep(100 * time.Millisecond)
		if told := late.told(); !slices.Equal(told, []string{"low on memory"}) {
			t.Errorf("a new session was told %q", told)
		}
		c.nodes[2].resident.Store(0)
		must(t, <-waited)
		time.Sleep(time.Second)
		if told := d.told(); told[len(told)-1] != "" {
			t.Errorf("told %q in the end", told)
		}
	})
}

// TestAlarmIsToldAtOnce: not with the next keep-alive, and whoever leads next does not forget it.
func TestAlarmIsToldAtOnce(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		time.Sleep(time.Second)
		held := func() (all []bool) {
			for _, m := range c.nodes[:2] {
				free, _ := m.node.flow.gate.state()
				all = append(all, !free)
			}
			return all
		}
		c.nodes[2].resident.Store(1 << 60)
		notify(c.nodes[2].node.meter.grown)
		time.Sleep(10 * time.Millisecond)
		if got := held(); !slices.Equal(got, []bool{true, true}) {
			t.Fatalf("nodes that hold publishers: %v", got)
		}
		c.step.Lock()
		c.depose(0)
		c.elect(1, 0)
		c.step.Unlock()
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			if got := held(); !slices.Equal(got, []bool{true, true}) {
				t.Fatalf("after a change of the leader, nodes that hold publishers: %v", got)
			}
		}
		c.nodes[2].resident.Store(0)
		time.Sleep(5 * time.Second)
		if got := held(); !slices.Equal(got, []bool{false, false}) {
			t.Fatalf("in the end, nodes that hold publishers: %v", got)
		}
	})
}

// TestMarks: within a second of quiet all replicas have a digest of the same Mark, and it is the same.
func TestMarks(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		s, _ := session(t, c.nodes[1].node)
		for k := range uint64(3) {
			publish(t, s, k+1)
			time.Sleep(1100 * time.Millisecond)
			status := c.nodes[2].node.ClusterStatus(t.Context())
			if status.Leader != "n1" || len(status.Nodes) != 3 {
				t.Fatalf("status %+v", status)
			}
			for _, n := range status.Nodes {
				if n.Digest != status.Nodes[0].Digest || n.Digest.Index < uint64(c.logLen())-2 {
					t.Errorf("digests differ or are old: %+v of %d entries", status.Nodes, c.logLen())
				}
			}
		}
		time.Sleep(2 * time.Second)
		if _, v := c.nodes[1].node.flow.leaderAlarms(); v == 0 {
			t.Error("nobody says that a majority agrees")
		}
	})
}

// TestVerdicts: an outvoted node ends, one without a majority holds publishers until a majority agrees.
func TestVerdicts(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		n := c.nodes[1]
		index := markOf(n.node).Index
		a, b := fsm.DigestReport{Node: "a", Hash: [16]byte{1}}, fsm.DigestReport{Node: "b", Hash: [16]byte{2}}
		must(t, c.nodes[0].Propose(t.Context(), fsm.AppendVerify(nil, index, 3, []fsm.DigestReport{a, b})))
		s, _ := session(t, n.node)
		if open, _ := n.node.flow.gate.state(); open {
			t.Error("publishers go on without a majority")
		}
		publish(t, s, 1) // a change, so a Mark and a comparison follow
		time.Sleep(5 * time.Second)
		if open, _ := n.node.flow.gate.state(); !open {
			t.Error("publishers are held although a majority agrees again")
		}
		b.Hash = a.Hash
		must(t, c.nodes[0].Propose(t.Context(), fsm.AppendVerify(nil, markOf(n.node).Index, 3, []fsm.DigestReport{a, b})))
		time.Sleep(time.Second)
		if n.fatalError() == nil {
			t.Error("an outvoted node goes on")
		}
	})
}

func markOf(n *Node) DigestStatus { return n.status().Digest }

// TestStatusJSON keeps the shape that scripts rely on.
func TestStatusJSON(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		c.nodes[2].setCut(true)
		b, err := json.Marshal(c.nodes[0].node.ClusterStatus(t.Context()))
		must(t, err)
		var got map[string]any
		must(t, json.Unmarshal(b, &got))
		nodes := got["nodes"].([]any)
		states := ""
		for _, n := range nodes {
			m := n.(map[string]any)
			states += m["state"].(string) + " "
			for _, key := range []string{"id", "voter", "amqp", "http", "peer", "applied_index", "digest"} {
				if _, ok := m[key]; !ok {
					t.Errorf("%s is missing in %s", key, b)
				}
			}
		}
		if got["leader"] != "n1" || got["term"] != 1.0 || states != "leader follower unreachable " {
			t.Errorf("status %s", b)
		}
	})
}

// TestTick: work that is due gets a Tick, work that is not gets none.
func TestTick(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		s, d := session(t, c.nodes[1].node)
		must(t, s.Submit(t.Context(), (&fsm.DeclareQueue{Ref: ref(s), Name: "q", Durable: true}).Append(nil)))
		publish(t, s, 1)
		consume := fsm.Consume{Ref: ref(s), Queue: "q", Tag: "c", GrantMessages: 10, GrantBytes: 1 << 20}
		must(t, s.Submit(t.Context(), consume.Append(nil)))
		time.Sleep(10 * time.Second)
		before := c.logLen()
		time.Sleep(29 * time.Minute)
		if got := c.logLen() - before; got != 0 {
			t.Errorf("%d entries before the consumer's time-out", got)
		}
		time.Sleep(2 * time.Minute)
		if d.count(fsm.ChannelFailed, 0)+d.count(fsm.ConsumerCancelled, 0) != 1 {
			t.Errorf("the consumer's time-out did not fire: %+v", d.effects)
		}
		if got := c.logLen() - before; got > 4 {
			t.Errorf("%d entries for one time-out", got)
		}
	})
}

// TestTicksContinue: what one entry could not finish is gone on with at once, a Tick an entry.
func TestTicksContinue(t *testing.T) {
	unchecked := func(i int) Config {
		cfg := memConfig(i)
		cfg.CheckState = false
		return cfg
	}
	inClusterOf(t, 3, unchecked, func(t *testing.T, c *memCluster) {
		s, _ := session(t, c.nodes[1].node)
		must(t, s.Submit(t.Context(), (&fsm.DeclareQueue{Ref: ref(s), Name: "q", Durable: true}).Append(nil)))
		for range 45_000 {
			publish(t, s, 0)
		}
		time.Sleep(10 * time.Second)
		before := c.logLen()
		must(t, s.Submit(t.Context(), (&fsm.DeleteQueue{Ref: ref(s), Name: "q"}).Append(nil)))
		time.Sleep(200 * time.Millisecond)
		if got := c.logLen() - before; got != 5 {
			t.Errorf("%d entries for a queue of 45,000 messages, want the command and 4 Ticks", got)
		}
		c.nodes[0].node.View(func(st *fsm.State) {
			if left := st.Stats().Entries; left != 0 {
				t.Errorf("%d messages are left", left)
			}
		})
	})
}

func TestStopLeader(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		n := c.nodes[0].node
		s, d := session(t, n)
		publish(t, s, 1)
		start := time.Now()
		must(t, n.Stop(t.Context()))
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("took %v", took)
		}
		if d.count(fsm.Published, 0) != 1 {
			t.Error("what was sent before was not confirmed")
		}
		if !strings.Contains(d.end(), "shutdown") {
			t.Errorf("ended with %q", d.end())
		}
		if c.leads() == 0 {
			t.Error("it leads still")
		}
		time.Sleep(time.Second)
		for _, o := range origins(c.nodes[1].node) {
			if o.Node == c.nodes[0].id && (o.Open || o.Boot != 1) {
				t.Errorf("its origin: %+v", o)
			}
		}
		if err := s.Submit(t.Context(), nil); !errors.Is(err, ErrSessionOver) {
			t.Errorf("submit: %v", err)
		}
		if _, err := n.OpenSession(t.Context(), SessionSpec{VHost: "/"}, &door{}); !errors.Is(err, ErrNotAccepting) {
			t.Errorf("open: %v", err)
		}
	})
}

// TestStopIsBounded: alone, without a leader, with a log that stalls, before Run and twice.
func TestStopIsBounded(t *testing.T) {
	bounded := func(t *testing.T, n *Node) {
		t.Helper()
		start := time.Now()
		err := n.Stop(t.Context())
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v (%v)", took, err)
		}
	}
	t.Run("alone", func(t *testing.T) {
		inCluster(t, 1, func(t *testing.T, c *memCluster) {
			session(t, c.nodes[0].node)
			bounded(t, c.nodes[0].node)
			if origins(c.nodes[0].node)[0].Open {
				t.Error("its origin is open")
			}
			bounded(t, c.nodes[0].node)
		})
	})
	t.Run("no leader", func(t *testing.T) {
		inCluster(t, 3, func(t *testing.T, c *memCluster) {
			s, d := session(t, c.nodes[1].node)
			c.step.Lock()
			c.depose(0)
			c.step.Unlock()
			publish(t, s, 1)
			bounded(t, c.nodes[1].node)
			if d.end() == "" {
				t.Error("its clients were not told")
			}
		})
	})
	t.Run("before run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n, err := New(memConfig(0))
			must(t, err)
			bounded(t, n)
		})
	})
}

func TestConfigValidate(t *testing.T) {
	cfg := Default()
	must(t, cfg.Validate())
	err := (&Config{}).Validate()
	if err == nil || strings.Count(err.Error(), "\n") < 5 {
		t.Errorf("an empty configuration: %v", err)
	}
}

func TestAlarmHysteresis(t *testing.T) {
	cfg := Default()
	cfg.DiskFreeLowBytes = 1000
	n, err := New(cfg)
	must(t, err)
	var a alarms
	for _, step := range []struct {
		own, group, free int64
		want             alarms
	}{
		{1000, 0, 1000, 0}, {1001, 0, 999, alarmMemory | alarmDisk}, {999, 0, 1099, alarmMemory | alarmDisk}, {-1, 0, -1, alarmMemory | alarmDisk},
		{950, 0, 1099, alarmDisk}, {950, 0, 1100, 0},
		{100, 1700, -1, 0}, {100, 1701, -1, alarmMemory}, {100, 1601, -1, alarmMemory}, {100, 1600, -1, 0},
	} {
		m := measurement{memory: memory.Usage{OwnBytes: step.own, GroupUsedBytes: step.group, GroupLimitBytes: 2000}, watermarkBytes: 1000, freeBytes: step.free}
		if a = n.judge(a, &m, 0); a != step.want {
			t.Errorf("%+v: %v", step, a)
		}
	}
	if m := n.meter.last.Load(); m.memory.OwnBytes < 1<<20 || m.watermarkBytes < 100<<20 || diskFreeBytes(t.TempDir()) < 1 {
		t.Errorf("figures of this machine are missing: %+v", m)
	}
}
