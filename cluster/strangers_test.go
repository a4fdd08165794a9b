package cluster

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"github.com/triagemq/triagemq/testing/certs"
	"github.com/triagemq/triagemq/transport/mux"
)

// lines collects a node's log.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// count is the number of lines with all of these words.
func (l *lines) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.buf.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		n++
	}
	return n
}

func (l *lines) logger(name string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Warn, Output: l})
}

// TestTwoClustersWhoseListsOverlap: two clusters on loopback, without secrets, whose --join lists were mixed up: both say so, once, and go on as if the other
// were not there.
func TestTwoClustersWhoseListsOverlap(t *testing.T) {
	var clusters [2]*testCluster
	for i := range clusters {
		clusters[i] = newCluster(t, 2, nil).start()
		clusters[i].leader()
		clusters[i].stop()
	}
	var told [2]lines
	for i, c := range clusters {
		for _, x := range c.nodes {
			x.cfg.Join = append(x.cfg.Join, clusters[1-i].nodes[0].cfg.GossipAddr)
			x.cfg.Logger = told[i].logger(x.name)
		}
	}
	for _, c := range clusters {
		c.start()
	}
	for i, c := range clusters {
		ids := []string{c.nodes[0].group.Cluster(), clusters[1-i].nodes[0].group.Cluster()}
		eventually(t, "a warning with both ids", func() bool { return told[i].count("kept out", "cluster="+ids[0], "other_cluster="+ids[1]) > 0 })
		sent := c.leader().send(c.leader().stream(), 1, 5)
		for _, x := range c.nodes {
			x.applied(sent...)
			if _, others := x.group.gossip.snapshot(); len(others) != 1 || others[0].Cluster != ids[0] {
				t.Errorf("%s of cluster %d counts %+v", x.name, i, others)
			}
			if n := len(x.group.Members()); n != 2 {
				t.Errorf("%s of cluster %d has %d members", x.name, i, n)
			}
		}
		if n := told[i].count("kept out"); n > len(c.nodes) {
			t.Errorf("cluster %d said it %d times", i, n)
		}
	}
}

// TestANewcomerBetweenTwoClusters knows members of both. It may end in one or in none; neither cluster learns of the other by it.
func TestANewcomerBetweenTwoClusters(t *testing.T) {
	a, b := newCluster(t, 1, nil).start().nodes[0], newCluster(t, 1, nil).start().nodes[0]
	var told lines
	between := newCluster(t, 1, func(cfg *Config) {
		cfg.BootstrapExpect, cfg.Join, cfg.Logger = 0, []string{a.cfg.GossipAddr, b.cfg.GossipAddr}, told.logger("between")
	}).start().nodes[0]
	eventually(t, "a warning", func() bool {
		return told.count("hears of more than one") > 0 || told.count("kept out", "other_cluster=") > 0
	})
	for _, way := range [][2]*testNode{{a, b}, {b, a}} {
		_, others := way[0].group.gossip.snapshot()
		for _, x := range others {
			if x.Server == way[1].group.Self() {
				t.Errorf("%s counts %s of the other cluster", way[0].group.Self(), x.Server)
			}
		}
	}
	if id := between.group.Cluster(); id != "" && id != a.group.Cluster() && id != b.group.Cluster() {
		t.Errorf("the newcomer is in cluster %q", id)
	}
}

// TestWhoCounts goes through what a node may hear of a server, and when.
func TestWhoCounts(t *testing.T) {
	node := func(server, cluster string) *memberlist.Node {
		meta := gossipMeta{Name: server, Cluster: cluster}
		b, err := meta.encode()
		if err != nil {
			t.Fatal(err)
		}
		return &memberlist.Node{Name: server, Addr: net.IPv4(127, 0, 0, 1), Port: 7, Meta: b}
	}
	var told lines
	m := &membership{log: told.logger("m"), self: gossipMeta{Server: "self"}, members: map[string]*gossipMember{}, changed: make(chan struct{}, 1)}
	hear := func(n *memberlist.Node) error {
		err := m.NotifyAlive(n)
		if err == nil {
			m.NotifyJoin(n)
		}
		return err
	}
	counted := func() string {
		_, others := m.snapshot()
		var names []string
		for _, x := range others {
			names = append(names, x.Server)
		}
		return strings.Join(names, " ")
	}
	expect := func(what, want string) {
		t.Helper()
		if got := counted(); got != want {
			t.Errorf("%s: %q count, want %q", what, got, want)
		}
	}
	for _, n := range []*memberlist.Node{node("fresh", ""), node("ours", "A"), node("theirs", "B")} {
		if err := hear(n); err != nil {
			t.Errorf("without a cluster: %v", err)
		}
	}
	expect("without a cluster all count", "fresh ours theirs")
	m.self.Cluster = "A"
	expect("those of the other cluster no more, once this node has one", "fresh ours")
	if err := hear(node("fresh", "B")); err == nil {
		t.Error("a server that joined the other cluster is believed")
	}
	expect("nor a server that joined the other cluster", "ours")
	if err := m.NotifyMerge([]*memberlist.Node{node("x", "B"), node("y", "")}); err != nil {
		t.Errorf("a neighbour who knows both: %v", err)
	}
	if err := m.NotifyMerge([]*memberlist.Node{node("x", "B"), node("y", "B")}); err == nil {
		t.Error("a neighbour of the other cluster alone is believed")
	}
	if n := told.count("cluster=A", "other_cluster=B"); n != 1 {
		t.Errorf("told %d times", n)
	}
	m.NotifyConflict(node("ours", "A"), node("ours", "A"))
	m.NotifyConflict(node("ours", "A"), node("ours", "A"))
	if n := told.count("copies of one data folder"); n != 1 {
		t.Errorf("a folder that runs twice was told %d times", n)
	}
}

