// Command triagemq is the broker and its tools.
//
//	triagemq server    one node
//	triagemq dev       a whole cluster on loopback, for development
//	triagemq version
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"

	"github.com/triagemq/triagemq/cmd/triagemq/node"
)

const usageText = `TriageMQ, a replicated message broker that speaks AMQP 0-9-1.

Usage:
  triagemq server [flags]                          run one node (triagemq server --help)
  triagemq dev [flags]                             run a cluster on loopback (triagemq dev --help)
  triagemq dev start-node NAME --data-dir DIR      start one of its nodes again
  triagemq version                                 print the version
`

func main() {
	err := run(os.Args[1:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintf(os.Stderr, "triagemq: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usageText)
		os.Exit(2)
	}
	switch args[0] {
	case "server":
		return server(args[1:])
	case "dev":
		return dev(args[1:])
	case "version", "--version":
		fmt.Printf("triagemq %s %s %s/%s\n", node.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	case "help", "--help", "-h":
		fmt.Print(usageText)
		return nil
	}
	return fmt.Errorf("unknown command %q; triagemq help lists them", args[0])
}
