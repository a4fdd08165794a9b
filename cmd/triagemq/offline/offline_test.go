package offline

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/broker/backup"
	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

var node1 = fsm.Origin{Node: "n1-0", Boot: 1}

// entries make a queue with two messages, one of them held, in a transaction and with a table, and a user.
func entries() [][]byte {
	ref := fsm.Ref{Conn: 1, Channel: 1, Incarnation: 1}
	p := content.Properties{
		Has: content.HasPriority | content.HasHeaders | content.HasMessageID, Priority: 7, MessageID: "id 1", Headers: content.Table{{Name: "h", Value: int32(5)}},
	}
	properties := p.Append(nil)
	var first, second, tx []byte
	for _, c := range []fsm.Command{
		&fsm.OpenSession{Ref: fsm.Ref{Conn: 1}, VHost: "/", User: "guest", Name: "test"},
		&fsm.OpenChannel{Ref: ref},
		&fsm.DeclareQueue{Ref: ref, Name: "jobs", Durable: true, Arguments: content.Table{{Name: "x-max-length", Value: int64(9)}}.Append(nil)},
		&fsm.Publish{Ref: ref, RoutingKey: []byte("jobs"), Priority: 7, Properties: properties, Body: []byte("the body")},
		&fsm.Get{Ref: ref, Queue: "jobs"},
	} {
		first = c.Append(first)
	}
	tx = (&fsm.Publish{Ref: ref, RoutingKey: []byte("jobs"), Properties: []byte{0, 0}, Body: []byte{0xff, 0xfe}}).Append(tx)
	second = (&fsm.Tx{Ref: ref, Commands: tx}).Append(second)
	second = (&fsm.PutUser{Name: "ann", Hash: "secret hash", Algorithm: "a"}).Append(second)
	return [][]byte{
		fsm.AppendEntry(nil, 1000, [][]byte{fsm.AppendOriginOpen(nil, node1), fsm.AppendBatch(nil, node1, 1, first)}),
		fsm.AppendEntry(nil, 2000, [][]byte{fsm.AppendBatch(nil, node1, 2, second), fsm.AppendMark(nil)}),
	}
}