func TestOtherSecretsAreTold(t *testing.T) {
	var told lines
	a := newCluster(t, 2, func(cfg *Config) { cfg.Trust, cfg.Logger = trustOf(t, "a"), told.logger("a") }).start()
	a.leader()
	newCluster(t, 2, func(cfg *Config) {
		cfg.Trust, cfg.Join = trustOf(t, "b"), append(cfg.Join, a.nodes[0].cfg.GossipAddr)
	}).start()
	eventually(t, "a warning", func() bool { return told.count("cannot decipher") > 0 })
	if _, others := a.nodes[0].group.gossip.snapshot(); len(others) != 1 {
		t.Errorf("%+v count", others)
	}
}

// certified is the credentials of a node of an authority.
func certified(t *testing.T, a *certs.Authority, secret string) *mux.Trust {
	t.Helper()
	c := secretsOf(secret)
	c.Certificates = &mux.Certificates{Own: a.Sign(certs.Template{}), Authorities: a.Pool()}
	trust, err := mux.NewTrust(c)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// TestACertifiedCluster: three nodes with certificates, with and without a secret, find each other, elect, notice a loss by gossip, and take the lost one back.
func TestACertifiedCluster(t *testing.T) {
	authority := certs.New(t)
	for _, secret := range []string{"", "s"} {
		t.Run("secret "+secret, func(t *testing.T) {
			c := newCluster(t, 3, func(cfg *Config) { cfg.Trust = certified(t, authority, secret) }).start()
			x := c.leader()
			sent := x.send(x.stream(), 1, 5)
			for _, y := range c.nodes {
				y.applied(sent...)
			}
			f := c.follower()
			f.stop()
			eventually(t, "the others notice", func() bool { _, others := x.group.gossip.snapshot(); return len(others) == 1 })
			f.start()
			eventually(t, "it is back", func() bool { _, others := x.group.gossip.snapshot(); return len(others) == 2 })
			f.applied(sent...)
			if c, err := net.ListenPacket("udp", f.group.GossipAddr()); err != nil {
				t.Errorf("UDP is bound on the gossip address: %v", err)
			} else {
				c.Close()
			}
		})
	}
}

// TestSealedGossipKeepsStrangersOut: no contact without a certificate, without the secret, or from another cluster.
func TestSealedGossipKeepsStrangersOut(t *testing.T) {
	ours, others := certs.New(t), certs.New(t)
	open := func(server, cluster string, trust *mux.Trust) *sealedGossip {
		t.Helper()
		g, err := openSealedGossip(mux.Config{
			Addr: "127.0.0.1:0", Trust: trust, Local: func() mux.Identity { return mux.Identity{Server: server, Cluster: cluster} }, Logger: hclog.NewNullLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Shutdown() })
		return g
	}
	home := open("home", "A", certified(t, ours, "s"))
	addr := fmt.Sprintf("127.0.0.1:%d", home.boundPort())
	for name, g := range map[string]*sealedGossip{
		"another authority": open("x", "A", certified(t, others, "s")),
		"another secret":    open("x", "A", certified(t, ours, "t")),
		"another cluster":   open("x", "B", certified(t, ours, "s")),
	} {
		if c, err := g.DialTimeout(addr, patience); err == nil {
			t.Errorf("%s: %v", name, c.RemoteAddr())
		}
		if _, err := g.WriteTo([]byte("datagram of "+name), addr); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	friend := open("friend", "A", certified(t, ours, "s"))
	if _, err := friend.WriteToAddress([]byte("for somebody else"), memberlist.Address{Addr: addr, Name: "elsewhere"}); err != nil {
		t.Error(err)
	}
	if _, err := friend.WriteToAddress([]byte("hello"), memberlist.Address{Addr: addr, Name: "home"}); err != nil {
		t.Error(err)
	}
	select {
	case p := <-home.PacketCh():
		if string(p.Buf) != "hello" {
			t.Errorf("%q came in", p.Buf)
		}
	case <-time.After(patience):
		t.Fatal("no datagram")
	}
	c, err := friend.DialTimeout(addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := <-home.StreamCh()
	defer in.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// TestGossipStreamsAreBounded: who opens streams and says nothing does not cost more than a bound.
func TestGossipStreamsAreBounded(t *testing.T) {
	conf := memberlist.DefaultLANConfig()
	conf.BindAddr, conf.BindPort = "127.0.0.1", 0
	g, err := openPlainGossip(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Shutdown()
	addr := fmt.Sprintf("127.0.0.1:%d", g.GetAutoBindPort())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var held []net.Conn
	for range gossipStreamsMax {
		dial()
		held = append(held, <-g.StreamCh())
	}
	tooMany := dial()
	if _, err := tooMany.Read(make([]byte, 1)); err == nil {
		t.Error("one too many is served")
	}
	held[0].Close()
	held[0].Close() // a second time gives nothing back
	dial()
	held = append(held, <-g.StreamCh())
	if len(g.slots) != gossipStreamsMax {
		t.Errorf("%d of %d slots are taken", len(g.slots), gossipStreamsMax)
	}
	for _, c := range held {
		c.Close()
	}
}

func FuzzReadPacket(f *testing.F) {
	f.Add([]byte{0, 3, 1, 2, 3})
	f.Add([]byte{0, 0})
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := readPacket(bytes.NewReader(b))
		if err == nil && (len(p) == 0 || len(p) > packetMax || !bytes.Equal(p, b[2:2+len(p)])) {
			t.Errorf("%d bytes of %d", len(p), len(b))
		}
	})
}
