package system

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// TestRandomFaults strikes real processes at random, under load of many kinds, and checks after each round that everybody works again, and at the end what
// became of every message. It reports how soon the pace was back after each heal (throughput_test.go), and judges that by no bound but one against hangs.
//
//	TRIAGEMQ_RANDOM_SECONDS  how long to strike; 45 by default
//	TRIAGEMQ_RANDOM_SEED     replays a schedule: what strikes, whom (leader, follower, node), when and for how long. The interleaving is the machine's.
//	TRIAGEMQ_RANDOM_KINDS    strikes of these kinds only, separated by commas; all by default
func TestRandomFaults(t *testing.T) {
	runRandom(t, harness.Start(t, 3), nil, 45*time.Second)
}

// runRandom needs the network of the nodes for strikes on the network; nil: there are none.
func runRandom(t *testing.T, c *harness.Cluster, w *harness.Network, otherwise time.Duration) {
	seed := uint64(envNumber(t, "TRIAGEMQ_RANDOM_SEED", int(time.Now().UnixNano()&0xffffff)))
	length := time.Duration(envNumber(t, "TRIAGEMQ_RANDOM_SECONDS", int(otherwise.Seconds()))) * time.Second
	t.Logf("replay with TRIAGEMQ_RANDOM_SEED=%d", seed)
	r := &randomRun{t: t, c: c, w: w, rng: rand.New(rand.NewPCG(seed, 1)), began: time.Now(), kinds: processStrikes, changes: membershipStrikes}
	if w != nil {
		r.kinds = slices.Concat(processStrikes, networkStrikes)
	}
	if only := os.Getenv("TRIAGEMQ_RANDOM_KINDS"); only != "" {
		isOther := func(kind string) bool { return !slices.Contains(strings.Split(only, ","), kind) }
		r.kinds = slices.DeleteFunc(slices.Clone(r.kinds), isOther)
		r.changes = slices.DeleteFunc(slices.Clone(r.changes), isOther)
	}
	r.startLoads()
	progress(t, r.loads[0], 100)
	r.pace = watchThroughput(t, r.progress)
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		r.round(r.plan(time.Until(end)))
	}
	r.finish()
}

func envNumber(t *testing.T, name string, otherwise int) int {
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	return must(strconv.Atoi(v))(t)
}

// randomRun is one run's memory.
type randomRun struct {
	t     *testing.T
	c     *harness.Cluster
	w     *harness.Network
	rng   *rand.Rand
	began time.Time

	kinds, changes []string // that may strike: of the first two may be in a round

	loads      []*harness.Load
	pace       *throughput
	recoveries []recovery
	wounds     []wound
	rounds     int
}

// wound is a time in which connections to a node may end.
type wound struct {
	node     string
	from, to time.Time
}

func (r *randomRun) startLoads() {
	nodes := r.c.Nodes
	for _, cfg := range []harness.LoadConfig{
		{Queue: "work", Priorities: 10, NackEvery: 7, Pause: 5 * time.Millisecond},
		{Queue: "fan", FanOut: []string{"fan-a", "fan-b"}, Pause: 8 * time.Millisecond, NackEvery: 31},
		{Queue: "churn", Churn: 700 * time.Millisecond, Pause: 5 * time.Millisecond},
	} {
		cfg.Publishers, cfg.Consumers = nodes, nodes
		r.loads = append(r.loads, must(harness.StartLoad(r.t.Context(), cfg))(r.t))
	}
}

func (r *randomRun) confirmed() (sum int) {
	for _, l := range r.loads {
		sum += l.Ledger.Confirmed()
	}
	return sum
}

// progress is what all loads have confirmed so far, and what of it on each node.
func (r *randomRun) progress() (total int, byNode map[string]int) {
	byNode = map[string]int{}
	for _, l := range r.loads {
		confirmed, _ := l.Ledger.ByNode()
		for node, n := range confirmed {
			byNode[node] += n
			total += n
		}
	}
	return total, byNode
}

