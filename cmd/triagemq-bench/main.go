// Command triagemq-bench measures a three-node cluster on this machine: throughput and CPU per message, latency at a fixed rate and of lone messages,
// whether memory stays flat, what a large backlog costs in memory and restart time,
// and how long clients notice the end of the leader.
//
//	triagemq-bench throughput|rate|soak|lone|backlog|failover [flags]
//
// It starts nodes of its own on free ports with a temporary folder, through the same processes as production. Client and nodes share the machine, so
// compare ratios within one run, not absolute figures across machines.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

type options struct {
	binary     string
	logLevel   string // of the nodes
	client     string
	dir        string
	duration   time.Duration
	publishers int
	consumers  int
	window     int
	bodyBytes  int
	rate       int
	messages   int
	kills      int
	terms      int
	verbose    bool
	nodeFlags  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "triagemq-bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	workloads := map[string]func(context.Context, *harness.Cluster, options) error{"throughput": throughput, "rate": fixedRate, "soak": soak, "lone": lone, "backlog": backlog, "failover": failover}
	var o options
	fs := flag.NewFlagSet("triagemq-bench", flag.ContinueOnError)
	fs.StringVar(&o.binary, "binary", "bin/triagemq", "the triagemq `binary`")
	fs.StringVar(&o.client, "client", "amqp091", "`client` that publishes and consumes: amqp091 (what applications use) or lean (writes coalesced, nothing allocated: shows the nodes' own cost)")
	fs.StringVar(&o.dir, "dir", os.TempDir(), "`folder` on the disk to measure")
	fs.DurationVar(&o.duration, "duration", 15*time.Second, "how long to measure, after 3 s of warm-up")
	fs.IntVar(&o.publishers, "publishers", 4, "`number` of publishers, spread over the nodes")
	fs.IntVar(&o.consumers, "consumers", 4, "`number` of consumers, spread over the nodes")
	fs.IntVar(&o.window, "window", 256, "unconfirmed publishes per publisher, and prefetch per consumer")
	fs.IntVar(&o.bodyBytes, "body", 1024, "body `bytes`")
	fs.IntVar(&o.rate, "rate", 3000, "rate, soak, failover: messages per second in all")
	fs.IntVar(&o.messages, "messages", 1_000_000, "backlog: `number` of messages")
	fs.IntVar(&o.kills, "kills", 50, "failover: how `often` the leader gets SIGKILL")
	fs.IntVar(&o.terms, "terms", 50, "failover: how `often` it gets SIGTERM")
	fs.BoolVar(&o.verbose, "verbose", false, "failover: a line for each")
	fs.StringVar(&o.nodeFlags, "node-flags", "", "further `flags` of every node, in one argument")
	fs.Usage = func() {
		fmt.Fprintln(fs.Output(), "Usage: triagemq-bench throughput|rate|soak|lone|backlog|failover [flags]")
		fs.PrintDefaults()
	}
	if len(args) == 0 {
		fs.Usage()
		return flag.ErrHelp
	}
	name := args[0]
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	f, ok := workloads[name]
	if !ok {
		return fmt.Errorf("unknown workload %q", name)
	}
	if _, ok := clients[o.client]; !ok {
		return fmt.Errorf("--client %q: want amqp091 or lean", o.client)
	}
	if o.publishers < 1 || o.consumers < 1 || o.window < 1 || o.bodyBytes < 8 || o.rate < 1 || o.messages < 1 || o.kills < 0 || o.terms < 0 || o.window > 65535 {
		return errors.New("numbers must be positive, --body at least 8 and --window at most 65535")
	}
	if o.logLevel = "warn"; name == "backlog" {
		o.logLevel = "debug" // it reports the snapshots that the nodes took
	}
	return withCluster(ctx, o, f)
}

func withCluster(ctx context.Context, o options, f func(context.Context, *harness.Cluster, options) error) error {
	dir, err := os.MkdirTemp(o.dir, "triagemq-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := filepath.Abs(o.binary)
	if err != nil {
		return err
	}
	c, err := harness.Open(harness.Config{Binary: binary, Dir: dir, Nodes: 3, Args: append([]string{"--log-level", o.logLevel}, strings.Fields(o.nodeFlags)...)})
	if err != nil {
		return err
	}
	defer c.Close()
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := c.AwaitReady(ready); err != nil {
		return err
	}
	if err := harness.Declare(c.Nodes[0], queue, nil); err != nil {
		return err
	}
	return f(ctx, c, o)
}
