package offline

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/triagemq/triagemq/broker/backup"
	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/cmd/triagemq/cli"
	"github.com/triagemq/triagemq/fsm"
)

// stateInfo is what inspect snapshot and inspect backup print with --json.
type stateInfo struct {
	Snapshot     *cluster.SnapshotInfo `json:"snapshot,omitempty"`
	Backup       *backup.Header        `json:"backup,omitempty"`
	Applied      uint64                `json:"applied_index"` // the last entry that the state machine applied
	Time         time.Time             `json:"time"`          // of the virtual clock
	FeatureLevel uint32                `json:"feature_level"`
	Digest       string                `json:"digest"`
	Origins      []originInfo          `json:"origins"`
	VHosts       []vhostInfo           `json:"vhosts"`
	Users        int                   `json:"users"`
}

type originInfo struct {
	Node     string `json:"node"`
	Boot     uint64 `json:"boot"`
	Open     bool   `json:"open"`
	Batch    uint64 `json:"last_batch"`
	Sessions int    `json:"sessions"`
}

type vhostInfo struct {
	Name      string      `json:"name"`
	Exchanges int         `json:"exchanges"`
	Bindings  int         `json:"bindings"`
	Policies  int         `json:"policies"`
	Queues    []queueInfo `json:"queues"`
}

type queueInfo struct {
	Name      string `json:"name"`
	Ready     int    `json:"ready"`
	Unacked   int    `json:"unacked"`
	Delayed   int    `json:"delayed"`
	Bytes     int64  `json:"bytes"`
	Consumers int    `json:"consumers"`
	Exclusive bool   `json:"exclusive"`
}

func inspectSnapshot(in *cli.Invocation) error {
	asJSON, words, err := parseInspect(in)
	if err != nil {
		return err
	}
	state, info, err := cluster.OpenSnapshotState(words[0])
	if err != nil {
		return err
	}
	defer state.Close()
	m := newReplica()
	if err := m.Restore(state); err != nil {
		return damaged(words[0], err)
	}
	out := describeState(m.state)
	out.Snapshot = &info
	return out.print(in.Stdout, asJSON)
}

func inspectBackup(in *cli.Invocation) error {
	asJSON, words, err := parseInspect(in)
	if err != nil {
		return err
	}
	from, err := cli.OpenSource(in, words[0])
	if err != nil {
		return err
	}
	defer from.Close()
	r, err := backup.NewReader(from)
	if err != nil {
		return damaged(words[0], err)
	}
	m := newReplica()
	if err := m.Restore(r); err != nil {
		return damaged(words[0], err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return damaged(words[0], err)
	}
	out := describeState(m.state)
	out.Backup = &r.Header
	return out.print(in.Stdout, asJSON)
}

func parseInspect(in *cli.Invocation) (asJSON bool, words []string, err error) {
	fs := in.Flags()
	flag := fs.Bool("json", false, "print it as JSON")
	words, err = in.Parse(fs, 1, 1)
	return *flag, words, err
}

// damaged gives damage its exit code.
func damaged(path string, err error) error {
	err = fmt.Errorf("%s: %w", path, err)
	if errors.Is(err, backup.ErrDamaged) || errors.Is(err, fsm.ErrSnapshot) {
		return &cli.Error{Code: cli.Unhealthy, Err: err}
	}
	return err
}

func describeState(s *fsm.State) stateInfo {
	digest := s.Digest()
	out := stateInfo{
		Applied: s.Applied(), Time: time.UnixMilli(s.NowMillis()).UTC(), FeatureLevel: s.FeatureLevel(), Digest: hex.EncodeToString(digest[:]),
		Origins: []originInfo{}, Users: len(s.Users()),
	}
	for _, o := range s.Origins() {
		out.Origins = append(out.Origins, originInfo{o.Node, o.Boot, o.Open, o.Last, s.OriginSessions(o.Node)})
	}
	for _, name := range s.VHostNames() {
		counts, _ := s.VHostCounts(name)
		v := vhostInfo{Name: name, Exchanges: counts.Exchanges, Bindings: counts.Bindings, Policies: len(s.Policies(name, false)) + len(s.Policies(name, true)), Queues: []queueInfo{}}
		for _, q := range s.Queues(name) {
			v.Queues = append(v.Queues, queueInfo{q.Name, q.Ready, q.Held, q.Delayed, q.Bytes, q.Consumers, q.Exclusive})
		}
		out.VHosts = append(out.VHosts, v)
	}
	return out
}

func (i *stateInfo) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return cli.PrintJSON(w, i)
	}
	head := cli.NewTable("STATE", fmt.Sprintf("after entry %d", i.Applied))
	if i.Snapshot != nil {
		head.Row("snapshot", fmt.Sprintf("%s, %d of term %d", i.Snapshot.ID, i.Snapshot.Index, i.Snapshot.Term))
	}
	if b := i.Backup; b != nil {
		head.Row("backup", fmt.Sprintf("of cluster %s, %d of term %d, made by %s (%s) at %s", b.Cluster, b.Index, b.Term, b.Node, b.Product, b.Created.UTC().Format(time.RFC3339)))
	}
	head.Row("virtual time", i.Time.Format(time.RFC3339Nano))
	head.Row("feature level", i.FeatureLevel)
	head.Row("digest", i.Digest)
	head.Row("users", i.Users)
	for _, o := range i.Origins {
		head.Row("origin", fmt.Sprintf("%s boot %d %s, batch %d, %d sessions", o.Node, o.Boot, map[bool]string{true: "open", false: "closed"}[o.Open], o.Batch, o.Sessions))
	}
	for _, v := range i.VHosts {
		head.Row("virtual host", fmt.Sprintf("%s: %d exchanges, %d queues, %d bindings, %d policies", v.Name, v.Exchanges, len(v.Queues), v.Bindings, v.Policies))
	}
	head.Print(w)
	queues := cli.NewTable("VHOST", "QUEUE", "READY", "UNACKED", "DELAYED", "BYTES", "CONSUMERS", "EXCLUSIVE")
	rows := 0
	for _, v := range i.VHosts {
		for _, q := range v.Queues {
			queues.Row(v.Name, q.Name, q.Ready, q.Unacked, q.Delayed, q.Bytes, q.Consumers, q.Exclusive)
			rows++
		}
	}
	if rows > 0 {
		fmt.Fprintln(w)
		queues.Print(w)
	}
	return nil
}
