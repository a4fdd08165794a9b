package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/triagemq/triagemq/broker/backup"
)

// Backup is the command that takes backups, and checks them.
func Backup() Command {
	return Command{
		Name: "backup", Args: "--to FILE|- [flags]  |  verify FILE|-", Summary: "take a backup of the running cluster; backup verify FILE checks one",
		Help: `Takes a backup of the whole cluster through one of its nodes, while it runs: every queue, message, exchange, binding, user, permission and policy that was
there when the command began, everything confirmed until then included. The node that is asked takes a snapshot on its own disk and sends it; the others are not
burdened. The file is written aside, checked, fsynced and then named: a file under its name is whole. It holds every message and the hashes of passwords: keep it
as safe as the cluster.

backup verify FILE reads a backup to its end and tells what it is of; exit code 4 says that it is damaged. triagemq restore makes a new cluster of one.`,
		Run: takeBackup,
	}
}

// BackupReport is what the commands about backups print with --json.
type BackupReport struct {
	File       string `json:"file"`
	StateBytes int64  `json:"state_bytes"`
	backup.Header
}

// NewBackupReport describes a backup that was read to its end.
func NewBackupReport(file string, h backup.Header, stateBytes int64) BackupReport {
	return BackupReport{file, stateBytes, h}
}

// Print writes the report for people, or as JSON.
func (r BackupReport) Print(w io.Writer, asJSON bool) error {
	if asJSON {
		return PrintJSON(w, r)
	}
	t := NewTable("FILE", "CLUSTER", "INDEX", "TERM", "STATE BYTES", "LEVEL", "VERSION", "NODE", "CREATED")
	t.Row(r.File, r.Cluster, r.Index, r.Term, r.StateBytes, r.FeatureLevel, r.Product, r.Node, r.Created.UTC().Format(time.RFC3339))
	t.Print(w)
	return nil
}

// limitRateMin keeps a slow backup from being taken for a client that hangs: the node gives up one that takes nothing for two minutes.
const limitRateMin = 64 << 10

func takeBackup(in *Invocation) error {
	if len(in.Args) > 0 && in.Args[0] == "verify" {
		return verifyBackup(in)
	}
	fs := in.Flags()
	flags := in.ClientFlags(fs)
	to := fs.String("to", "", "`FILE` to write, or - for standard output")
	replace := fs.Bool("replace", false, "replace FILE if it exists, once the new backup is whole")
	limit := fs.Int64("limit-rate", 0, fmt.Sprintf("read at most this many `bytes` a second, %d or more; 0 is no limit", limitRateMin))
	asJSON := fs.Bool("json", false, "print the report as JSON")
	if _, err := in.Parse(fs, 0, 0); err != nil {
		return err
	}
	switch {
	case *to == "":
		return UsageErrorf("--to FILE is missing")
	case *limit != 0 && *limit < limitRateMin:
		return UsageErrorf("--limit-rate %d: 0, or %d and more", *limit, limitRateMin)
	}
	c, err := flags.Open()
	if err != nil {
		return err
	}
	out, err := openTarget(in, *to, *replace)
	if err != nil {
		return err
	}
	defer out.discard()
	ctx, stop := signal.NotifyContext(in.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := fetch(ctx, c, out, *limit)
	if err != nil {
		return fmt.Errorf("no backup was made: %w", err)
	}
	report.File = *to
	if *to == "-" {
		return report.Print(in.Stderr, *asJSON)
	}
	return report.Print(in.Stdout, *asJSON)
}

// fetch copies a node's backup, checking every byte on the way.
func fetch(ctx context.Context, c *Client, out *target, limitBytes int64) (report BackupReport, err error) {
	answer, err := c.Do(ctx, http.MethodGet, "/api/backup", nil)
	if err != nil {
		return report, err
	}
	defer answer.Body.Close()
	var from io.Reader = answer.Body
	if limitBytes > 0 {
		from = &limitedRate{ctx: ctx, r: from, bytesPerSecond: limitBytes, began: time.Now()}
	}
	h, n, err := backup.Verify(io.TeeReader(from, out))
	if ctx.Err() != nil {
		return report, ctx.Err()
	}
	if err != nil {
		return report, fmt.Errorf("%s: the stream broke off: %w", c.chosen, err)
	}
	return NewBackupReport("", h, n), out.commit()
}

func verifyBackup(in *Invocation) error {
	in.Args = in.Args[1:]
	fs := in.Flags()
	asJSON := fs.Bool("json", false, "print the report as JSON")
	words, err := in.Parse(fs, 1, 1)
	if err != nil {
		return err
	}
	from, err := OpenSource(in, words[0])
	if err != nil {
		return err
	}
	defer from.Close()
	h, n, err := backup.Verify(from)
	if errors.Is(err, backup.ErrDamaged) {
		return &Error{Unhealthy, fmt.Errorf("%s: %w", words[0], err)}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", words[0], err)
	}
	return NewBackupReport(words[0], h, n).Print(in.Stdout, *asJSON)
}

// OpenSource opens a file, or standard input for "-".
func OpenSource(in *Invocation, path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(in.Stdin), nil
	}
	return os.Open(path)
}

// target is where a backup goes: a file that gets its name when it is whole, or a stream.
type target struct {
	io.Writer
	file *os.File // nil for a stream, and once it has its name
	path string
}

func openTarget(in *Invocation, path string, replace bool) (*target, error) {
	if path == "-" {
		return &target{Writer: in.Stdout}, nil
	}
	if _, err := os.Lstat(path); err == nil && !replace {
		return nil, UsageErrorf("%s exists: choose another name, or --replace", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".partial-*") // readable by its owner alone
	if err != nil {
		return nil, err
	}
	return &target{Writer: f, file: f, path: path}, nil
}

// commit makes the file durable and gives it its name.
func (t *target) commit() error {
	if t.file == nil {
		return nil
	}
	if err := t.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(t.file.Name(), t.path); err != nil {
		return err
	}
	err := t.file.Close()
	t.file = nil
	folder, err2 := os.Open(filepath.Dir(t.path))
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// discard removes what did not become a backup.
func (t *target) discard() {
	if t.file != nil {
		t.file.Close()
		os.Remove(t.file.Name())
	}
}

// limitedRate reads no faster than a rate, on average since it began.
type limitedRate struct {
	ctx            context.Context
	r              io.Reader
	bytesPerSecond int64
	began          time.Time
	read           int64
}

// Read implements io.Reader.
func (l *limitedRate) Read(b []byte) (int, error) {
	due := l.began.Add(time.Duration(float64(l.read) / float64(l.bytesPerSecond) * float64(time.Second)))
	if wait := time.Until(due); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-l.ctx.Done():
			return 0, l.ctx.Err()
		}
	}
	n, err := l.r.Read(b[:min(len(b), limitRateMin)])
	l.read += int64(n)
	return n, err
}
