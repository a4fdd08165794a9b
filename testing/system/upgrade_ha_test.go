//go:build ha

package system

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// earlierCommit is the earlier version that the present one must run beside, in one cluster and on one data folder: the last one of feature level 1 before
// programs told each other of levels. It changes when that version is no longer supported, and not otherwise.
const earlierCommit = "85765cad40f29c6534382403c326f29a2ad65011"

// TRIAGEMQ_EARLIER_BINARY names one that is built already.
var earlierBinary = sync.OnceValues(func() (string, error) {
	if b := os.Getenv("TRIAGEMQ_EARLIER_BINARY"); b != "" {
		return b, nil
	}
	dir, err := os.MkdirTemp("", "triagemq-earlier-")
	if err != nil {
		return "", err
	}
	return harness.BuildCommit(dir, earlierCommit)
})

// nextBinary is the present program with one more feature level.
var nextBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "triagemq-next-")
	if err != nil {
		return "", err
	}
	return harness.Build(dir, "-tags", "nextlevel")
})

// earlier returns the earlier version's binary. Without its commit, in a shallow clone, there is nothing to build.
func earlier(t *testing.T) string {
	t.Helper()
	if os.Getenv("TRIAGEMQ_EARLIER_BINARY") == "" {
		if err := exec.Command("git", "cat-file", "-e", earlierCommit+"^{commit}").Run(); err != nil {
			t.Skipf("the history does not reach back to %s (a shallow clone?): %v", earlierCommit[:7], err)
		}
	}
	return must(earlierBinary())(t)
}

// upgrade is a cluster whose nodes change their programs under load.
type upgrade struct {
	t        *testing.T
	c        *harness.Cluster
	load     *harness.Load
	versions map[string]string // binary by node
	downs    map[string]int    // how often a node's clients had to come again
}

func newUpgrade(t *testing.T, binary string) *upgrade {
	t.Helper()
	c := harness.StartBinary(t, binary, 3)
	u := &upgrade{t: t, c: c, versions: map[string]string{}, downs: map[string]int{}}
	for _, n := range c.Nodes {
		u.versions[n.Name] = binary
	}
	u.load = must(harness.StartLoad(t.Context(), harness.LoadConfig{
		Queue: "work", FanOut: []string{"work-1", "work-2"}, Priorities: 4, NackEvery: 23, Publishers: c.Nodes, Consumers: c.Nodes, Pause: time.Millisecond,
	}))(t)
	progress(t, u.load, 300)
	return u
}

// restart stops a node in an orderly way and starts it with a program, which may be the same.
func (u *upgrade) restart(n *harness.Node, binary string) {
	u.t.Helper()
	u.downs[n.Name]++
	check(u.t, n.Terminate(within(u.t, 25*time.Second)))
	n.Use(binary)
	u.versions[n.Name] = binary
	check(u.t, n.Start())
	check(u.t, u.c.AwaitReady(within(u.t, 60*time.Second), n))
}

// works checks that everybody makes progress and that all replicas hold the same state, whatever program computed it.
func (u *upgrade) works() {
	u.t.Helper()
	progress(u.t, u.load, 300)
	check(u.t, u.c.AwaitEqualDigests(within(u.t, 60*time.Second)))
}

// lead kills leaders until a node that runs this program leads.
func (u *upgrade) lead(binary string) {
	u.t.Helper()
	for range 20 {
		leader := must(u.c.AwaitLeader(within(u.t, 30*time.Second)))(u.t)
		if u.versions[leader.Name] == binary {
			return
		}
		leader.Kill()
		u.downs[leader.Name]++
		must(u.c.AwaitLeader(within(u.t, 30*time.Second), leader))(u.t)
		progress(u.t, u.load, 100)
		check(u.t, leader.Start())
		check(u.t, u.c.AwaitReady(within(u.t, 60*time.Second), leader))
	}
	u.t.Fatalf("no node with %s led", binary)
}

// finish drains and judges: nothing lost, and no connection ended that was not one to a node that was stopped.
func (u *upgrade) finish() {
	u.t.Helper()
	u.load.StopPublishing()
	check(u.t, u.load.Drain(within(u.t, 90*time.Second)))
	check(u.t, u.c.AwaitEqualDigests(within(u.t, 60*time.Second)))
	seen := map[string]int{}
	for _, d := range u.load.Ledger.Disconnects() {
		node, role, _ := strings.Cut(d, ": ")
		role, _, _ = strings.Cut(role, ":")
		if seen[node+" "+role]++; seen[node+" "+role] > u.downs[node]*len([]string{"work-1", "work-2"}) {
			u.t.Errorf("a connection ended though its node was not stopped: %s", d)
		}
	}
	judge(u.t, u.load)
}

