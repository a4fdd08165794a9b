package conformance

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// The ports that clients take unless told otherwise.
const (
	StandardPort     = 5672
	StandardHTTPPort = 15672
)

// firstPort is the first of the nodes' own ports, four a node.
const firstPort = 25600

// World is what a suite runs against: a cluster of its own, with a balancer in front of it on the standard ports.
type World struct {
	Cluster *harness.Cluster
	Cache   *Cache
	Dir     string    // a temporary folder
	Front   *Balancer // AMQP
	Logf    func(format string, a ...any)

	http    *Balancer
	chaotic bool // Chaos was called
	control *control
}

// OpenWorld starts three nodes and waits until they are ready. Close ends them.
func OpenWorld(ctx context.Context, binary, dir string, cache *Cache, logf func(string, ...any), args ...string) (*World, error) {
	ports := make([]int, 12)
	for k := range ports {
		ports[k] = firstPort + k
	}
	c, err := harness.Open(harness.Config{Binary: binary, Dir: dir, Nodes: 3, Ports: ports, Args: args})
	if err != nil {
		return nil, err
	}
	w := &World{Cluster: c, Cache: cache, Dir: dir, Logf: logf}
	if err := c.AwaitReady(ctx); err != nil {
		w.Close()
		return nil, err
	}
	var amqp, http []string
	for _, n := range c.Nodes {
		amqp, http = append(amqp, n.AMQP), append(http, n.HTTP)
	}
	if w.Front, err = NewBalancer(amqp, local(StandardPort)...); err == nil {
		w.http, err = NewBalancer(http, local(StandardHTTPPort)...)
	}
	if err == nil {
		w.control, err = newControl(w)
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// local lists what "localhost" may mean.
func local(port int) []string {
	return []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("[::1]:%d", port)}
}

// Close ends everything.
func (w *World) Close() {
	if w.control != nil {
		w.control.close()
	}
	for _, b := range []*Balancer{w.Front, w.http} {
		if b != nil {
			b.Close()
		}
	}
	w.Cluster.Close()
}

// Command prepares a program in dir that ends with ctx, together with its children. In its environment it finds
//
//	AMQP_URL     amqp://guest:guest@127.0.0.1:5672/%2F, the balancer's
//	AMQP_NODES   host:port of each node, with commas; during Chaos the balancer's, so that it can keep clients off the node that it kills next
//	HTTP_URL     http://127.0.0.1:15672, the balancer's
//	HTTP_NODES   as AMQP_NODES
//	CONTROL_URL  takes POST /lose-leader, /kill?node=n1, /start?node=n1, and GET /leader, which answers a name; they return when it is done
//
// and LC_ALL=C.UTF-8.
func (w *World) Command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), w.Env()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Env is what Command adds to the environment.
func (w *World) Env() []string {
	var amqp, http []string
	for _, n := range w.Cluster.Nodes {
		if w.chaotic {
			amqp, http = append(amqp, w.Front.Addr()), append(http, w.http.Addr())
		} else {
			amqp, http = append(amqp, n.AMQP), append(http, n.HTTP)
		}
	}
	return []string{
		"AMQP_URL=amqp://guest:guest@" + net.JoinHostPort("127.0.0.1", fmt.Sprint(StandardPort)) + "/%2F",
		"AMQP_NODES=" + strings.Join(amqp, ","),
		"HTTP_URL=http://" + net.JoinHostPort("127.0.0.1", fmt.Sprint(StandardHTTPPort)),
		"HTTP_NODES=" + strings.Join(http, ","),
		"CONTROL_URL=http://" + w.control.addr(),
		"LC_ALL=C.UTF-8",
	}
}

// TAP runs a Command and reads the tests that it reports. What it prints on standard error belongs to the test that runs.
func (w *World) TAP(ctx context.Context, dir, name string, args ...string) ([]Outcome, error) {
	cmd := w.Command(ctx, dir, name, args...)
	out, err := cmd.CombinedOutput()
	all := ParseTAP(string(out))
	if err != nil && passed(all) {
		return all, fmt.Errorf("%s: %w; it ends:\n%s", name, err, tail(string(out), 30))
	}
	return all, nil
}

func passed(all []Outcome) bool {
	for _, o := range all {
		if o.Status == Failed {
			return false
		}
	}
	return true
}
