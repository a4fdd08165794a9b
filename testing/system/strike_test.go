package system

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// What can strike a node. A kind that is listed twice is drawn twice as often.
var (
	processStrikes = []string{"kill", "kill", "terminate", "pause", "pause"}

	// cut: the host is unplugged, from clients too. isolate: it reaches no other node, clients reach it. mute: what it sends to the other nodes vanishes;
	// deafen: what they send to it. sever: it and the next node do not reach one another, both reach the third.
	networkStrikes = []string{"cut", "cut", "isolate", "mute", "deafen", "sever"}

	// These come alone: two nodes without their disks would be two copies of three lost. transfer: the leader is told to hand over; forget: a node is killed and
	// comes back with an empty folder; rejoin: a node leaves the cluster and comes back as a new one.
	membershipStrikes = []string{"transfer", "forget", "rejoin"}
)

// strike hits one node: at once or after a delay, and heals after hold.
type strike struct {
	kind        string // of the above, or restart: all nodes one after the other are terminated and started again
	role        string // leader, or follower1, follower2, n1, n2, n3
	delay, hold time.Duration
	node        *harness.Node // found when the round begins
	leads       bool          // it leads then
}

func (s strike) String() string {
	return fmt.Sprintf("%s %s (%s) after %v for %v", s.kind, s.role, s.node.Name, s.delay, s.hold)
}

// nameOf says what a round is, for the table of recoveries.
func nameOf(strikes []strike) string {
	switch {
	case strikes[0].kind == "restart":
		return "rolling restart"
	case len(strikes) == 3:
		return "kill all"
	}
	var names []string
	for _, s := range strikes {
		name := s.kind
		if s.leads {
			name += " leader"
		}
		if s.hold > 3*time.Second {
			name += ", long"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " + ")
}

// wounds says whether connections to n may end by this strike.
func (s strike) wounds(n *harness.Node) bool {
	if s.kind == "transfer" {
		return false
	}
	return s.node == n || s.kind == "sever" // a severed pair has two ends, and which of them comes to be without a leader is open
}

// leaderless says whether a node that was not struck may have been without a majority for so long that it closed its clients (after ten seconds).
func leaderless(strikes []strike) bool {
	return len(strikes) == 2 && min(strikes[0].delay+strikes[0].hold, strikes[1].delay+strikes[1].hold) > 6*time.Second
}

// carryOutAll returns when all is healed.
func (r *randomRun) carryOutAll(strikes []strike) error {
	if strikes[0].kind == "restart" {
		for _, s := range strikes {
			if err := r.restart(s.node); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, len(strikes))
	var all sync.WaitGroup
	for i, s := range strikes {
		all.Go(func() { errs[i] = r.carryOut(s) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// restart is one step of a rolling restart: the next node waits until all are ready, as an operator does.
func (r *randomRun) restart(n *harness.Node) error {
	if err := r.c.AwaitReady(within(r.t, 45*time.Second)); err != nil {
		return err
	}
	if err := n.Terminate(within(r.t, 25*time.Second)); err != nil {
		return err
	}
	return n.Start()
}

func (r *randomRun) carryOut(s strike) error {
	<-time.After(s.delay)
	switch s.kind {
	case "kill":
		s.node.Kill()
	case "terminate":
		if err := s.node.Terminate(within(r.t, 25*time.Second)); err != nil {
			return err
		}
	case "pause":
		s.node.Pause()
	case "transfer", "forget", "rejoin":
		return r.changeMembers(s)
	case "cut":
		r.w.Cut(r.t, r.number(s.node))
	default:
		for _, way := range r.ways(s) {
			r.w.Mute(r.t, way[0], way[1])
		}
	}
	<-time.After(s.hold)
	switch s.kind {
	case "kill", "terminate":
		return s.node.Start()
	case "pause":
		s.node.Resume()
	case "cut":
		r.w.Plug(r.t, r.number(s.node))
	default:
		for _, way := range r.ways(s) {
			r.w.Unmute(r.t, way[0], way[1])
		}
	}
	return nil
}

// changeMembers carries out a strike of membershipStrikes.
func (r *randomRun) changeMembers(s strike) error {
	ctx := within(r.t, 60*time.Second)
	switch s.kind {
	case "transfer":
		return s.node.Post(ctx, "/api/cluster/transfer-leader", map[string]string{})
	case "rejoin":
		if err := s.node.Post(ctx, "/api/cluster/leave", map[string]string{}); err != nil {
			return err
		}
		if err := harness.Poll(ctx, func() error {
			if s.node.Running() {
				return errors.New("a node that left still runs")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	r.readLog(s.node)
	if err := s.node.ForgetDisk(); err != nil {
		return err
	}
	<-time.After(s.hold)
	return s.node.Start()
}

// ways are the (from, to) between hosts on which packets vanish.
func (r *randomRun) ways(s strike) (ways [][2]int) {
	k := r.number(s.node)
	for other := range r.c.Nodes {
		if other == k {
			continue
		}
		next := other == (k+1)%len(r.c.Nodes)
		if s.kind == "isolate" || s.kind == "mute" || s.kind == "sever" && next {
			ways = append(ways, [2]int{k, other})
		}
		if s.kind == "isolate" || s.kind == "deafen" || s.kind == "sever" && next {
			ways = append(ways, [2]int{other, k})
		}
	}
	return ways
}

func (r *randomRun) number(n *harness.Node) int { return slices.Index(r.c.Nodes, n) }
