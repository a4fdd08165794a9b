package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/triagemq/triagemq/transport/mux"
)

func TestFounders(t *testing.T) {
	view := hashView([]string{"a", "b", "c"})
	at := func(server string, change func(*gossipMeta)) gossipMeta {
		m := gossipMeta{Server: server, Expect: 3, View: view}
		if change != nil {
			change(&m)
		}
		return m
	}
	a, b, c := at("a", nil), at("b", nil), at("c", nil)
	for _, tt := range []struct {
		name   string
		self   gossipMeta
		others []gossipMeta
		drawn  bool
		want   bool
	}{
		{"all agree, the lowest acts", a, []gossipMeta{b, c}, false, true},
		{"not the lowest", b, []gossipMeta{a, c}, false, false},
		{"one is missing", a, []gossipMeta{b}, false, false},
		{"one too many", a, []gossipMeta{b, c, at("d", nil)}, false, false},
		{"one sees others", a, []gossipMeta{b, at("c", func(m *gossipMeta) { m.View++ })}, false, false},
		{"one expects others", a, []gossipMeta{b, at("c", func(m *gossipMeta) { m.Expect = 5 })}, false, false},
		{"one has state", a, []gossipMeta{b, at("c", func(m *gossipMeta) { m.HasState = true })}, false, false},
		{"this one has state", at("a", func(m *gossipMeta) { m.HasState = true }), []gossipMeta{b, c}, false, false},
		{"join alone", at("a", func(m *gossipMeta) { m.Expect = 0 }), nil, false, false},
		{"another founder has been there", a, []gossipMeta{b, at("c", func(m *gossipMeta) { m.Cluster = "x" })}, false, false},
		{"this one adopted another's cluster", at("a", func(m *gossipMeta) { m.Cluster = "x" }), []gossipMeta{b, c}, false, false},
		{"this one was interrupted", at("a", func(m *gossipMeta) { m.Cluster = "x" }), []gossipMeta{b, at("c", func(m *gossipMeta) { m.Cluster = "x" })}, true, true},
	} {
		if got := founders(tt.self, tt.others, tt.drawn) != nil; got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestThreeFoundOneClusterInAnyOrder(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.Trust = trustOf(t, "of the cluster") })
	rand.Shuffle(len(c.nodes), func(i, j int) { c.nodes[i], c.nodes[j] = c.nodes[j], c.nodes[i] })
	for _, x := range c.nodes {
		x.start()
	}
	x := c.leader()
	sent := x.send(x.stream(), 1, 5)
	drawn := 0
	for _, x := range c.nodes {
		x.applied(sent...) // and with it the configuration, which is before it in the log
		id, _ := x.group.dir.identity()
		if id.Drawn {
			drawn++
		}
		if id.Cluster == "" || id.Cluster != c.nodes[0].group.Cluster() {
			t.Errorf("%s is in cluster %q, %s in %q", x.name, id.Cluster, c.nodes[0].name, c.nodes[0].group.Cluster())
		}
		if n := len(x.group.Members()); n != 3 {
			t.Errorf("%s knows %d members", x.name, n)
		}
	}
	if drawn != 1 {
		t.Errorf("%d nodes founded a cluster", drawn)
	}
}

// TestJoinAloneFoundsNothing: a join list with the default number of founders is for a cluster that exists.
func TestJoinAloneFoundsNothing(t *testing.T) {
	for _, expect := range []int{0, 1} {
		cfg := testConfig(t, "n1")
		cfg.BootstrapExpect, cfg.Join = expect, []string{"127.0.0.1:1"}
		g, err := Open(cfg, newTestMachine())
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the first word about itself", func() bool { self, _ := g.gossip.snapshot(); return !self.HasState })
		g.gossip.poke()
		if g.hasState() || g.Cluster() != "" {
			t.Errorf("expect %d: a node that was to join founded a cluster", expect)
		}
		if _, err := g.OpenStream(context.Background()); !errors.Is(err, ErrNoLeader) {
			t.Errorf("a stream without a leader: %v", err)
		}
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestStrangersStayOut: another secret or another cluster gets neither into the gossip nor onto the peer port.
func TestStrangersStayOut(t *testing.T) {
	home := newCluster(t, 1, func(cfg *Config) { cfg.Trust = trustOf(t, "home") }).start().nodes[0]
	for name, secret := range map[string]string{"another cluster": "home", "another secret": "away"} {
		t.Run(name, func(t *testing.T) {
			stranger := newCluster(t, 1, func(cfg *Config) { cfg.Trust = trustOf(t, secret) }).start().nodes[0]
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_, err := stranger.group.port.Dial(ctx, home.group.PeerAddr(), mux.ProtocolForward, "")
			if !errors.Is(err, mux.ErrCluster) && !errors.Is(err, mux.ErrSecret) {
				t.Errorf("dialling: %v", err)
			}
			if _, err := stranger.group.gossip.list.Join([]string{home.group.GossipAddr()}); err == nil {
				t.Error("it joined the gossip")
			}
			for _, x := range []*testNode{home, stranger} {
				if _, others := x.group.gossip.snapshot(); len(others) != 0 {
					t.Errorf("%s counts %v as a member", x.name, others)
				}
			}
		})
	}
}

func TestConfigReportsEverythingAtOnce(t *testing.T) {
	cfg := Default()
	if err := cfg.Validate(); err != nil {
		t.Fatalf("the default: %v", err)
	}
	cfg.NodeID, cfg.DataDir, cfg.PeerAddr, cfg.LogStore, cfg.Fatal = "no spaces please", "", "0.0.0.0:7672", "paper", nil
	cfg.LeaseTimeout, cfg.Join = time.Hour, []string{"no port"}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, part := range []string{"node-id", "data-dir", "peer-addr", "secret", "paper", "Fatal", "lease", "join"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("nothing about %s in: %v", part, err)
		}
	}
	if _, err := Open(cfg, newTestMachine()); err == nil {
		t.Error("opened")
	}
}

func FuzzGossipMeta(f *testing.F) {
	m := gossipMeta{Server: "s", Name: "n1", Cluster: "c", Peer: "p:1", AMQP: "a:1", HTTP: "h:1", Version: "1", Boot: 1 << 40, Expect: 3, View: 7, HasState: true, LevelKnown: 3, Level: 2}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	if got, err := decodeGossipMeta("s", b); err != nil || got != m {
		f.Fatalf("%+v, %v; want %+v", got, err, m)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeGossipMeta("s", b)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			return // longer than gossip takes
		}
		if got, err := decodeGossipMeta("s", again); err != nil || got != m {
			t.Errorf("%+v came back as %+v, %v", m, got, err)
		}
	})
}

func TestCloseIsIdempotentAndEndsEverything(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	g := c.leader().group
	s := c.nodes[0].stream()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := g.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	c.nodes[0].group = nil
	awaitEnd(t, s)
	ctx := context.Background()
	if _, err := g.OpenStream(ctx); err == nil {
		t.Error("a stream opened")
	}
	if err := g.Propose(ctx, testItem("x", 1, "")); err == nil {
		t.Error("an item was admitted")
	}
	if _, err := g.ReadIndex(ctx); err == nil {
		t.Error("a read index was given")
	}
	if _, err := g.NextBoot(); err == nil {
		t.Error("a boot was drawn")
	}
}
