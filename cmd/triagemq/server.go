package main

import (
	"context"
	"errors"
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

// server runs one node until SIGTERM or SIGINT; a second signal ends it at once.
func server(args []string) error {
	cfg, err := node.Parse(args, os.Environ())
	if err != nil {
		return err
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
