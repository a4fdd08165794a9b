package cluster

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/triagemq/triagemq/transport/mux"
)

// trustOf demands secrets that are these names made long enough.
func trustOf(t *testing.T, names ...string) *mux.Trust {
	t.Helper()
	trust, err := mux.NewTrust(secretsOf(names...))
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func secretsOf(names ...string) (c mux.Credentials) {
	for _, n := range names {
		if n != "" {
			c.Secrets = append(c.Secrets, []byte(n+", a secret of this test"))
		}
	}
	return c
}

func TestInstallKeys(t *testing.T) {
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	ring, err := memberlist.NewKeyring([][]byte{key('1')}, key('1'))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", "12", "21", "2", "23", "321", "132", "4", "43", "51342", "35", "5"} {
		var keys [][]byte
		for _, b := range []byte(want) {
			keys = append(keys, key(b))
		}
		before := slices.Clone(ring.GetKeys())
		seen := ring.GetKeys() // as a reader holds it
		if err := installKeys(ring, keys); err != nil {
			t.Fatal(err)
		}
		if got := ring.GetKeys(); !slices.EqualFunc(got, keys, bytes.Equal) {
			t.Errorf("%s: %d keys, or another order", want, len(got))
		}
		if !slices.EqualFunc(before, seen, bytes.Equal) {
			t.Errorf("%s: what a reader held was altered", want)
		}
	}
}

// TestTheSecretIsReplacedInARunningCluster goes through the documented steps, one node after the other, while items are sent: the same leader leads all the
// time, and at the end the old secret opens nothing.
func TestTheSecretIsReplacedInARunningCluster(t *testing.T) {
	c := newCluster(t, 3, nil)
	trusts := map[*testNode]*mux.Trust{}
	for _, x := range c.nodes {
		trusts[x] = trustOf(t, "old")
		x.cfg.Trust = trusts[x]
		// Every connection is made anew six times, and nobody may stand for election meanwhile, on a machine that is busy with other tests too.
		x.cfg.HeartbeatTimeout, x.cfg.ElectionTimeout, x.cfg.LeaseTimeout = 2*time.Second, 2*time.Second, 2*time.Second
	}
	c.start()
	leader := c.leader()
	before, _ := leader.group.Leadership()
	follower := c.follower()
	next := uint64(1)
	for _, step := range [][]string{{"old", "new"}, {"new", "old"}, {"new"}} {
		for _, x := range c.nodes {
			if err := trusts[x].Replace(secretsOf(step...)); err != nil {
				t.Fatal(err)
			}
			sent := follower.send(follower.stream(), next, next+9) // a stream that rests on a secret that is gone is opened anew
			next += 10
			for _, y := range c.nodes {
				y.applied(sent...)
			}
		}
	}
	if after, _ := leader.group.Leadership(); after.Term != before.Term || after.Server != before.Server {
		t.Errorf("leadership went from %+v to %+v", before, after)
	}
	for _, x := range c.nodes {
		if n := len(x.group.Members()); n != 3 {
			t.Errorf("%s knows %d members", x.name, n)
		}
		if keys := gossipKeys(trusts[x]); len(keys) != 1 || !bytes.Equal(keys[0], mux.DeriveKey([]byte("new, a secret of this test"), "gossip")) {
			t.Errorf("%s has %d gossip keys", x.name, len(keys))
		}
	}
}

// TestSealedConnectionsAreKept: a connection that a secret seals serves more than one call, as a plain one does: a handshake costs more than most calls.
func TestSealedConnectionsAreKept(t *testing.T) {
	c := newCluster(t, 2, nil)
	for _, x := range c.nodes {
		x.cfg.Trust = trustOf(t, "one")
	}
	c.start()
	c.leader()
	from, to := c.nodes[0].group, c.nodes[1].group.Self()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	first, err := from.dial(ctx, to, mux.ProtocolCall)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for range 3 {
		if _, whole, err := exchange(ctx, first, callReadIndex, nil); !whole {
			t.Fatal(err)
		}
		if !quiet(first.Conn) {
			t.Fatal("a sealed connection that is idle is taken for one that has ended")
		}
	}
	if err := c.nodes[1].group.port.Close(); err != nil {
		t.Fatal(err)
	}
	c.eventually("the end of the connection is seen", func() bool { return !quiet(first.Conn) })
}