// written is a backup of the state that the entries make.
func written(t *testing.T) []byte {
	t.Helper()
	m := newReplica()
	for i, e := range entries() {
		if err := m.Apply(uint64(i+3), 2, e); err != nil {
			t.Fatal(err)
		}
	}
	var file bytes.Buffer
	w, err := backup.NewWriter(&file, backup.Header{Cluster: "old", Node: "n1", Index: 4, Term: 2, FeatureLevel: 1, Product: "0.1.0", Created: time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.WriteTo(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestRestoreAndInspect goes from a backup on standard input to a folder, and looks at every part of it.
func TestRestoreAndInspect(t *testing.T) {
	file, dir := written(t), filepath.Join(t.TempDir(), "n1")
	if code, out, errs := run(t, file, "inspect", "backup", "-"); code != 0 || !strings.Contains(out, "origin          n1-0 boot 1 open, batch 2, 1 sessions") {
		t.Fatal(code, out, errs)
	}
	code, out, errs := run(t, file, "restore", "--from", "-", "--data-dir", dir, "--node-id", "n1", "--peer-addr", "0.0.0.0:7", "--advertise-host", "h1", "--json")
	var made refounded
	if err := json.Unmarshal([]byte(out), &made); code != 0 || err != nil || made.Index != 5 || made.Cluster == "old" || made.Aside != "" {
		t.Fatal(code, out, errs, err)
	}
	info, err := cluster.InspectFolder(dir, true)
	if err != nil || info.Cluster != made.Cluster || info.Term != 2 || info.Last != (cluster.EntryID{Index: 5, Term: 2}) || len(info.Faults) > 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	if len(info.Servers) != 1 || info.Servers[0].Peer != "h1:7" || info.Servers[0].Server != made.Server || !info.Servers[0].Voter {
		t.Errorf("servers %+v", info.Servers)
	}
	expect(t, 0, "last entry      5 of term 2", "inspect", "folder", dir)
	expect(t, 0, "jobs    2       0         0", "inspect", "snapshot", dir)
	expect(t, 0, "", "inspect", "log", dir)
	expect(t, 3, "only voter", "recover", "--data-dir", dir, "--yes-i-may-lose-data")
	expect(t, 2, "nothing was changed, and need not be", "recover", "--data-dir", dir)
	expect(t, 3, "not empty", "restore", "--from", "-", "--data-dir", dir, "--node-id", "n1")
}

func TestDamagedBackups(t *testing.T) {
	file := written(t)
	file[len(file)-40] ^= 1 // the length in the trailer: the state before it is whole
	dir := filepath.Join(t.TempDir(), "n1")
	for _, args := range [][]string{{"inspect", "backup", "-"}, {"restore", "--from", "-", "--data-dir", dir, "--node-id", "n1"}} {
		code, out, errs := run(t, file, args...)
		if code == 0 || !strings.Contains(errs, "damaged") {
			t.Errorf("%v: %d %s %s", args, code, out, errs)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 1 { // its lock
		t.Errorf("a damaged backup left %v (%v)", left, err)
	}
}

func TestUsage(t *testing.T) {
	expect(t, 2, "--from is missing", "restore", "--data-dir", "x", "--node-id", "n1")
	expect(t, 2, "--node-id is missing", "restore", "--from", "x", "--data-dir", "x")
	expect(t, 2, "advertise-host", "restore", "--from", "x", "--data-dir", "x", "--node-id", "n1", "--peer-addr", ":7")
	expect(t, 2, "--log-store", "restore", "--from", "x", "--data-dir", "x", "--node-id", "n1", "--log-store", "paper")
	expect(t, 1, "no such file", "restore", "--from", filepath.Join(t.TempDir(), "none"), "--data-dir", t.TempDir(), "--node-id", "n1")
	expect(t, 2, "--data-dir is missing", "recover")
	expect(t, 1, "not the data folder", "recover", "--data-dir", t.TempDir())
	expect(t, 3, "nothing to recover", "recover", "--data-dir", t.TempDir(), "--yes-i-may-lose-data")
	expect(t, 1, "not the data folder", "inspect", "folder", t.TempDir())
	expect(t, 1, "holds no log", "inspect", "log", t.TempDir())
	expect(t, 1, "neither a snapshot nor a data folder", "inspect", "snapshot", t.TempDir())
}

// TestEntryText shows how entries are printed: every command with its arguments, bodies on request, hashes never.
func TestEntryText(t *testing.T) {
	var out bytes.Buffer
	p := entryPrinter{w: &out}
	for i, e := range entries() {
		if err := p.print(&cluster.LogEntry{Index: uint64(i + 3), Term: 2, Type: "command", Data: e}); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{
		"3 term 2 command, ", "time 1970-01-01T00:00:01Z", "  origin open n1-0 boot 1, ", "  batch n1-0 boot 1 number 2, ",
		"    session.open on 1 VHost=/ User=guest Name=test, ", `    queue.declare on 1.1 Name=jobs Durable=true Arguments={"x-max-length":9}, `,
		`    basic.publish on 1.1 RoutingKey=jobs Priority=7 Properties={"Headers":{"h":5},"MessageID":"id 1","Priority":7} Body="(8 bytes)", `,
		"    tx.commit on 1.1 ", "      basic.publish on 1.1 RoutingKey=jobs ", "    user.put Name=ann Hash=(hidden) Algorithm=a, ", "  mark, ",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, out.String())
		}
	}
	if strings.Contains(out.String(), "the body") || strings.Contains(out.String(), "secret") {
		t.Error("a body or a hash was printed")
	}
	out.Reset()
	with := entryPrinter{w: &out, bodies: true, asJSON: true}
	for _, e := range entries() {
		if err := with.print(&cluster.LogEntry{Index: 3, Term: 2, Type: "command", Data: e}); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	if !strings.Contains(out.String(), "the body") || !strings.Contains(out.String(), "0xfffe") || strings.Contains(out.String(), "secret") {
		t.Errorf("bodies are missing, or a hash is there: %s", out.String())
	}
}
