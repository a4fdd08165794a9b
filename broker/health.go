package broker

import (
	"fmt"
	"strings"
	"time"
)

// QuorumStatus counts the voters.
type QuorumStatus struct {
	Voters    int `json:"voters"`
	Needed    int `json:"needed"` // a majority of them
	Reachable int `json:"reachable"`
	MayFail   int `json:"may_fail"` // of those reachable, before writes stop
}

// DigestVerdict says how the digests compare that the nodes which answer took at their last Mark.
type DigestVerdict string

// Verdicts.
const (
	DigestsEqual     DigestVerdict = "equal"
	DigestsPending   DigestVerdict = "pending"   // taken at different indexes: some have not got to the latest Mark yet
	DigestsDifferent DigestVerdict = "different" // at one index: replicas have diverged
	DigestsNone      DigestVerdict = "none"      // nobody has one yet
)

// WarningCode is what a Warning is about, for scripts; the list only grows.
type WarningCode string

// Warnings, the worst first.
const (
	WarnDiverged    WarningCode = "diverged"    // replicas hold different states
	WarnStarting    WarningCode = "starting"    // the node that was asked does not know the cluster yet
	WarnNoQuorum    WarningCode = "no_quorum"   // fewer voters answer than a majority
	WarnNoLeader    WarningCode = "no_leader"   // writes stand still
	WarnUnreachable WarningCode = "unreachable" // a node does not answer
	WarnNoReserve   WarningCode = "no_reserve"  // one more voter lost and writes stop
	WarnAlarm       WarningCode = "alarm"       // a node is short of memory or disk and has publishers held
	WarnBehind      WarningCode = "behind"      // a replica has much to catch up with
	WarnClock       WarningCode = "clock"       // a node's wall clock is off
	WarnName        WarningCode = "name_twice"  // two servers have one name: the older of them is to be removed
)

// Warning is one thing that an operator should look at.
type Warning struct {
	Code WarningCode `json:"code"`
	Node string      `json:"node,omitempty"` // "" = the cluster
	Text string      `json:"text"`
}

const (
	behindEntries = 5000            // of the leader: several seconds of full load
	clockOff      = 2 * time.Second // of the median; a question may take 500 ms. A leader that is off by 10 s hands over
)

// judge fills in what follows from the nodes' words.
func (c *ClusterStatus) judge() {
	c.count()
	c.Digests = digestVerdict(c.Nodes)
	c.Warnings = []Warning{}
	c.warnOfCluster()
	for i := range c.Nodes {
		c.warnOfNode(&c.Nodes[i])
	}
}

func (c *ClusterStatus) count() {
	for _, s := range c.Nodes {
		if s.Voter {
			c.Quorum.Voters++
			if s.State != "unreachable" {
				c.Quorum.Reachable++
			}
		}
	}
	c.Quorum.Needed = c.Quorum.Voters/2 + 1
	c.Quorum.MayFail = max(0, c.Quorum.Reachable-c.Quorum.Needed)
}

func digestVerdict(nodes []NodeStatus) DigestVerdict {
	at := map[uint64]string{}
	var taken []NodeStatus
	for _, s := range nodes {
		if s.State == "unreachable" || s.Digest.Index == 0 {
			continue
		}
		if hash, seen := at[s.Digest.Index]; seen && hash != s.Digest.Hash {
			return DigestsDifferent
		}
		at[s.Digest.Index] = s.Digest.Hash
		taken = append(taken, s)
	}
	switch {
	case len(taken) == 0:
		return DigestsNone
	case len(at) > 1:
		return DigestsPending
	}
	return DigestsEqual
}

func (c *ClusterStatus) warn(code WarningCode, node, format string, args ...any) {
	c.Warnings = append(c.Warnings, Warning{Code: code, Node: node, Text: fmt.Sprintf(format, args...)})
}

func (c *ClusterStatus) warnOfCluster() {
	q := c.Quorum
	if c.Digests == DigestsDifferent {
		c.warn(WarnDiverged, "", "replicas hold different states at the same index: the one that a majority contradicts ends itself; keep its data folder and report this")
	}
	switch {
	case len(c.Nodes) == 0:
		c.warn(WarnStarting, "", "%s does not know the members of its cluster yet: it starts, or waits for other servers (its log says so)", c.Asked)
	case q.Reachable < q.Needed:
		c.warn(WarnNoQuorum, "", "%d of %d voters answer %s, and it takes %d: nothing can be written until more are back", q.Reachable, q.Voters, c.Asked, q.Needed)
	case c.Leader == "":
		c.warn(WarnNoLeader, "", "%s knows of no leader: an election is under way, or it is cut off from the others", c.Asked)
	case q.Voters > 1 && q.MayFail == 0:
		c.warn(WarnNoReserve, "", "no further voter may fail: %d of %d answer, and it takes %d", q.Reachable, q.Voters, q.Needed)
	}
	names := map[string]int{}
	for _, s := range c.Nodes {
		if names[s.ID]++; names[s.ID] == 2 {
			c.warn(WarnName, s.ID, "two servers are called %s: the one that is gone is removed once the other has a vote; if it stays, remove it by its server id", s.ID)
		}
	}
}

func (c *ClusterStatus) warnOfNode(s *NodeStatus) {
	if s.State == "unreachable" {
		c.warn(WarnUnreachable, s.ID, "%s does not answer %s", s.ID, c.Asked)
		return
	}
	if len(s.Alarms) > 0 {
		c.warn(WarnAlarm, s.ID, "%s has publishers held everywhere: %s", s.ID, strings.Join(s.Alarms, ", "))
	}
	if s.Behind > behindEntries {
		c.warn(WarnBehind, s.ID, "%s is %d entries behind the leader", s.ID, s.Behind)
	}
	if off := time.Duration(s.ClockAheadMillis) * time.Millisecond; off > clockOff || off < -clockOff {
		c.warn(WarnClock, s.ID, "the clock of %s is off by %v: is time synchronised there?", s.ID, off.Round(100*time.Millisecond))
	}
}
