package cli

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// changeFlags are those of commands that change the cluster.
type changeFlags struct {
	client  *ClientFlags
	timeout time.Duration
	yes     bool
}

func (in *Invocation) changeFlags(fs *flag.FlagSet, timeout time.Duration) *changeFlags {
	f := &changeFlags{client: in.ClientFlags(fs)}
	fs.DurationVar(&f.timeout, "timeout", timeout, "how long to wait until the effect is seen")
	return f
}

func (f *changeFlags) confirmable(fs *flag.FlagSet) {
	fs.BoolVar(&f.yes, "yes", false, "do not ask on a terminal whether to go on")
}

// open connects and tells what the cluster is before the change.
func (f *changeFlags) open(in *Invocation) (*Client, clusterAnswer, error) {
	if f.timeout <= 0 {
		return nil, clusterAnswer{}, UsageErrorf("--timeout %v: want more than nothing", f.timeout)
	}
	c, err := f.client.Open()
	if err != nil {
		return nil, clusterAnswer{}, err
	}
	a, err := askCluster(in.Context, c)
	if q := a.Quorum; err == nil && q.Reachable < q.Needed && len(a.Nodes) > 0 {
		fmt.Fprintf(in.Stderr, "triagemq: %d of %d voters answer %s, and it takes %d: without a majority this will hardly come about. Bring nodes back; "+
			"where they are lost for good, triagemq recover\n",
			q.Reachable, q.Voters, a.Asked, q.Needed)
	}
	return c, a, err
}

// rest is what is left of --timeout for a look at the effect: long enough for one look in any case.
func (f *changeFlags) rest(begun time.Time) time.Duration {
	return max(f.timeout-time.Since(begun), probeBound+askBound)
}

// confirm asks on a terminal whether to go on. Where nobody can be asked, the command line is all the consent that there is.
func (f *changeFlags) confirm(in *Invocation, question string) error {
	if f.yes || !isTerminal(in.Stdin) {
		return nil
	}
	fmt.Fprintf(in.Stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(in.Stdin).ReadString('\n')
	if word := strings.ToLower(strings.TrimSpace(line)); word == "y" || word == "yes" {
		return nil
	}
	return errors.New("nothing was changed")
}

// change posts, and waits for the effect also where the answer got lost or the node did not know the outcome.
func (f *changeFlags) change(in *Invocation, c *Client, path string, body any, seen func(a *clusterAnswer) (string, bool)) error {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(in.Context, f.timeout)
	err := c.Post(ctx, path, body, nil)
	cancel()
	if err != nil && !outcomeUnknown(err) {
		return err
	}
	text, missed := await(in.Context, c, f.rest(begun), seen)
	if missed != nil {
		return errors.Join(missed, err)
	}
	_, err = fmt.Fprintln(in.Stdout, text)
	return err
}

// outcomeUnknown says whether a change may have taken place though it was not acknowledged: the node said so, or a request that was sent has no answer.
func outcomeUnknown(err error) bool {
	var answer *AnswerError
	if errors.As(err, &answer) {
		return answer.Status == http.StatusGatewayTimeout
	}
	return CodeOf(err) == Failed && !isDialError(err)
}

func transferLeader(in *Invocation) error {
	fs := in.Flags()
	f := in.changeFlags(fs, 15*time.Second)
	to := fs.String("to", "", "`node` that shall lead; any other than the present leader where it is left out")
	if _, err := in.Parse(fs, 0, 0); err != nil {
		return err
	}
	c, before, err := f.open(in)
	if err != nil {
		return err
	}
	target := *to
	if target != "" {
		found := before.named(target)
		if len(found) == 0 {
			return &Error{Refused, fmt.Errorf("no node %q; the cluster has %s", target, before.names())}
		}
		target = found[0].ID
	}
	if target != "" && target == before.Leader {
		_, err := fmt.Fprintf(in.Stdout, "%s leads already (term %d)\n", target, before.Term)
		return err
	}
	return f.change(in, c, "/api/cluster/transfer-leader", map[string]string{"to": *to}, func(a *clusterAnswer) (string, bool) {
		done := a.Leader != "" && (a.Leader == target || target == "" && a.Leader != before.Leader)
		return fmt.Sprintf("%s leads (term %d); before it %s", a.Leader, a.Term, orNobody(before.Leader)), done
	})
}

func orNobody(name string) string {
	if name == "" {
		return "nobody did"
	}
	return name + " did"
}

func remove(in *Invocation) error {
	fs := in.Flags()
	f := in.changeFlags(fs, 30*time.Second)
	f.confirmable(fs)
	force := fs.Bool("force", false, "remove a node that lives too, and one without which the rest has no live majority")
	words, err := in.Parse(fs, 1, 1)
	if err != nil {
		return err
	}
	c, before, err := f.open(in)
	if err != nil {
		return err
	}
	found := before.named(words[0])
	switch {
	case len(found) == 0:
		return &Error{Refused, fmt.Errorf("no node %q; the cluster has %s", words[0], before.names())}
	case len(found) > 1:
		return &Error{Refused, fmt.Errorf("two servers are called %q: give the server id of the one that is gone (triagemq cluster members lists them)", words[0])}
	}
	gone := found[0]
	if err := f.confirm(in, fmt.Sprintf("Remove %s (server %s, %s) from the cluster of %s for good?", gone.ID, gone.Server, gone.State, before.names())); err != nil {
		return err
	}
	c.also(before.others(gone.Server))
	return f.change(in, c, "/api/cluster/remove", map[string]any{"node": words[0], "force": *force}, goneFrom(gone))
}

// goneFrom is the effect of remove and leave.
func goneFrom(m memberAnswer) func(a *clusterAnswer) (string, bool) {
	return func(a *clusterAnswer) (string, bool) {
		text := fmt.Sprintf("%s is no member any more; the cluster has %s. Empty its data folder before it is started again.", m.ID, a.names())
		return text, len(a.Nodes) > 0 && !a.has(m.Server)
	}
}

func leave(in *Invocation) error {
	fs := in.Flags()
	f := in.changeFlags(fs, 60*time.Second)
	f.confirmable(fs)
	if _, err := in.Parse(fs, 0, 0); err != nil {
		return err
	}
	if strings.Contains(f.client.urls, ",") {
		return UsageErrorf("the node that is asked leaves: give one --url, its own")
	}
	c, before, err := f.open(in)
	if err != nil {
		return err
	}
	found := before.named(before.Asked)
	if len(found) == 0 {
		return &Error{Refused, fmt.Errorf("%s is no member of a cluster", before.Asked)}
	}
	if err := f.confirm(in, fmt.Sprintf("Let %s (server %s) leave the cluster of %s for good?", found[0].ID, found[0].Server, before.names())); err != nil {
		return err
	}
	watcher := c.elsewhere(before.others(found[0].Server))
	begun := time.Now()
	ctx, cancel := context.WithTimeout(in.Context, f.timeout)
	err = c.Post(ctx, "/api/cluster/leave", struct{}{}, nil)
	cancel()
	if err != nil && !outcomeUnknown(err) {
		return err
	}
	text, missed := await(in.Context, watcher, f.rest(begun), goneFrom(found[0]))
	if missed != nil {
		return errors.Join(missed, err)
	}
	_, err = fmt.Fprintln(in.Stdout, text)
	return err
}
