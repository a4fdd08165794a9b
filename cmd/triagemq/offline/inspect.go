package offline

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/cmd/triagemq/cli"
)

// Inspect is the command that looks into folders and files.
func Inspect() cli.Command {
	const safe = "\n\nIt only reads: no lock is taken and nothing is written, so it may be done on the folder of a node that runs."
	return cli.Command{
		Name: "inspect", Args: "COMMAND", Summary: "look into a data folder, its log and snapshots, or a backup; safe beside a running node",
		Commands: []cli.Command{
			{Name: "folder", Args: "DIR [flags]", Summary: "who a data folder's node is, what it voted, where its log and snapshots end", Run: inspectFolder,
				Help: "Tells who the node of a data folder is, its term and vote, where its log begins and ends, which snapshots it has and which servers it knows.\n" +
					"Exit code 4 says that something is damaged." + safe},
			{Name: "log", Args: "DIR [flags]", Summary: "dump log entries with their commands", Run: inspectLog,
				Help: "Prints the entries of a data folder's log: index, term, type, and of commands the virtual time, the origin batches and every command with its arguments.\n" +
					"Bodies of messages are left out unless --bodies asks for them, hashes of passwords always. With --json, one JSON value a line for each entry." + safe},
			{Name: "snapshot", Args: "DIR [flags]", Summary: "what a snapshot holds, queue by queue", Run: inspectSnapshot,
				Help: "Reads a snapshot (its folder, or a data folder: the newest one) and tells what is in it: feature level, virtual time, digest, origins, and the queues\n" +
					"with their messages. It needs the memory of that state." + safe},
			{Name: "backup", Args: "FILE|- [flags]", Summary: "what a backup holds, queue by queue", Run: inspectBackup,
				Help: "Reads a backup, checks it to its end and tells what is in it, as inspect snapshot does. It needs the memory of that state."},
		},
	}
}

func inspectFolder(in *cli.Invocation) error {
	fs := in.Flags()
	verify := fs.Bool("verify", false, "compare the checksums of the snapshots too; those of the log are always compared")
	asJSON := fs.Bool("json", false, "print it as JSON")
	words, err := in.Parse(fs, 1, 1)
	if err != nil {
		return err
	}
	info, err := cluster.InspectFolder(words[0], *verify)
	if err != nil {
		return err
	}
	if *asJSON {
		err = cli.PrintJSON(in.Stdout, info)
	} else {
		printFolder(in.Stdout, &info)
	}
	if len(info.Faults) > 0 {
		return errors.Join(err, &cli.Error{Code: cli.Unhealthy, Err: fmt.Errorf("%s is damaged, see its faults", words[0])})
	}
	return err
}

func printFolder(w io.Writer, i *cluster.FolderInfo) {
	t := cli.NewTable("FOLDER", i.Path)
	t.Row("node", i.Name)
	t.Row("server", i.Server)
	t.Row("cluster", i.Cluster)
	t.Row("boot", i.Boot)
	t.Row("term", i.Term)
	t.Row("voted", vote(i))
	t.Row("log store", i.LogStore)
	t.Row("log", fmt.Sprintf("%d to %d, %d bytes of entries", i.Log.First, i.Log.Last, i.Log.Bytes))
	t.Row("durable index", i.Durable)
	t.Row("last entry", fmt.Sprintf("%d of term %d", i.Last.Index, i.Last.Term))
	for _, s := range i.Snapshots {
		t.Row("snapshot", fmt.Sprintf("%d of term %d, %d bytes%s (%s)", s.Index, s.Term, s.Bytes, map[bool]string{true: ", verified"}[s.Verified], s.ID))
	}
	for _, s := range i.Servers {
		t.Row("server", fmt.Sprintf("%s %s at %s", s.Server, map[bool]string{true: "voter", false: "non-voter"}[s.Voter], s.Peer))
	}
	if i.Log.Overtaken {
		t.Row("note", "the node compacted its log meanwhile; what it deleted is left out")
	}
	if i.Interrupted != "" {
		t.Row("note", i.Interrupted)
	}
	for _, f := range i.Faults {
		t.Row("FAULT", strings.ReplaceAll(f, "\n", "; "))
	}
	t.Print(w)
}

func vote(i *cluster.FolderInfo) string {
	if i.VotedTerm == 0 {
		return "never"
	}
	return fmt.Sprintf("for %s in term %d", i.VotedFor, i.VotedTerm)
}