// plan draws a round. Whatever it draws depends on the seed, the kinds and the time left alone.
func (r *randomRun) plan(left time.Duration) (round []strike) {
	roles := []string{"leader", "follower1", "follower2"}
	if r.rng.IntN(2) == 0 {
		roles = []string{"n1", "n2", "n3"}
	}
	switch n := r.rng.IntN(20); {
	case len(r.changes) > 0 && (n < 4 || len(r.kinds) == 0):
		return []strike{{kind: r.changes[r.rng.IntN(len(r.changes))], role: roles[r.rng.IntN(3)], hold: r.between(0, 3*time.Second)}}
	case n == 4 && slices.Contains(r.kinds, "kill"): // all processes at once
		for _, role := range roles {
			round = append(round, strike{kind: "kill", role: role, hold: r.between(0, 500*time.Millisecond)})
		}
		return round
	case n == 5 && slices.Contains(r.kinds, "terminate"): // a rolling restart
		for _, role := range []string{"n1", "n2", "n3"} {
			round = append(round, strike{kind: "restart", role: role})
		}
		return round
	case n < 11: // two at once, or one shortly after the other
		r.rng.Shuffle(len(roles), func(i, j int) { roles[i], roles[j] = roles[j], roles[i] })
		second := r.strike(roles[1], left)
		if r.rng.IntN(2) == 0 {
			second.delay = r.between(0, time.Second)
		}
		return []strike{r.strike(roles[0], left), second}
	}
	return []strike{r.strike(roles[min(r.rng.IntN(4), 3)%3], left)} // the leader twice as often
}

func (r *randomRun) strike(role string, left time.Duration) strike {
	s := strike{kind: r.kinds[r.rng.IntN(len(r.kinds))], role: role}
	switch long := r.rng.IntN(4) == 0; {
	case s.kind == "kill" || s.kind == "terminate":
		s.hold = r.between(0, 3*time.Second)
	case long:
		s.hold = r.between(3*time.Second, 20*time.Second)
	default:
		s.hold = r.between(100*time.Millisecond, 3*time.Second)
	}
	s.hold = min(s.hold, max(left, time.Second)).Round(time.Millisecond)
	return s
}

func (r *randomRun) between(least, most time.Duration) time.Duration {
	return (least + time.Duration(r.rng.Int64N(int64(most-least)))).Round(time.Millisecond)
}

// round strikes, heals, and waits until everybody works again.
func (r *randomRun) round(strikes []strike) {
	t := r.t
	r.rounds++
	before := r.pace.quiet(t)
	leader := must(r.c.AwaitLeader(within(t, 30*time.Second)))(t)
	for i := range strikes {
		strikes[i].node = r.find(strikes[i].role, leader)
		strikes[i].leads = strikes[i].node == leader
	}
	from := time.Now()
	t.Logf("%.1fs round %d: %v", from.Sub(r.began).Seconds(), r.rounds, strikes)
	check(t, r.carryOutAll(strikes))
	healed := time.Now()
	check(t, r.c.AwaitReady(within(t, 45*time.Second)))
	ready := time.Now()
	check(t, r.c.AwaitVoters(within(t, 2*time.Minute)))
	r.recover()
	back := r.pace.awaitBack(t, healed, before)
	now := time.Now()
	r.recoveries = append(r.recoveries, recovery{nameOf(strikes), r.rounds, back})
	t.Logf("%.1fs healed; ready after %v, at 90%% of %d a second after %v", healed.Sub(r.began).Seconds(), ready.Sub(healed).Round(time.Millisecond), before, back.Round(time.Millisecond))
	if back > slowRecovery {
		t.Logf("confirmed in each half second after the heal:\n%s", r.pace.story(healed))
		for _, n := range r.c.Nodes {
			t.Logf("%s's log since the strike:\n%s", n.Name, logSince(t, n, from))
		}
	}
	for _, n := range r.c.Nodes {
		struck := slices.ContainsFunc(strikes, func(s strike) bool { return s.wounds(n) })
		if struck || leaderless(strikes) {
			r.wounds = append(r.wounds, wound{n.Name, from, now})
		}
	}
}

// slowRecovery is when a round tells its story.
const slowRecovery = 2 * time.Second

