package system

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestClusterCommands goes through triagemq cluster with a real cluster: all is well, the leader moves, a node dies and is removed, another leaves.
func TestClusterCommands(t *testing.T) {
	c := harness.Start(t, 3)
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, "http://"+n.HTTP)
	}
	all := strings.Join(urls, ",")
	leader := must(c.AwaitLeader(within(t, 30*time.Second)))(t)
	target, dead := c.Others(leader)[0], c.Others(leader)[1]

	triagemq(t, 0, "Healthy.", "cluster", "status", "--url", all)
	triagemq(t, 0, target.Name+" leads", "cluster", "transfer-leader", "--to", target.Name, "--url", all)
	triagemq(t, 3, "no node", "cluster", "transfer-leader", "--to", "n9", "--url", all)
	triagemq(t, 3, "Login failed", "cluster", "transfer-leader", "--user", "guest", "--password", "wrong", "--url", all)
	triagemq(t, 3, "is alive", "cluster", "remove", dead.Name, "--url", all)

	dead.Kill()
	began := time.Now()
	triagemq(t, 4, "WARNING unreachable: "+dead.Name+" does not answer", "cluster", "status", "--url", "http://"+dead.HTTP+","+all)
	t.Logf("status with a dead node took %v", time.Since(began).Round(time.Millisecond))
	check(t, harness.Poll(within(t, 30*time.Second), func() error { // the leader must have missed it for a while
		if out, code := command(t, "cluster", "remove", dead.Name, "--url", all); code != 0 {
			return errors.New(out)
		}
		return nil
	}))
	triagemq(t, 0, target.Name+" is no member any more", "cluster", "leave", "--url", "http://"+target.HTTP)
	check(t, harness.Poll(within(t, 20*time.Second), func() error {
		if target.Running() {
			return errors.New("a node that left still runs")
		}
		return nil
	}))
	triagemq(t, 3, "last voter", "cluster", "leave", "--url", "http://"+leader.HTTP)
	triagemq(t, 0, `"id": "`+leader.Name+`"`, "cluster", "members", "--json", "--url", all)
}

// triagemq runs a command line that must end with a code and print a text.
func triagemq(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	if out, got := command(t, args...); got != code || !strings.Contains(out, want) {
		t.Fatalf("triagemq %s: code %d, want %d with %q:\n%s", strings.Join(args, " "), got, code, want, out)
	}
}

// command runs a command line of the binary and returns all that it printed, and its exit code.
func command(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out, err := exec.CommandContext(within(t, 60*time.Second), harness.Binary(t), args...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return string(out), 0
	case errors.As(err, &exit):
		return string(out), exit.ExitCode()
	}
	t.Fatal(err)
	return "", 0
}
