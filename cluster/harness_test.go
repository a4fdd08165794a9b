package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is the bound of every wait; a test that needs it has failed.
const patience = 30 * time.Second

// testNode is a group with its machine. It can be stopped and started on the same folder and ports.
type testNode struct {
	t       *testing.T
	name    string
	cfg     Config
	group   *Group
	machine *testMachine
}

// testCluster is some nodes on loopback.
type testCluster struct {
	t     *testing.T
	nodes []*testNode
}

func testConfig(t *testing.T, name string) Config {
	cfg := Default()
	cfg.NodeID, cfg.DataDir = name, filepath.Join(t.TempDir(), name)
	cfg.PeerAddr, cfg.GossipAddr = "127.0.0.1:0", "127.0.0.1:0"
	cfg.AMQPAddr, cfg.HTTPAddr, cfg.Version = "amqp-of-"+name, "http-of-"+name, "test"
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: name, Level: logLevel(), Output: os.Stderr})
	cfg.Fatal = func(err error) { t.Errorf("%s: fatal: %v", name, err) }
	return cfg
}

func logLevel() hclog.Level {
	if l := os.Getenv("TEST_LOG"); l != "" {
		return hclog.LevelFromString(l)
	}
	return hclog.Off
}

// newCluster prepares n nodes that found a cluster together, on ports that are reserved for a moment and then theirs.
func newCluster(t *testing.T, n int, adjust func(*Config)) *testCluster {
	c := &testCluster{t: t}
	var join []string
	for i := range n {
		cfg := testConfig(t, fmt.Sprintf("n%d", i+1))
		cfg.PeerAddr, cfg.GossipAddr = freeAddr(t), freeAddr(t)
		join = append(join, cfg.GossipAddr)
		c.nodes = append(c.nodes, &testNode{t: t, name: cfg.NodeID, cfg: cfg})
	}
	for _, x := range c.nodes {
		x.cfg.BootstrapExpect = n
		if n > 1 {
			x.cfg.Join = join
		}
		if adjust != nil {
			adjust(&x.cfg)
		}
	}
	t.Cleanup(c.stop)
	return c
}

// freeAddr is free for TCP and UDP. It lies below the range from which the kernel takes ports for outgoing connections and for port 0: what is free there
// stays free until somebody asks for that very port.
func freeAddr(t *testing.T) string {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		p, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			p.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

func (c *testCluster) start() *testCluster {
	c.t.Helper()
	var wg sync.WaitGroup
	for _, x := range c.nodes {
		wg.Go(x.start)
	}
	wg.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
	return c
}

func (c *testCluster) stop() {
	var wg sync.WaitGroup
	for _, x := range c.nodes {
		wg.Go(x.stop)
	}
	wg.Wait()
}

func (x *testNode) start() {
	x.machine = newTestMachine()
	g, err := Open(x.cfg, x.machine)
	if err != nil {
		x.t.Errorf("%s: %v", x.name, err)
		return
	}
	x.group = g
}

func (x *testNode) stop() {
	if x.group == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.group.Close(ctx); err != nil {
		x.t.Errorf("%s: closing: %v", x.name, err)
	}
	x.group = nil
}

// until waits for a condition that follows from what the machine has been told.
func (x *testNode) until(what string, ok func() bool) {
	x.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		x.machine.mu.Lock()
		changed := x.machine.changed
		x.machine.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			x.t.Fatalf("%s: %s: not within %v", x.name, what, patience)
		}
	}
}

// applied waits until the node has applied items with these payloads, among others.
func (x *testNode) applied(payloads ...string) {
	x.t.Helper()
	x.until(fmt.Sprint("applying ", len(payloads), " items"), func() bool {
		have := x.machine.view().Items
		for _, p := range payloads {
			if !slices.Contains(have, p) {
				return false
			}
		}
		return true
	})
}

// awaitLeadership waits until ok holds of what a group knows of the leader.
func awaitLeadership(t *testing.T, g *Group, ok func(Leadership) bool) Leadership {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		l, changed := g.Leadership()
		if ok(l) {
			return l
		}
		select {
		case <-changed:
		case <-deadline.C:
			t.Fatalf("%s: leadership is %+v after %v", g.Self(), l, patience)
		}
	}
}

// leader waits until the running nodes agree on a leader that is ready.
func (c *testCluster) leader() *testNode {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		var leader *testNode
		agreed := true
		var first Leadership
		for _, x := range c.running() {
			l := awaitLeadership(c.t, x.group, func(l Leadership) bool { return l.Server != "" })
			if first.Server == "" {
				first = l
			}
			agreed = agreed && l.Server == first.Server && l.Term == first.Term
			if l.Server == x.group.Self() {
				leader = x
				awaitLeadership(c.t, x.group, func(l Leadership) bool { return l.Self || l.Server != x.group.Self() })
			}
		}
		if agreed && leader != nil {
			if l, _ := leader.group.Leadership(); l.Self {
				return leader
			}
		}
		_, changed := c.running()[0].group.Leadership()
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond): // another node's view changes
		}
	}
	c.t.Fatal("no leader")
	return nil
}

func (c *testCluster) running() (out []*testNode) {
	for _, x := range c.nodes {
		if x.group != nil {
			out = append(out, x)
		}
	}
	return out
}

func (c *testCluster) follower() *testNode {
	leader := c.leader()
	for _, x := range c.running() {
		if x != leader {
			return x
		}
	}
	c.t.Fatal("no follower")
	return nil
}

// stream opens a stream from a node, as an origin does: again until it succeeds.
func (x *testNode) stream() *Stream {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		l, changed := x.group.Leadership()
		s, err := x.group.OpenStream(ctx)
		if err == nil {
			return s
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			x.t.Fatalf("%s: no stream: %v (leadership %+v)", x.name, err, l)
		}
	}
}

func (x *testNode) send(s *Stream, from, to uint64) (payloads []string) {
	x.t.Helper()
	for n := from; n <= to; n++ {
		p := fmt.Sprintf("%s-%d", x.name, n)
		if err := s.Send(testItem(x.name, n, p)); err != nil {
			x.t.Fatalf("%s: sending %d: %v", x.name, n, err)
		}
		payloads = append(payloads, p)
	}
	return payloads
}
