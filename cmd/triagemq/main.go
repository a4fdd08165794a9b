// Command triagemq is the broker and its tools; triagemq help lists them.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"github.com/triagemq/triagemq/cmd/triagemq/cli"
	"github.com/triagemq/triagemq/cmd/triagemq/node"
	"github.com/triagemq/triagemq/cmd/triagemq/offline"
)

func main() {
	args := os.Args[1:]
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	os.Exit(cli.Main(commands(), cli.Invocation{
		Context: context.Background(), Args: args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
	}))
}

// commands is the table of everything that the binary does.
func commands() cli.Command {
	return cli.Command{
		Name: "triagemq",
		Help: "TriageMQ, a replicated message broker that speaks AMQP 0-9-1.",
		Commands: []cli.Command{
			{Name: "server", Args: "[flags]", Summary: "run one node", Help: serverHelp, Run: server},
			{Name: "dev", Args: "[flags]", Summary: "run a cluster on loopback; dev start-node NAME --data-dir DIR starts one of its nodes again", Help: devHelp, Run: dev},
			cli.Cluster(),
			cli.Backup(),
			offline.Restore(),
			offline.Recover(),
			offline.Inspect(),
			{Name: "version", Summary: "print the version", Run: version},
		},
	}
}

func version(in *cli.Invocation) error {
	if _, err := in.Parse(in.Flags(), 0, 0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(in.Stdout, "triagemq %s %s %s/%s\n", node.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