// level is the feature level as a node tells it, and what it says of others.
func (u *upgrade) level(n *harness.Node) (level uint32, supported map[string]uint32) {
	u.t.Helper()
	st := must(n.Status(within(u.t, 10*time.Second)))(u.t)
	supported = map[string]uint32{}
	for _, s := range st.Nodes {
		supported[s.ID] = s.Supported
	}
	return st.FeatureLevel, supported
}

// awaitLevel waits until all nodes have applied up to a level.
func (u *upgrade) awaitLevel(level uint32) {
	u.t.Helper()
	check(u.t, harness.Poll(within(u.t, 60*time.Second), func() error {
		for _, n := range u.c.Nodes {
			if st, err := n.Status(u.t.Context()); err != nil || st.FeatureLevel != level {
				return fmt.Errorf("%s is at level %d, %v", n.Name, st.FeatureLevel, err)
			}
		}
		return nil
	}))
}

// stays checks that the level does not move while the leader looks at it several times.
func (u *upgrade) stays(level uint32) {
	u.t.Helper()
	until := time.Now().Add(4 * time.Second)
	check(u.t, harness.Poll(within(u.t, 30*time.Second), func() error {
		st, err := u.c.Nodes[0].Status(u.t.Context())
		if err == nil && st.FeatureLevel != level && st.FeatureLevel != 0 {
			u.t.Fatalf("the level is %d, want %d", st.FeatureLevel, level)
		}
		if time.Now().Before(until) {
			return fmt.Errorf("not over")
		}
		return err
	}))
}

// TestHAUpgradeRolling: three nodes of the earlier version, with a snapshot and a log behind it, are replaced one by one under load by the present version.
func TestHAUpgradeRolling(t *testing.T) {
	u := newUpgrade(t, earlier(t))
	fillLog(t, u.c)
	prepareCounts(t, u.c.Nodes[0])
	for _, n := range u.c.Nodes {
		u.restart(n, harness.Binary(t))
		u.works()
	}
	level, supported := u.level(u.c.Nodes[1])
	if level < 1 || supported["n1"] != level || supported["n3"] != level {
		t.Errorf("level %d, supported %v", level, supported)
	}
	u.finish()
	verifyCounts(t, u.c.Nodes[2])
}

const (
	fillBytes   = 1 << 20
	fillSnapMax = 90 // publishes: more bytes than a snapshot waits for
)

// fillLog publishes and drops until every node has a snapshot, so that what follows begins from one; a few bodies stay.
func fillLog(t *testing.T, c *harness.Cluster) {
	t.Helper()
	ch := channel(t, c.Nodes[0])
	check(t, ch.Confirm(false))
	must(ch.QueueDeclare("filled", true, false, false, false, amqp.Table{"x-max-length": 3}))(t)
	for k := range fillSnapMax {
		confirmed(t, ch, "filled", amqp.Publishing{MessageId: fmt.Sprint(k), Body: bytes.Repeat([]byte{byte(k)}, fillBytes)})
	}
	for _, n := range c.Nodes {
		check(t, harness.Poll(within(t, 60*time.Second), func() error {
			found, err := filepath.Glob(filepath.Join(n.Dir, "snapshots", "*", "meta.json"))
			if len(found) == 0 {
				return fmt.Errorf("%s has no snapshot yet, %v", n.Name, err)
			}
			return nil
		}))
	}
}

// TestHAUpgradeMixed: half-way, leaders of either version lead the other, nodes are killed, and the way back to the earlier version is open.
func TestHAUpgradeMixed(t *testing.T) {
	old, now := earlier(t), harness.Binary(t)
	u := newUpgrade(t, old)
	u.restart(u.c.Nodes[0], now)
	for _, binary := range []string{now, old, now, old} {
		u.lead(binary)
		u.works()
		for _, n := range u.c.Nodes { // any one may die
			n.Kill()
			u.downs[n.Name]++
			progress(t, u.load, 100)
			check(t, n.Start())
			check(t, u.c.AwaitReady(within(t, 60*time.Second), n))
		}
		u.works()
	}
	u.restart(u.c.Nodes[1], now)
	u.works()
	u.restart(u.c.Nodes[2], now)
	u.works()
	for _, n := range u.c.Nodes { // no level was raised: back again
		u.restart(n, old)
		u.works()
	}
	u.finish()
}

