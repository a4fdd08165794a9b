// Package harness runs real TriageMQ nodes as processes on loopback for system tests, the demo and benchmarks: start, kill, pause, restart, and ask
// them what they know.
//
// It needs neither root nor fixed ports. A Cluster is used by one goroutine at a time unless a method says otherwise. Whatever it starts, Close ends.
package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// Config says what to run.
type Config struct {
	Binary string                     // path of the triagemq binary
	Dir    string                     // folder for data and logs
	Nodes  int                        // 1 to 9
	Args   []string                   // further flags of every node
	ArgsOf func(name string) []string // and of one by its name; nil: none
	Ports  []int                      // 4 per node (amqp, http, peer, gossip); empty: free ones
	Hosts  []Host                     // where each node runs; empty: this machine's loopback
	Login  string                     // user:password of clients, default guest:guest
}

// Host is a machine that a test made: an address, the command that runs a program there (`ip netns exec NAME`), and where a node keeps its data; "" is
// its folder in Config.Dir, which has its log in any case.
type Host struct {
	IP      string
	Run     []string
	DataDir string
}

// Cluster is a set of nodes.
type Cluster struct {
	Nodes []*Node
	cfg   Config
	added int // by AddNode
}

// Open lays a cluster out and starts its nodes; it does not wait for them.
func Open(cfg Config) (*Cluster, error) {
	if len(cfg.Ports) == 0 {
		ports, err := freePorts(4 * cfg.Nodes)
		if err != nil {
			return nil, err
		}
		cfg.Ports = ports
	}
	if cfg.Login == "" {
		cfg.Login = "guest:guest"
	}
	for len(cfg.Hosts) < cfg.Nodes {
		cfg.Hosts = append(cfg.Hosts, Host{IP: "127.0.0.1"})
	}
	c := &Cluster{cfg: cfg}
	var join []string
	for k := range cfg.Nodes {
		join = append(join, cfg.Hosts[k].addr(cfg.Ports[4*k+3]))
	}
	for k := range cfg.Nodes {
		p, h := cfg.Ports[4*k:], cfg.Hosts[k]
		n := &Node{Name: fmt.Sprintf("n%d", k+1), AMQP: h.addr(p[0]), HTTP: h.addr(p[1]), Peer: h.addr(p[2]), Gossip: h.addr(p[3]), Login: cfg.Login}
		n.command = append(append([]string{}, h.Run...), cfg.Binary)
		n.Dir = filepath.Join(cfg.Dir, n.Name)
		n.DataDir = n.Dir
		if h.DataDir != "" {
			n.DataDir = h.DataDir
		}
		n.args = []string{"server", "--node-id", n.Name, "--data-dir", n.DataDir, "--amqp-addr", n.AMQP, "--http-addr", n.HTTP, "--peer-addr", n.Peer, "--gossip-addr", n.Gossip}
		if cfg.Nodes > 1 {
			n.args = append(n.args, "--join", strings.Join(join, ","), "--bootstrap-expect", fmt.Sprint(cfg.Nodes))
		}
		n.args = append(n.args, cfg.Args...)
		if cfg.ArgsOf != nil {
			n.args = append(n.args, cfg.ArgsOf(n.Name)...)
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// AddNode lays out another node on this machine's loopback, which joins the cluster, and starts it. Its number is one more than the highest so far.
func (c *Cluster) AddNode() (*Node, error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	var join []string
	for _, n := range c.Nodes {
		join = append(join, n.Gossip)
	}
	c.added++
	h := Host{IP: "127.0.0.1"}
	n := &Node{Name: fmt.Sprintf("n%d", c.cfg.Nodes+c.added), AMQP: h.addr(ports[0]), HTTP: h.addr(ports[1]), Peer: h.addr(ports[2]), Gossip: h.addr(ports[3]), Login: c.cfg.Login}
	n.command = []string{c.cfg.Binary}
	n.Dir = filepath.Join(c.cfg.Dir, n.Name)
	n.args = append([]string{"server", "--node-id", n.Name, "--data-dir", n.Dir, "--amqp-addr", n.AMQP, "--http-addr", n.HTTP, "--peer-addr", n.Peer, "--gossip-addr", n.Gossip,
		"--join", strings.Join(join, ",")}, c.cfg.Args...)
	if err := n.Start(); err != nil {
		return nil, err
	}
	c.Nodes = append(c.Nodes, n)
	return n, nil
}

// RemoveNode has a node leave the cluster for good, waits until its process has ended and forgets it. Its folder stays.
func (c *Cluster) RemoveNode(ctx context.Context, n *Node) error {
	if err := n.Post(ctx, "/api/cluster/leave", struct{}{}); err != nil {
		return err
	}
	code, err := n.AwaitExit(ctx)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("%s left and ended with %d", n.Name, code)
	}
	c.Nodes = c.Others(n)
	return nil
}

// AwaitVoters waits until a node reports exactly the cluster's nodes as members, all of them reachable voters.
func (c *Cluster) AwaitVoters(ctx context.Context) error {
	return Poll(ctx, func() error {
		st, err := c.Nodes[0].Status(ctx)
		if err != nil {
			return err
		}
		if len(st.Nodes) != len(c.Nodes) {
			return fmt.Errorf("%d members, not %d: %+v", len(st.Nodes), len(c.Nodes), st.Nodes)
		}
		for _, s := range st.Nodes {
			if !s.Voter || s.State == "unreachable" {
				return fmt.Errorf("%s is %s, voter %v", s.ID, s.State, s.Voter)
			}
		}
		return nil
	})
}

func (h Host) addr(port int) string { return fmt.Sprintf("%s:%d", h.IP, port) }

// freePorts finds ports that nothing listens on, TCP or UDP. They lie below the range from which the kernel takes ports for outgoing connections and for
// port 0: what is free there stays free until somebody asks for that very port.
func freePorts(count int) (ports []int, err error) {
	var held []io.Closer
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for range 100 * count {
		addr := Host{IP: "127.0.0.1"}.addr(10000 + rand.IntN(20000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		held = append(held, l)
		p, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		held = append(held, p)
		if ports = append(ports, l.Addr().(*net.TCPAddr).Port); len(ports) == count {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("fewer than %d free ports", count)
}

// Close kills what still runs.
func (c *Cluster) Close() {
	for _, n := range c.Nodes {
		n.Kill()
	}
}

// Terminate sends SIGTERM to all nodes and waits for them.
func (c *Cluster) Terminate(ctx context.Context) error {
	var errs []error
	for _, n := range c.Nodes {
		n.signalTerm()
	}
	for _, n := range c.Nodes {
		errs = append(errs, n.awaitExit(ctx))
	}
	return errors.Join(errs...)
}

// Node returns a node by name.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Others returns all nodes but n.
func (c *Cluster) Others(n *Node) []*Node {
	var out []*Node
	for _, o := range c.Nodes {
		if o != n {
			out = append(out, o)
		}
	}
	return out
}

// Status is /api/cluster.
type Status struct {
	Leader       string `json:"leader"`
	Term         uint64 `json:"term"`
	FeatureLevel uint32 `json:"feature_level"` // 0 from a version that does not tell
	Nodes        []struct {
		ID      string `json:"id"`
		State   string `json:"state"`
		Voter   bool   `json:"voter"`
		AMQP    string `json:"amqp"`
		HTTP    string `json:"http"`
		Peer    string `json:"peer"`
		Applied uint64 `json:"applied_index"`
		Digest  struct {
			Index uint64 `json:"index"`
			Hash  string `json:"hash"`
		} `json:"digest"`
		Supported uint32 `json:"feature_level_supported"`
	} `json:"nodes"`
}

// Status asks one node about the cluster.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var st Status
	body, err := n.get(ctx, "/api/cluster")
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal(body, &st)
}

// AwaitReady waits until the given nodes (none: all) answer 200 on /readyz.
func (c *Cluster) AwaitReady(ctx context.Context, nodes ...*Node) error {
	if len(nodes) == 0 {
		nodes = c.Nodes
	}
	for _, n := range nodes {
		err := Poll(ctx, func() error {
			if !n.Running() {
				return fatal{fmt.Errorf("%s is not running; its log ends:\n%s", n.Name, n.LogTail(20))}
			}
			_, err := n.get(ctx, "/readyz")
			return err
		})
		if err != nil {
			return fmt.Errorf("%s does not get ready: %w", n.Name, err)
		}
	}
	return nil
}

// AwaitLeader waits until a running node other than those in not leads, and returns it.
func (c *Cluster) AwaitLeader(ctx context.Context, not ...*Node) (*Node, error) {
	var leader *Node
	err := Poll(ctx, func() error {
		for _, n := range c.Nodes {
			if !n.Running() || n.Paused() {
				continue
			}
			st, err := n.Status(ctx)
			if err != nil || st.Leader == "" {
				continue
			}
			leader = c.Node(st.Leader)
			if leader == nil || !leader.Running() || leader.Paused() {
				continue
			}
			for _, x := range not {
				if x == leader {
					return fmt.Errorf("%s still leads", leader.Name)
				}
			}
			return nil
		}
		return errors.New("no node knows of a leader")
	})
	return leader, err
}

// AwaitEqualDigests waits until all nodes report the same digest at the same index, taken after everything that was applied when it was called.
func (c *Cluster) AwaitEqualDigests(ctx context.Context) error {
	var least uint64
	for _, n := range c.Nodes {
		if st, err := n.Status(ctx); err == nil {
			for _, s := range st.Nodes {
				least = max(least, s.Applied)
			}
		}
	}
	return Poll(ctx, func() error {
		st, err := c.Nodes[0].Status(ctx)
		if err != nil {
			return err
		}
		if len(st.Nodes) != len(c.Nodes) {
			return fmt.Errorf("%d of %d nodes in the status", len(st.Nodes), len(c.Nodes))
		}
		// A Mark is an entry of its own, so the newest one may stand a few entries before the last applied index.
		first := st.Nodes[0].Digest
		for _, s := range st.Nodes {
			if s.State == "unreachable" || s.Digest.Hash == "" {
				return fmt.Errorf("%s reports no digest (%s)", s.ID, s.State)
			}
			if s.Digest.Index == first.Index && s.Digest.Hash != first.Hash {
				return fatal{fmt.Errorf("DIVERGED at index %d: %s has %s, %s has %s", first.Index, st.Nodes[0].ID, first.Hash, s.ID, s.Digest.Hash)}
			}
			if s.Digest != first || s.Digest.Index+16 < least {
				return fmt.Errorf("digests are not at one recent index yet: %+v", st.Nodes)
			}
		}
		return nil
	})
}

// fatal ends a Poll at once.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// Poll calls f every 20 ms until it returns nil, or ctx ends; it then returns f's last error.
func Poll(ctx context.Context, f func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil || errors.As(err, &fatal{}) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		}
	}
}

var client = http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
