package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/triagemq/triagemq/cmd/triagemq/node"
)

// stopBound is how long an orderly stop may take before the process ends anyway.
const stopBound = 20 * time.Second

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
	if err != nil {
		return err
	}
	<-signals
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
	return n.Close(ctx)
}