// TestHAUpgradeNextLevel: the feature level rises after the last node runs a program that knows it, and not before; what it brings is refused until then; an
// operator can hold it; and from then on older programs refuse to start, without damage.
func TestHAUpgradeNextLevel(t *testing.T) {
	next := must(nextBinary())(t)
	u := newUpgrade(t, earlier(t))
	nodes := u.c.Nodes
	hold := func(want int, method, body string) {
		t.Helper()
		if status, text := request(t, nodes[0], method, "/api/global-parameters/feature_level_max", body); status/100 != want {
			t.Fatalf("%s of the hold: %d %s", method, status, text)
		}
	}
	hold(2, http.MethodPut, `{"name":"feature_level_max","value":1}`)
	u.restart(nodes[0], next)
	u.stays(1)
	u.noteRefused(nodes[0])
	u.restart(nodes[1], next)
	u.stays(1)
	u.works()
	u.restart(nodes[2], next)
	u.stays(1) // held
	u.noteRefused(nodes[2])
	u.works()
	hold(2, http.MethodDelete, "")
	u.awaitLevel(2)
	if status, text := request(t, nodes[1], http.MethodPut, "/api/notes/n", `{"text":"hello"}`); status/100 != 2 {
		t.Fatalf("a command of level 2 at level 2: %d %s", status, text)
	}
	u.works()
	for _, n := range nodes {
		u.restart(n, next)
	}
	u.works()
	u.tooOld(nodes[1], harness.Binary(t), next, "knows levels up to 1")
	u.tooOld(nodes[2], earlier(t), next, "supports up to 1")
	if status, text := request(t, nodes[2], http.MethodGet, "/api/notes/n", ""); status != http.StatusOK || !strings.Contains(text, "hello") {
		t.Errorf("the note: %d %s", status, text)
	}
	u.finish()
}

// noteRefused checks that what level 2 brings is refused for that reason.
func (u *upgrade) noteRefused(n *harness.Node) {
	u.t.Helper()
	status, text := request(u.t, n, http.MethodPut, "/api/notes/early", `{"text":"x"}`)
	if status != http.StatusConflict || !strings.Contains(text, "until all nodes of the cluster run version") {
		u.t.Errorf("a command of level 2 at level 1: %d %s", status, text)
	}
}

// tooOld starts a node with a program that does not know the level: it ends by itself and says why, with and without the note in the data folder; with the right
// program it is a member again.
func (u *upgrade) tooOld(n *harness.Node, binary, right, why string) {
	u.t.Helper()
	u.downs[n.Name]++
	check(u.t, n.Terminate(within(u.t, 25*time.Second)))
	for _, noted := range []bool{true, false} {
		if !noted { // as after a kill between the entry and the note
			check(u.t, os.RemoveAll(filepath.Join(n.Dir, "level")))
		}
		n.Use(binary)
		check(u.t, n.Start())
		check(u.t, harness.Poll(within(u.t, 60*time.Second), func() error {
			if n.Running() {
				return fmt.Errorf("%s runs with a program that does not know the level", n.Name)
			}
			return nil
		}))
		if tail := n.LogTail(200); !strings.Contains(tail, why) {
			u.t.Errorf("%s does not say why it ended:\n%s", n.Name, tail)
		}
	}
	n.Use(right)
	check(u.t, n.Start())
	check(u.t, u.c.AwaitReady(within(u.t, 60*time.Second), n))
	u.works()
}

// request asks a node's management API.
func request(t *testing.T, n *harness.Node, method, path, body string) (status int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := must(http.NewRequestWithContext(ctx, method, "http://"+n.HTTP+path, strings.NewReader(body)))(t)
	r.SetBasicAuth("guest", "guest")
	r.Header.Set("Content-Type", "application/json")
	answer := must(http.DefaultClient.Do(r))(t)
	defer answer.Body.Close()
	var b bytes.Buffer
	must(b.ReadFrom(answer.Body))(t)
	return answer.StatusCode, b.String()
}
