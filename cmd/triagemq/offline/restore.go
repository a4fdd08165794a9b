package offline

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/broker/backup"
	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/cmd/triagemq/cli"
	"github.com/triagemq/triagemq/cmd/triagemq/node"
)

// Restore is the command that makes a new cluster of a backup.
func Restore() cli.Command {
	return cli.Command{
		Name: "restore", Args: "--from FILE|- --data-dir DIR --node-id NAME [flags]", Summary: "make the first node of a new cluster of a backup",
		Help: `Makes an empty data folder the first node of a new cluster that begins with the state in a backup. Start it with triagemq server and the same --node-id and
--data-dir, then start the other nodes, with folders of their own, with --join naming it.

The new cluster has an id of its own: it can never merge with the one that the backup was taken of, even if that one still runs. All connections of the old
cluster count as lost: unacknowledged messages are back in their queues, exclusive queues are gone, and auto-delete queues that had consumers. Every message is
marked as redelivered, because the old cluster may have delivered it after the backup was taken. Users, permissions, policies and topology are as they were.
Time-outs go on by the clock: a message that expired since the backup was taken expires when the new cluster starts.

A folder that is not empty is refused. Interrupted, the same command is run again.`,
		Run: restore,
	}
}

// refounded is what restore and recover print with --json.
type refounded struct {
	DataDir string `json:"data_dir"`
	Node    string `json:"node"`
	Server  string `json:"server"`
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	Aside   string `json:"aside,omitempty"`
}

func restore(in *cli.Invocation) error {
	fs := in.Flags()
	from := fs.String("from", "", "backup `FILE`, or - for standard input")
	dir := fs.String("data-dir", "", "empty `folder`, made if it is not there")
	name := fs.String("node-id", "", "`name` of the node")
	address := peerFlags(fs, node.Default().PeerAddr, "`host:port` of the node's peer port, as in triagemq server")
	logStore := fs.String("log-store", node.Default().LogStore, "store of the replicated log: wal or boltdb")
	asJSON := fs.Bool("json", false, "print what was made as JSON")
	if _, err := in.Parse(fs, 0, 0); err != nil {
		return err
	}
	for _, f := range []struct{ flag, value string }{{"from", *from}, {"data-dir", *dir}, {"node-id", *name}} {
		if f.value == "" {
			return cli.UsageErrorf("--%s is missing", f.flag)
		}
	}
	if *logStore != "wal" && *logStore != "boltdb" {
		return cli.UsageErrorf("--log-store %q: wal or boltdb", *logStore)
	}
	peer, err := address()
	if err != nil {
		return err
	}
	m := newReplica()
	done, err := cluster.RestoreFolder(cluster.RefoundConfig{
		DataDir: *dir, NodeID: *name, PeerAddr: peer, LogStore: cluster.LogKind(*logStore), Logger: logger(in),
	}, m, func() (uint64, uint64, error) { return load(in, *from, m) })
	if err != nil {
		return explain(err)
	}
	if *asJSON {
		return cli.PrintJSON(in.Stdout, refounded{*dir, *name, done.Server, done.Cluster, done.Index, done.Aside})
	}
	c := m.state.Counts()
	fmt.Fprintf(in.Stdout, "%s is node %s of the new cluster %s.\n", *dir, *name, done.Cluster)
	if c.VHosts > 0 && m.state.Applied() == done.Index {
		fmt.Fprintf(in.Stdout, "It holds %d messages in %d queues of %d virtual hosts.\n", c.Ready, c.Queues, c.VHosts)
	}
	fmt.Fprintf(in.Stdout, "Next: triagemq server --node-id %s --data-dir %s …; then start the others with --join and folders of their own.\n", *name, *dir)
	return nil
}

// load reads a backup to its end.
func load(in *cli.Invocation, path string, m *replica) (index, term uint64, err error) {
	from, err := cli.OpenSource(in, path)
	if err != nil {
		return 0, 0, err
	}
	defer from.Close()
	r, err := backup.NewReader(from)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	if err := m.Restore(r); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n > 0 {
		return 0, 0, fmt.Errorf("%s: %d bytes behind the state: %w", path, n, errors.Join(err, backup.ErrDamaged))
	}
	return max(r.Header.Index, m.state.Applied()), r.Header.Term, nil
}

// peerFlags adds --peer-addr and --advertise-host and returns what makes the address as others dial it.
func peerFlags(fs *flag.FlagSet, otherwise, usage string) func() (string, error) {
	peer := fs.String("peer-addr", otherwise, usage)
	host := fs.String("advertise-host", "", "`host` that others dial, where that of --peer-addr is not it")
	return func() (string, error) {
		if *peer == "" {
			return "", nil
		}
		h, port, err := net.SplitHostPort(*peer)
		if err != nil {
			return "", cli.UsageErrorf("--peer-addr %q: want host:port", *peer)
		}
		if *host != "" {
			h = *host
		}
		if ip := net.ParseIP(h); h == "" || ip != nil && ip.IsUnspecified() {
			return "", cli.UsageErrorf("--peer-addr %s is not an address that others can dial: set --advertise-host", *peer)
		}
		return net.JoinHostPort(h, port), nil
	}
}

func logger(in *cli.Invocation) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "triagemq", Level: hclog.Warn, Output: in.Stderr})
}

// explain gives what the folder refuses its exit code.
func explain(err error) error {
	for _, refusal := range []error{cluster.ErrNotEmpty, cluster.ErrFolderInUse, cluster.ErrNothingToRecover, cluster.ErrRefounding} {
		if errors.Is(err, refusal) {
			return &cli.Error{Code: cli.Refused, Err: err}
		}
	}
	return err
}
