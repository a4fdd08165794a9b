package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/triagemq/triagemq/cmd/triagemq/cli"
)

// readyBound is how long a new cluster may take before dev gives up and shows why.
const readyBound = 60 * time.Second

type devFlags struct {
	nodes                                int
	dataDir                              string
	amqpPort, httpPort, peerPort, gossip int
}

// devHelp is what triagemq dev --help says above the flags.
const devHelp = `Runs a cluster on loopback, each node a process of its own. A node that dies stays dead until it is started again:

  triagemq dev start-node NAME --data-dir DIR

with the DIR that dev was given, or printed; ports and all else are as dev had them. Ctrl-C stops all, and nothing outlives this process.
DIR/NAME/triagemq.pid and triagemq.log belong to each node.`

// dev starts a cluster of processes on loopback and stops them when it is told to stop.
func dev(in *cli.Invocation) error {
	if len(in.Args) > 0 && in.Args[0] == "start-node" {
		c := startNode()
		in.Path, in.Command, in.Args = in.Path+" "+c.Name, &c, in.Args[1:]
		return c.Run(in)
	}
	f, err := parseDev(in.Args)
	if errors.Is(err, flag.ErrHelp) {
		in.PrintHelp(f.flagSet())
		return err
	}
	if err != nil {
		return cli.UsageErrorf("%w\n%s --help lists the flags", err, in.Path)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	plan, remove, err := devPlan(f)
	if err != nil {
		return err
	}
	defer remove()
	unlock, err := plan.lock()
	if err != nil {
		return errors.Join(append(plan.checkFree(), err)...)
	}
	defer unlock() // after stop: nodes must not take its release for this process's death
	if err := errors.Join(plan.checkFree()...); err != nil {
		return err
	}
	if err := plan.save(); err != nil {
		return err
	}
	defer plan.stop()
	for _, n := range plan.Nodes {
		if err := n.start(plan.Binary, plan.lockFile()); err != nil {
			return err
		}
	}
	if err := plan.awaitReady(readyBound, signals); err != nil {
		return err
	}
	plan.print(os.Stdout)
	<-signals
	fmt.Println("stopping")
	return nil
}

func (f *devFlags) flagSet() *flag.FlagSet {
	fs := flag.NewFlagSet("triagemq dev", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are shown once, by main
	fs.IntVar(&f.nodes, "nodes", 3, "`number` of nodes n1..nN, 1 to 9")
	fs.StringVar(&f.dataDir, "data-dir", "", "`folder` whose data stays for the next run; without it the data is temporary")
	fs.IntVar(&f.amqpPort, "amqp-port", 5672, "AMQP `port` of n1; node k listens on this + k-1")
	fs.IntVar(&f.httpPort, "http-port", 15672, "HTTP `port` of n1")
	fs.IntVar(&f.peerPort, "peer-port", 7672, "peer `port` of n1")
	fs.IntVar(&f.gossip, "gossip-port", 7946, "gossip `port` of n1")
	return fs
}

func parseDev(args []string) (devFlags, error) {
	var f devFlags
	fs := f.flagSet()
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	if fs.NArg() > 0 {
		return f, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	given := map[string]bool{}
	fs.Visit(func(g *flag.Flag) { given[g.Name] = true })
	if given["data-dir"] && f.dataDir == "" {
		return f, errors.New("--data-dir is empty; leave it out for temporary data")
	}
	if f.nodes < 1 || f.nodes > 9 {
		return f, fmt.Errorf("--nodes %d: want 1 to 9", f.nodes)
	}
	for name, port := range map[string]int{"amqp": f.amqpPort, "http": f.httpPort, "peer": f.peerPort, "gossip": f.gossip} {
		if port < 1 || port+f.nodes-1 > 65535 {
			return f, fmt.Errorf("--%s-port %d: want 1 to %d", name, port, 65536-f.nodes)
		}
	}
	return f, f.checkOverlap()
}

// devPlan lays out the nodes; remove deletes a temporary folder.
func devPlan(f devFlags) (plan *devCluster, remove func(), err error) {
	remove = func() {}
	dir := f.dataDir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "triagemq-dev-"); err != nil {
			return nil, nil, err
		}
		remove = func() { os.RemoveAll(dir) }
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, nil, err
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	if old, err := loadDev(dir); err == nil && len(old.Nodes) != f.nodes {
		return nil, nil, fmt.Errorf("%s was made with --nodes %d, and dev does not change the size of a cluster: use --nodes %d or another folder", dir, len(old.Nodes), len(old.Nodes))
	}
	plan = &devCluster{Dir: dir, Binary: binary}
	var join []string
	for k := range f.nodes {
		join = append(join, loopback(f.gossip+k))
	}
	for k := range f.nodes {
		n := devNode{Name: fmt.Sprintf("n%d", k+1), AMQP: loopback(f.amqpPort + k), HTTP: loopback(f.httpPort + k)}
		n.Dir = filepath.Join(dir, n.Name)
		n.Args = []string{"server", "--node-id", n.Name, "--data-dir", n.Dir, "--amqp-addr", n.AMQP, "--http-addr", n.HTTP,
			"--peer-addr", loopback(f.peerPort + k), "--gossip-addr", loopback(f.gossip + k)}
		if f.nodes > 1 {
			n.Args = append(n.Args, "--join", strings.Join(join, ","), "--bootstrap-expect", fmt.Sprint(f.nodes))
		}
		plan.Nodes = append(plan.Nodes, n)
	}
	return plan, remove, nil
}

// checkOverlap finds a port that two of the ranges share.
func (f *devFlags) checkOverlap() error {
	taken := map[int]string{}
	for _, r := range []struct {
		flag string
		base int
	}{{"amqp-port", f.amqpPort}, {"http-port", f.httpPort}, {"peer-port", f.peerPort}, {"gossip-port", f.gossip}} {
		for k := range f.nodes {
			if other := taken[r.base+k]; other != "" {
				return fmt.Errorf("--%s %d and --%s overlap: each takes %d ports in a row", r.flag, r.base, other, f.nodes)
			}
			taken[r.base+k] = r.flag
		}
	}
	return nil
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// checkFree finds nodes that still run in this folder and ports that others hold, before anything starts.
func (p *devCluster) checkFree() (errs []error) {
	for _, n := range p.Nodes {
		if pid, ok := n.running(); ok {
			errs = append(errs, fmt.Errorf("%s of an earlier run is still alive in %s (process %d): stop it first", n.Name, n.Dir, pid))
			continue
		}
		for i := 5; i < len(n.Args) && strings.HasPrefix(n.Args[i], "--"); i += 2 {
			if !strings.HasSuffix(n.Args[i], "-addr") {
				continue
			}
			l, err := net.Listen("tcp", n.Args[i+1])
			if err != nil {
				errs = append(errs, fmt.Errorf("%s cannot listen on %s: %w; choose other ports with --amqp-port, --http-port, --peer-port, --gossip-port", n.Name, n.Args[i+1], err))
				continue
			}
			l.Close()
		}
	}
	return errs
}

func (p *devCluster) print(w *os.File) {
	fmt.Fprintf(w, "TriageMQ cluster of %d, data in %s\n\n", len(p.Nodes), p.Dir)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "NODE\tAMQP\tHTTP\tPROCESS")
	for _, n := range p.Nodes {
		pid, _ := n.running()
		fmt.Fprintf(t, "%s\tamqp://guest:guest@%s\thttp://%s\t%d\n", n.Name, n.AMQP, n.HTTP, pid)
	}
	t.Flush()
	fmt.Fprintf(w, "\nConnect any AMQP 0-9-1 client to any node. Ctrl-C stops the cluster.\n")
}

// startNode is the command that starts a node of a dev cluster again.
func startNode() cli.Command {
	return cli.Command{
		Name: "start-node", Args: "NAME --data-dir DIR", Summary: "Starts a node of a cluster of triagemq dev again, as it was, in the background.", Run: devStartNode,
	}
}

func devStartNode(in *cli.Invocation) error {
	fs := in.Flags()
	dir := fs.String("data-dir", "", "the `folder` that triagemq dev was given, or printed")
	words, err := in.Parse(fs, 1, 1)
	if err != nil {
		return err
	}
	if *dir == "" {
		return cli.UsageErrorf("--data-dir is missing; usage: %s %s", in.Path, in.Command.Args)
	}
	name := words[0]
	p, err := loadDev(*dir)
	if err != nil {
		return err
	}
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if n.Name != name {
			continue
		}
		if pid, ok := n.running(); ok {
			return fmt.Errorf("%s already runs (process %d)", name, pid)
		}
		lockFile := ""
		if p.locked() {
			lockFile = p.lockFile()
		}
		if err := n.start(p.Binary, lockFile); err != nil {
			return err
		}
		if err := n.awaitAlive(10 * time.Second); err != nil {
			return err
		}
		pid, _ := n.running()
		fmt.Printf("%s runs again (process %d), log in %s\n", name, pid, n.logFile())
		return nil
	}
	return fmt.Errorf("no node %q in %s", name, *dir)
}