// logSince is what a node logged since a time, the first lines of it.
func logSince(t *testing.T, n *harness.Node, from time.Time) string {
	const linesMax = 40
	stamp := from.Format("2006-01-02T15:04:05.000")
	var lines []string
	for line := range strings.Lines(string(must(os.ReadFile(n.LogFile()))(t))) {
		if line >= stamp && len(lines) < linesMax && !strings.Contains(line, ".amqp: connection ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func (r *randomRun) find(role string, leader *harness.Node) *harness.Node {
	switch role {
	case "leader":
		return leader
	case "follower1":
		return r.c.Others(leader)[0]
	case "follower2":
		return r.c.Others(leader)[1]
	}
	return r.c.Node(role)
}

// recover waits until the clients of every node work again.
func (r *randomRun) recover() {
	total := r.confirmed()
	type counts struct{ confirmed, acked map[string]int }
	var before []counts
	for _, l := range r.loads {
		c, a := l.Ledger.ByNode()
		before = append(before, counts{c, a})
	}
	check(r.t, harness.Poll(within(r.t, 30*time.Second), func() error {
		for i, l := range r.loads {
			c, a := l.Ledger.ByNode()
			for _, n := range r.c.Nodes {
				if c[n.Name] <= before[i].confirmed[n.Name] || a[n.Name] <= before[i].acked[n.Name] {
					return fmt.Errorf("load %d on %s: %d more publishes confirmed, %d more deliveries acknowledged", i, n.Name, c[n.Name]-before[i].confirmed[n.Name], a[n.Name]-before[i].acked[n.Name])
				}
			}
		}
		return nil
	}))
	if total == r.confirmed() {
		r.t.Error("nothing was confirmed")
	}
}

// finish drains and judges.
func (r *randomRun) finish() {
	t := r.t
	for _, l := range r.loads {
		l.StopPublishing()
	}
	for i, q := range []string{"work", "fan-a", "fan-b", "churn"} {
		err := harness.Poll(within(t, 60*time.Second), func() error {
			ready, err := harness.QueueLength(r.c.Nodes[i%3], q)
			if err == nil && ready > 0 {
				err = fmt.Errorf("%d messages are still in %s", ready, q)
			}
			return err
		})
		check(t, err)
	}
	for _, l := range r.loads {
		if err := l.Drain(within(t, 60*time.Second)); err != nil {
			t.Error(err)
			for _, id := range l.Ledger.Missing()[:min(3, len(l.Ledger.Missing()))] {
				t.Logf("%s: %s", id, l.Ledger.Story(id))
			}
		}
		if torn := l.Ledger.Torn(); len(torn) > 0 {
			t.Errorf("%d messages are torn:\n%s", len(torn), strings.Join(torn[:min(5, len(torn))], "\n"))
		}
		judge(t, l)
		for _, d := range l.Ledger.Ended() {
			if !r.wounded(d) {
				t.Errorf("%.1fs a connection to %s ended, which was not struck: %s: %s", d.At.Sub(r.began).Seconds(), d.Node, d.Role, d.Reason)
			}
		}
	}
	check(t, r.c.AwaitEqualDigests(within(t, 30*time.Second)))
	for _, n := range r.c.Nodes {
		r.readLog(n)
	}
	t.Logf("%d rounds, %d publishes confirmed; %s", r.rounds, r.confirmed(), r.pace)
	t.Logf("from the heal to 90 %% of the pace:\n%s", recoveryTable(r.recoveries))
}

// readLog looks for what no node should say.
func (r *randomRun) readLog(n *harness.Node) {
	content, err := os.ReadFile(n.LogFile())
	if err != nil {
		r.t.Error(err)
	}
	log := string(content)
	for _, bad := range []string{"panic", "fatal", "[ERROR]"} {
		if i := strings.Index(log, bad); i >= 0 {
			r.t.Errorf("%s's log has %q: %s", n.Name, bad, log[i:min(len(log), i+1000)])
		}
	}
}

func (r *randomRun) wounded(d harness.Disconnect) bool {
	return slices.ContainsFunc(r.wounds, func(w wound) bool {
		return w.node == d.Node && !d.At.Before(w.from) && !d.At.After(w.to)
	})
}
