//go:build ha

package system

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/certs"
	"github.com/triagemq/triagemq/testing/harness"
)

// logged waits until a line with these words stands so many times in a node's log.
func logged(t *testing.T, n *harness.Node, times int, words ...string) {
	t.Helper()
	check(t, harness.Poll(within(t, 60*time.Second), func() error {
		if got := countLines(t, n, words...); got < times {
			return fmt.Errorf("%s has %d of %d lines with %q", n.Name, got, times, words)
		}
		return nil
	}))
}

func countLines(t *testing.T, n *harness.Node, words ...string) (count int) {
	t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile(n.LogFile()))(t))) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			count++
		}
	}
	return count
}

const readAgain = "read the cluster secret and the peer certificates again"

// TestHASecretRotation replaces the cluster's secret under load, one node after the other, without a restart, as docs/security.md says. No client notices; then
// a node with the old secret is nobody's peer.
func TestHASecretRotation(t *testing.T) {
	files := nodeFiles{t.TempDir()}
	names := []string{"n1", "n2", "n3"}
	for _, name := range names {
		files.writeSecrets(t, name, "the old secret of this test\n")
	}
	c := harness.StartConfig(t, harness.Config{Nodes: 3, ArgsOf: func(name string) []string { return files.args(name, false) }})
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	progress(t, load, 500)
	steps := []string{
		"the old secret of this test\nthe new secret of this test\n",
		"the new secret of this test\nthe old secret of this test\n",
		"the new secret of this test\n",
	}
	for k, lines := range steps {
		for _, n := range c.Nodes {
			files.writeSecrets(t, n.Name, lines)
			logged(t, n, k+1, readAgain)
			progress(t, load, 200)
		}
	}
	if d := load.Ledger.Ended(); len(d) > 0 {
		t.Errorf("clients lost their connections: %+v", d)
	}
	// A restart with the old secret keeps that node out; with the new one it is back.
	late := c.Others(must(c.AwaitLeader(within(t, 30*time.Second)))(t))[0]
	late.Kill()
	files.writeSecrets(t, late.Name, "the old secret of this test\n")
	check(t, late.Start())
	logged(t, c.Others(late)[0], 1, "secrets differ")
	progress(t, load, 200)
	files.writeSecrets(t, late.Name, "the new secret of this test\n")
	check(t, c.AwaitReady(within(t, 60*time.Second), late))
	settle(t, c, load, late)
}

// settle ends a load and judges it; connections to the nodes named may have ended.
func settle(t *testing.T, c *harness.Cluster, load *harness.Load, excused ...*harness.Node) {
	t.Helper()
	load.StopPublishing()
	check(t, load.Drain(within(t, 60*time.Second)))
	check(t, c.AwaitEqualDigests(within(t, 60*time.Second)))
	for _, d := range load.Ledger.Ended() {
		if !slices.ContainsFunc(excused, func(n *harness.Node) bool { return n.Name == d.Node }) {
			t.Errorf("a connection to %s ended: %s", d.Node, d.Reason)
		}
	}
	judge(t, load)
}

// TestHACertificateRotation replaces the certificates, and then their authority, under load and without a restart. A half-written replacement changes nothing.
func TestHACertificateRotation(t *testing.T) {
	files, first, second := nodeFiles{t.TempDir()}, certs.New(t), certs.New(t)
	for _, name := range []string{"n1", "n2", "n3"} {
		files.writeSecrets(t, name, "a secret of this test\n")
		first.Files(files.of(name), certs.Template{})
	}
	c := harness.StartConfig(t, harness.Config{Nodes: 3, ArgsOf: func(name string) []string { return files.args(name, true) }})
	load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
	progress(t, load, 300)
	each := func(change func(dir string)) {
		t.Helper()
		for _, n := range c.Nodes {
			before := countLines(t, n, readAgain)
			change(files.of(n.Name))
			logged(t, n, before+1, readAgain)
			progress(t, load, 100)
		}
	}
	each(func(dir string) { first.Files(dir, certs.Template{}) }) // as short-lived certificates are renewed
	// The authority: both are trusted first, then certificates of the second are shown, then the first is trusted no more.
	each(func(dir string) { certs.Bundle(t, dir, first, second) })
	each(func(dir string) { second.Files(dir, certs.Template{}); certs.Bundle(t, dir, first, second) })
	each(func(dir string) { certs.Bundle(t, dir, second) })
	victim := c.Nodes[0]
	check(t, os.WriteFile(files.of(victim.Name)+"/cert.pem", []byte("half of a certificate"), 0o600))
	logged(t, victim, 1, "cannot be used")
	progress(t, load, 100)
	second.Files(files.of(victim.Name), certs.Template{}) // three files, one after the other: what does not fit together yet is not taken
	if d := load.Ledger.Ended(); len(d) > 0 {
		t.Errorf("clients lost their connections: %+v", d)
	}
	// Every connection anew, by the certificates that are there now.
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	leader.Kill()
	must(c.AwaitLeader(within(t, 30*time.Second), leader))(t)
	progress(t, load, 300)
	check(t, leader.Start())
	check(t, c.AwaitReady(within(t, 30*time.Second), leader))
	settle(t, c, load, leader)
}

// TestHATwoClusters runs two clusters on one machine without secrets, whose --join lists overlap by mistake: both say what is wrong, with both ids and not at
// every packet, neither counts a node of the other, and both serve.
func TestHATwoClusters(t *testing.T) {
	home := harness.Start(t, 3)
	other := harness.Start(t, 3)
	check(t, other.Terminate(within(t, 60*time.Second)))
	var ports []int
	var join []string
	for _, n := range other.Nodes {
		for _, addr := range []string{n.AMQP, n.HTTP, n.Peer, n.Gossip} {
			_, port, err := net.SplitHostPort(addr)
			check(t, err)
			ports = append(ports, must(strconv.Atoi(port))(t))
		}
		join = append(join, n.Gossip)
	}
	join = append(join, home.Nodes[0].Gossip, home.Nodes[1].Gossip)
	dir := strings.TrimSuffix(other.Nodes[0].Dir, "/n1")
	mixed := harness.StartConfig(t, harness.Config{Nodes: 3, Dir: dir, Ports: ports, Args: []string{"--join", strings.Join(join, ",")}})
	for _, n := range mixed.Nodes {
		logged(t, n, 1, "kept out", "cluster=", "other_cluster=")
	}
	logged(t, home.Nodes[0], 1, "kept out", "cluster=", "other_cluster=")
	for _, c := range []*harness.Cluster{home, mixed} {
		load := must(harness.StartLoad(t.Context(), harness.LoadConfig{Queue: "work", Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond}))(t)
		progress(t, load, 2000)
		settle(t, c, load)
		for _, n := range c.Nodes {
			if st := must(n.Status(t.Context()))(t); len(st.Nodes) != 3 {
				t.Errorf("%s has %d nodes: %+v", n.Name, len(st.Nodes), st.Nodes)
			}
			if got := countLines(t, n, "kept out"); got > 6 {
				t.Errorf("%s said it %d times", n.Name, got)
			}
		}
	}
}
