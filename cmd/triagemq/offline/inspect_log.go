package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/cmd/triagemq/cli"
	"github.com/triagemq/triagemq/fsm"
)

func inspectLog(in *cli.Invocation) error {
	fs := in.Flags()
	from := fs.Uint64("from", 0, "first `index` to print")
	to := fs.Uint64("to", math.MaxUint64, "last `index` to print")
	bodies := fs.Bool("bodies", false, "print the bodies of messages")
	asJSON := fs.Bool("json", false, "print one JSON value a line for each entry")
	fs.Lookup("to").DefValue = ""
	words, err := in.Parse(fs, 1, 1)
	if err != nil {
		return err
	}
	if *from > *to {
		return cli.UsageErrorf("--from %d is behind --to %d", *from, *to)
	}
	p := entryPrinter{w: in.Stdout, asJSON: *asJSON, bodies: *bodies}
	extent, err := cluster.InspectLog(words[0], *from, *to, p.print)
	if extent.Overtaken {
		fmt.Fprintln(in.Stderr, "triagemq: the node compacted its log meanwhile; what it deleted is left out")
	}
	if err == nil && extent.First == 0 {
		fmt.Fprintf(in.Stderr, "triagemq: the log holds no such entries; triagemq inspect folder %s tells where it begins and ends\n", words[0])
	}
	if err == nil && p.faults > 0 {
		err = &cli.Error{Code: cli.Unhealthy, Err: fmt.Errorf("%d entries are damaged", p.faults)}
	}
	return err
}

// entryInfo is an entry as JSON.
type entryInfo struct {
	Index    uint64               `json:"index"`
	Term     uint64               `json:"term"`
	Type     string               `json:"type"`
	Bytes    int                  `json:"bytes"`
	Appended time.Time            `json:"appended"`
	Time     *time.Time           `json:"time,omitempty"` // the leader's stamp, of a command
	Items    []itemInfo           `json:"items,omitempty"`
	Servers  []cluster.ServerInfo `json:"servers,omitempty"`
	Fault    string               `json:"fault,omitempty"`
}

type itemInfo struct {
	Kind      string        `json:"kind"`
	Bytes     int           `json:"bytes"`
	Node      string        `json:"node,omitempty"` // of the origin
	Boot      uint64        `json:"boot,omitempty"`
	Batch     uint64        `json:"batch,omitempty"`
	Commands  []commandInfo `json:"commands,omitempty"`
	MarkIndex uint64        `json:"mark_index,omitempty"`
	Voters    int           `json:"voters,omitempty"`
	Reports   []reportInfo  `json:"reports,omitempty"`
	Level     uint32        `json:"level,omitempty"`
}

type reportInfo struct {
	Node string `json:"node"`
	Hash string `json:"hash"`
}

// entryPrinter prints entry after entry.
type entryPrinter struct {
	w      io.Writer
	asJSON bool
	bodies bool
	faults int
}

func (p *entryPrinter) print(e *cluster.LogEntry) error {
	info := p.describe(e)
	if info.Fault != "" {
		p.faults++
	}
	if p.asJSON {
		return json.NewEncoder(p.w).Encode(info)
	}
	return p.printText(&info)
}

func (p *entryPrinter) describe(e *cluster.LogEntry) entryInfo {
	info := entryInfo{Index: e.Index, Term: e.Term, Type: e.Type, Bytes: len(e.Data), Appended: e.Appended, Servers: e.Servers}
	err := e.Fault
	if e.Type == "command" && err == nil {
		var decoded fsm.EntryInfo
		decoded, err = fsm.DecodeEntry(e.Data)
		stamp := time.UnixMilli(decoded.TimeMillis).UTC()
		info.Time = &stamp
		for _, it := range decoded.Items {
			info.Items = append(info.Items, p.item(&it))
		}
	}
	if err != nil {
		info.Fault = err.Error()
	}
	return info
}

func (p *entryPrinter) item(it *fsm.ItemInfo) itemInfo {
	out := itemInfo{Kind: it.Kind, Bytes: it.SizeBytes, Node: it.Origin.Node, Boot: it.Origin.Boot, Batch: it.Seq, MarkIndex: it.MarkIndex, Voters: it.Voters, Level: it.Level}
	for _, r := range it.Reports {
		out.Reports = append(out.Reports, reportInfo{r.Node, fmt.Sprintf("%x", r.Hash)})
	}
	for _, c := range it.Commands {
		out.Commands = append(out.Commands, describeCommand(&c, p.bodies))
	}
	return out
}

// printText prints an entry's line, one for each item and one for each command.
func (p *entryPrinter) printText(e *entryInfo) error {
	_, err := fmt.Fprintf(p.w, "%d term %d %s, %d bytes", e.Index, e.Term, e.Type, e.Bytes)
	if e.Time != nil {
		fmt.Fprintf(p.w, ", time %s", e.Time.Format(time.RFC3339Nano))
	}
	for _, s := range e.Servers {
		fmt.Fprintf(p.w, "\n  %s %s at %s", map[bool]string{true: "voter", false: "non-voter"}[s.Voter], s.Server, s.Peer)
	}
	if e.Fault != "" {
		fmt.Fprintf(p.w, "\n  FAULT %s", e.Fault)
	}
	fmt.Fprintln(p.w)
	for _, it := range e.Items {
		fmt.Fprintf(p.w, "  %s%s, %d bytes\n", it.Kind, it.of(), it.Bytes)
		for _, c := range it.Commands {
			printCommand(p.w, &c, "    ")
		}
	}
	return errors.Join(err)
}

// of is what an item is about.
func (it *itemInfo) of() (text string) {
	if it.Node != "" {
		text = fmt.Sprintf(" %s boot %d", it.Node, it.Boot)
	}
	switch {
	case it.Batch != 0:
		text += fmt.Sprintf(" number %d", it.Batch)
	case it.MarkIndex != 0:
		text = fmt.Sprintf(" of the mark at %d, %d voters, %v", it.MarkIndex, it.Voters, it.Reports)
	case it.Level != 0:
		text = fmt.Sprintf(" %d", it.Level)
	}
	return text
}
