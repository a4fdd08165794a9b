package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// watchEvery is the pace of --watch.
const watchEvery = 2 * time.Second

func status(in *Invocation) error {
	fs := in.Flags()
	flags := in.ClientFlags(fs)
	asJSON := fs.Bool("json", false, "print /api/cluster as JSON")
	watch := fs.Bool("watch", false, "print it again every two seconds, until Ctrl-C")
	if _, err := in.Parse(fs, 0, 0); err != nil {
		return err
	}
	if *watch && *asJSON {
		return UsageErrorf("--watch is for people and --json for programs: choose one")
	}
	c, err := flags.Open()
	if err != nil {
		return err
	}
	if *watch {
		return watchStatus(in, c)
	}
	a, err := askCluster(in.Context, c)
	if err != nil {
		return err
	}
	if *asJSON {
		if err := PrintJSON(in.Stdout, a.raw); err != nil {
			return err
		}
	} else {
		a.printStatus(in.Stdout)
	}
	return a.health()
}

// health is an error without a text where there are warnings: they are printed already.
func (a *clusterAnswer) health() error {
	if len(a.Warnings) > 0 {
		return &Error{Code: Unhealthy}
	}
	return nil
}

// watchStatus prints until it is interrupted, and then ends as status would have ended last.
func watchStatus(in *Invocation, c *Client) error {
	ctx, stop := signal.NotifyContext(in.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		a, err := askCluster(ctx, c)
		if ctx.Err() != nil {
			return err
		}
		if isTerminal(in.Stdout) {
			fmt.Fprint(in.Stdout, "\x1b[H\x1b[2J") // home, clear
		}
		fmt.Fprintln(in.Stdout, time.Now().Format(time.DateTime))
		if err != nil {
			fmt.Fprintf(in.Stdout, "no answer: %v\n", err)
			c.chooseAgain()
		} else {
			a.printStatus(in.Stdout)
			err = a.health()
		}
		fmt.Fprintln(in.Stdout)
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// isTerminal says whether somebody sits at the other end. The null device is a character device too, and nobody's.
func isTerminal(w any) bool {
	f, isFile := w.(*os.File)
	if !isFile {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

func (a *clusterAnswer) printStatus(w io.Writer) {
	facts := NewTable("Asked", a.Asked)
	leader := "none known"
	if a.Leader != "" {
		leader = fmt.Sprintf("%s, term %d", a.Leader, a.Term)
	}
	facts.Row("Leader", leader)
	q := a.Quorum
	facts.Row("Quorum", fmt.Sprintf("%d of %d voters answer, %d needed: %d may fail", q.Reachable, q.Voters, q.Needed, q.MayFail))
	facts.Row("Digests", a.Digests)
	if a.FeatureLevel != 0 {
		facts.Row("Feature level", a.FeatureLevel)
	}
	facts.Print(w)
	fmt.Fprintln(w)
	t := NewTable("NODE", "ROLE", "STATE", "APPLIED", "BEHIND", "ALARMS", "VERSION")
	for _, m := range a.Nodes {
		if m.State == "unreachable" {
			t.Row(m.ID, m.role(), m.State, "", "", "", m.Version)
			continue
		}
		t.Row(m.ID, m.role(), m.State, m.AppliedIndex, m.Behind, strings.Join(m.Alarms, ","), m.Version)
	}
	t.Print(w)
	fmt.Fprintln(w)
	if len(a.Warnings) == 0 {
		fmt.Fprintln(w, "Healthy.")
		return
	}
	for _, x := range a.Warnings {
		fmt.Fprintf(w, "WARNING %s: %s\n", x.Code, x.Text)
	}
}

// await asks about the cluster until seen says that the effect is there, and returns what it then says. After the bound the outcome is unknown.
func await(ctx context.Context, c *Client, bound time.Duration, seen func(a *clusterAnswer) (string, bool)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := askCluster(ctx, c)
		if err == nil {
			if text, ok := seen(&a); ok {
				return text, nil
			}
		} else {
			c.chooseAgain() // the node that was asked may be the one that goes
		}
		select {
		case <-ctx.Done():
			return "", &Error{Unknown, errors.New("the effect was not seen within --timeout; it may come yet: triagemq cluster status tells")}
		case <-tick.C:
		}
	}
}
