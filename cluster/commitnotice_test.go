package cluster

import (
	"testing"
	"time"
)

// TestFollowersLearnOfALoneCommitAtOnce: CommitTimeout is out of the way, so that only the notice can tell them.
func TestFollowersLearnOfALoneCommitAtOnce(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) { cfg.CommitTimeout = 10 * time.Second }).start()
	leader := c.leader()
	s := leader.stream()
	var worst time.Duration
	for n := uint64(1); n <= 20; n++ {
		start := time.Now()
		sent := leader.send(s, n, n)
		for _, x := range c.nodes {
			x.applied(sent...)
		}
		worst = max(worst, time.Since(start))
	}
	t.Logf("from proposal to the last follower's apply, worst of 20: %v", worst)
	if worst > 2*time.Second {
		t.Errorf("a lone entry took %v to be applied everywhere", worst)
	}
}
