package cluster

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestJoinListResolvesAnew(t *testing.T) {
	j := newJoinList([]string{"10.0.0.9:7946", "nodes.test:7946", "[::1]:1"})
	answers := [][]string{{"10.0.0.1", "10.0.0.2"}, {"10.0.0.3"}}
	j.lookup = func(_ context.Context, network, host string) (out []netip.Addr, err error) {
		if network != "ip4" || host != "nodes.test" {
			t.Errorf("asked for %s %s", network, host)
		}
		if len(answers) == 0 {
			return nil, errors.New("no such host")
		}
		for _, a := range answers[0] {
			out = append(out, netip.MustParseAddr(a))
		}
		answers = answers[1:]
		return out, nil
	}
	for _, want := range [][]string{
		{"10.0.0.9:7946", "10.0.0.1:7946", "10.0.0.2:7946", "[::1]:1"},
		{"10.0.0.9:7946", "10.0.0.3:7946", "[::1]:1"},
	} {
		if got, failed := j.addresses(t.Context(), "10.0.0.1:7946"); !slices.Equal(got, want) || len(failed) > 0 {
			t.Errorf("%v %v, want %v", got, failed, want)
		}
	}
	if got, failed := j.addresses(t.Context(), "10.0.0.1:7946"); len(got) != 2 || failed["nodes.test:7946"] == nil {
		t.Errorf("%v %v: the name does not resolve any more", got, failed)
	}
}

func TestJoinListAsksABalancerRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJoinList(nil)
		if !j.due("10.0.0.7:7946", false) {
			t.Error("not asked at first")
		}
		j.answered("10.0.0.7:7946")
		if j.due("10.0.0.7:7946", false) {
			t.Error("asked again at once")
		}
		if !j.due("10.0.0.7:7946", true) {
			t.Error("it is a member's by now, and that is not heard of")
		}
		time.Sleep(strangeAgain)
		if !j.due("10.0.0.7:7946", false) {
			t.Error("never asked again")
		}
	})
}

// TestJoinByName founds a cluster of nodes that know, and tell, each other by name.
func TestJoinByName(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.AdvertiseHost = "localhost"
		for i, addr := range cfg.Join {
			_, port, _ := net.SplitHostPort(addr)
			cfg.Join = slices.Clone(cfg.Join)
			cfg.Join[i] = net.JoinHostPort("localhost", port)
		}
	}).start()
	leader := c.leader()
	leader.applied(leader.send(leader.stream(), 1, 3)...)
	c.eventually("nobody to be dialled", func() bool {
		addrs, failed := leader.group.gossip.missing(t.Context())
		return len(addrs) == 0 && len(failed) == 0
	})
}
