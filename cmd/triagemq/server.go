package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/cmd/triagemq/cli"
	"github.com/triagemq/triagemq/cmd/triagemq/node"
)

// stopBound is how long an orderly stop may take before the process ends anyway.
const stopBound = 20 * time.Second

// exitDeparted is the exit code of a node that is no member of its cluster any more: starting it again, as a supervisor would, changes nothing. One that left by its
// own wish ends with 0, and with this when it is started again.
const exitDeparted = 6

// serverHelp is what triagemq server --help says above the flags.
const serverHelp = `Runs one node, until SIGTERM. Each flag is also an environment variable (--node-id is TRIAGEMQ_NODE_ID) and a key of the TOML file that --config names; flags win
over the environment, the environment over the file.

Without --join and with --bootstrap-expect 1 the node is a whole broker on its own. The three nodes of a new cluster are all started with the same --join list
and --bootstrap-expect 3; a node with --join alone waits to be taken into the cluster that the list leads to.

The exit code is 0 after an orderly stop, 1 where the node could not start or stop, 2 where its configuration is wrong, 3 where its disk or its state cannot be
trusted any more, 6 where it is no member of its cluster any more (docs/operations/cli.md).`

// server runs one node until SIGTERM or SIGINT; a second signal ends it at once.
func server(in *cli.Invocation) error {
	cfg, err := node.Parse(in.Args, os.Environ())
	if errors.Is(err, flag.ErrHelp) {
		in.PrintHelp(node.Flags())
		return err
	}
	if err != nil {
		return cli.UsageErrorf("%w\n%s --help lists the flags", err, in.Path)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	endWithDev(os.Getenv(devLockVariable))
	n, err := node.Open(cfg)
	if errors.Is(err, cluster.ErrDeparted) {
		return &cli.Error{Code: exitDeparted, Err: err}
	}
	if err != nil {
		return err
	}
	departed := false
	select {
	case <-signals:
	case <-n.Departed():
		departed = true
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopBound)
	defer cancel()
	go func() {
		select {
		case <-signals:
			os.Exit(130)
		case <-time.After(stopBound + time.Second):
			os.Exit(1) // something hangs; the log is what is safe, not this process
		}
	}()
	err = n.Close(ctx)
	if departed {
		err = errors.Join(err, n.Departure())
	}
	if errors.Is(err, node.ErrRemoved) {
		return &cli.Error{Code: exitDeparted, Err: err}
	}
	return err
}
