package broker

import (
	"slices"
	"testing"
	"time"
)

// healthy is a cluster of three in which nothing is wrong, as n1 sees it.
func healthyCluster() *ClusterStatus {
	c := &ClusterStatus{Leader: "n1", Term: 3, Asked: "n1"}
	for _, name := range []string{"n1", "n2", "n3"} {
		state := "follower"
		if name == "n1" {
			state = "leader"
		}
		c.Nodes = append(c.Nodes, NodeStatus{ID: name, Server: name + "-x", State: state, Voter: true, Digest: DigestStatus{Index: 90, Hash: "aa"}})
	}
	return c
}

func TestWarnings(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(c *ClusterStatus)
		want    []WarningCode
		digests DigestVerdict
		mayFail int
	}{
		"nothing":        {func(*ClusterStatus) {}, nil, DigestsEqual, 1},
		"one gone":       {func(c *ClusterStatus) { c.Nodes[2].State = "unreachable" }, []WarningCode{WarnNoReserve, WarnUnreachable}, DigestsEqual, 0},
		"no leader":      {func(c *ClusterStatus) { c.Leader = "" }, []WarningCode{WarnNoLeader}, DigestsEqual, 1},
		"memory":         {func(c *ClusterStatus) { c.Nodes[1].Alarms = []string{"memory"} }, []WarningCode{WarnAlarm}, DigestsEqual, 1},
		"far behind":     {func(c *ClusterStatus) { c.Nodes[1].Behind = behindEntries + 1 }, []WarningCode{WarnBehind}, DigestsEqual, 1},
		"a little":       {func(c *ClusterStatus) { c.Nodes[1].Behind = 200 }, nil, DigestsEqual, 1},
		"clock ahead":    {func(c *ClusterStatus) { c.Nodes[1].ClockAheadMillis = 3000 }, []WarningCode{WarnClock}, DigestsEqual, 1},
		"clock behind":   {func(c *ClusterStatus) { c.Nodes[1].ClockAheadMillis = -3000 }, []WarningCode{WarnClock}, DigestsEqual, 1},
		"diverged":       {func(c *ClusterStatus) { c.Nodes[1].Digest.Hash = "bb" }, []WarningCode{WarnDiverged}, DigestsDifferent, 1},
		"at the next":    {func(c *ClusterStatus) { c.Nodes[1].Digest = DigestStatus{91, "bb"} }, nil, DigestsPending, 1},
		"nobody marked":  {func(c *ClusterStatus) { c.markAll(DigestStatus{}) }, nil, DigestsNone, 1},
		"name twice":     {func(c *ClusterStatus) { c.Nodes[2].ID = "n2" }, []WarningCode{WarnName}, DigestsEqual, 1},
		"alone":          {func(c *ClusterStatus) { c.Nodes = c.Nodes[:1] }, nil, DigestsEqual, 0},
		"starting":       {func(c *ClusterStatus) { c.Nodes, c.Leader = nil, "" }, []WarningCode{WarnStarting}, DigestsNone, 0},
		"non-voter gone": {func(c *ClusterStatus) { c.Nodes[2].Voter, c.Nodes[2].State = false, "unreachable" }, []WarningCode{WarnNoReserve, WarnUnreachable}, DigestsEqual, 0},
		"minority": {func(c *ClusterStatus) {
			c.Nodes[1].State, c.Nodes[2].State, c.Leader = "unreachable", "unreachable", ""
		},
			[]WarningCode{WarnNoQuorum, WarnUnreachable, WarnUnreachable}, DigestsEqual, 0},
	} {
		s := healthyCluster()
		c.change(s)
		s.judge()
		var codes []WarningCode
		for _, w := range s.Warnings {
			codes = append(codes, w.Code)
		}
		if !slices.Equal(codes, c.want) || s.Digests != c.digests || s.Quorum.MayFail != c.mayFail {
			t.Errorf("%s: %v, digests %s, %+v; want %v, %s, %d", name, codes, s.Digests, s.Quorum, c.want, c.digests, c.mayFail)
		}
	}
}

func (c *ClusterStatus) markAll(d DigestStatus) {
	for i := range c.Nodes {
		c.Nodes[i].Digest = d
	}
}

func TestReportsAreCompared(t *testing.T) {
	now := time.Now().UnixMilli()
	c := &ClusterStatus{}
	c.compare([]nodeReport{
		{NodeStatus: NodeStatus{Server: "a", State: "leader", AppliedIndex: 100}, WallMillis: now, HeardMillis: map[string]int64{"b": 12}},
		{NodeStatus: NodeStatus{Server: "b", State: "follower", AppliedIndex: 70}, WallMillis: now + 5000},
		{NodeStatus: NodeStatus{Server: "c", State: "unreachable"}},
		{NodeStatus: NodeStatus{Server: "d", State: "follower", AppliedIndex: 101}, WallMillis: now - 10},
	}, "a")
	a, b, gone, ahead := c.Nodes[0], c.Nodes[1], c.Nodes[2], c.Nodes[3]
	if a.LastContactMillis != nil || b.LastContactMillis == nil || *b.LastContactMillis != 12 || gone.LastContactMillis != nil {
		t.Errorf("last contact: %+v", c.Nodes)
	}
	if a.Behind != 0 || b.Behind != 30 || gone.Behind != 0 || ahead.Behind != 0 {
		t.Errorf("behind: %+v", c.Nodes)
	}
	if a.ClockAheadMillis != 0 || b.ClockAheadMillis != 5000 || gone.ClockAheadMillis != 0 || ahead.ClockAheadMillis != -10 {
		t.Errorf("clocks: %+v", c.Nodes)
	}
}
