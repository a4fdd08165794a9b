package offline

import (
	"errors"
	"fmt"
	"io"

	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/cmd/triagemq/cli"
)

const confirmation = "yes-i-may-lose-data"

// Recover is the command for a cluster that has lost its quorum for good.
func Recover() cli.Command {
	return cli.Command{
		Name: "recover", Args: "--data-dir DIR [--" + confirmation + "] [flags]", Summary: "make a new cluster of one survivor when the quorum is lost for good",
		Help: `For the day on which a majority of the nodes is lost for good, with their disks. While a majority can come back, start it instead: nothing is lost then.

Works on the data folder of one stopped survivor. It keeps all that this folder has, and makes the node the only one of a NEW cluster; other nodes then join with
empty folders. What was confirmed and had reached only the lost nodes is lost. Where more nodes than one survive, compare them first: run triagemq inspect
folder on each, and recover the one whose last entry has the greatest term and, among equals, the greatest index. What others have beyond it is lost too.

Old nodes that come back belong to the old cluster: the new one refuses them, and they it. Never start the others of the old cluster for clients again: they
would serve a past that the new cluster has left. Clear their folders and let them join.

Connections count as lost, every message is marked as redelivered, as by triagemq restore. The old parts of the folder are set aside within it. Without
--` + confirmation + ` it tells what the folder holds and changes nothing. Interrupted, the same command is run again.`,
		Run: recoverQuorum,
	}
}

func recoverQuorum(in *cli.Invocation) error {
	fs := in.Flags()
	dir := fs.String("data-dir", "", "`folder` of the survivor, which is stopped")
	name := fs.String("node-id", "", "new `name` of the node; without it the name stays")
	address := peerFlags(fs, "", "`host:port` of the node's peer port; without it as the old cluster knew it")
	confirmed := fs.Bool(confirmation, false, "do it")
	asJSON := fs.Bool("json", false, "print what was made as JSON")
	if _, err := in.Parse(fs, 0, 0); err != nil {
		return err
	}
	if *dir == "" {
		return cli.UsageErrorf("--data-dir is missing")
	}
	peer, err := address()
	if err != nil {
		return err
	}
	if !*confirmed {
		return tellSurvivor(in, *dir)
	}
	m := newReplica()
	done, err := cluster.RecoverFolder(cluster.RefoundConfig{DataDir: *dir, NodeID: *name, PeerAddr: peer, Logger: logger(in)}, m)
	if err != nil {
		return explain(err)
	}
	if *asJSON {
		return cli.PrintJSON(in.Stdout, refounded{*dir, done.Name, done.Server, done.Cluster, done.Index, done.Aside})
	}
	fmt.Fprintf(in.Stdout, "%s is node %s of the new cluster %s, alone so far. The old parts are in %s; delete them once you are sure.\n",
		*dir, done.Name, done.Cluster, done.Aside)
	if c := m.state.Counts(); m.state.Applied() == done.Index {
		fmt.Fprintf(in.Stdout, "It holds %d messages in %d queues of %d virtual hosts.\n", c.Ready, c.Queues, c.VHosts)
	}
	fmt.Fprintf(in.Stdout, "Next: start it; then start the others with --join naming it, each with an EMPTY folder.\n")
	return nil
}

// tellSurvivor shows what would be kept, and what may be lost.
func tellSurvivor(in *cli.Invocation, dir string) error {
	info, err := cluster.InspectFolder(dir, false)
	if err != nil {
		return explain(err)
	}
	printFolder(in.Stdout, &info)
	fmt.Fprintf(in.Stdout, "\nThe last entry of this folder is %d of term %d.\n", info.Last.Index, info.Last.Term)
	switch {
	case len(info.Faults) > 0:
		return &cli.Error{Code: cli.Unhealthy, Err: errors.New("nothing was changed: the folder is damaged, see its faults; take another survivor, or a backup")}
	case len(info.Servers) > 0 && len(otherVoters(&info)) == 0:
		return cli.UsageErrorf("nothing was changed, and need not be: this node is the only voter of its cluster; start it")
	}
	printWarning(in.Stdout, &info)
	return cli.UsageErrorf("nothing was changed: give --%s to go on", confirmation)
}

func printWarning(w io.Writer, info *cluster.FolderInfo) {
	if others := otherVoters(info); len(others) > 0 {
		fmt.Fprintf(w, "Its cluster had these other voters:\n")
		for _, s := range others {
			fmt.Fprintf(w, "  %s at %s\n", s.Name, s.Peer)
		}
	}
	if len(info.Snapshots) > 0 {
		fmt.Fprintf(w, "What is committed is known up to entry %d at least (its newest snapshot); behind it nobody can tell any more what was.\n", info.Snapshots[0].Index)
	}
	fmt.Fprintf(w, `
WARNING: messages that were confirmed are LOST if they are not in this folder.
 - If a majority of these nodes can still be started, start it instead: nothing is lost then.
 - If another node survived, run "triagemq inspect folder" on its folder too. Recover the one whose last entry has the greatest term and, among equals, the
   greatest index.
 - A new cluster begins with this node. Nodes of the old one that come back are refused; give them empty folders and let them join.
`)
}

func otherVoters(info *cluster.FolderInfo) (others []cluster.ServerInfo) {
	for _, s := range info.Servers {
		if s.Voter && s.Server != info.Server {
			others = append(others, s)
		}
	}
	return others
}
