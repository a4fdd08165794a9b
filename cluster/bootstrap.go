package cluster

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Founding a cluster happens once. The rules, and the accident that each prevents:
//   - all N servers report that they see the same N: two halves that do not know of each other would found two clusters;
//   - none of them has raft state: a node that comes back to a running cluster must not found another one beside it;
//   - the lowest server id acts, nobody else;
//   - it acts under a cluster id that it draws itself, and keeps on disk before raft knows of anything. Where another member already carries an id, some
//     founder has acted; if it is gone for good before anybody had its log, an operator must decide (clear the folders), not the next in line.
//
// founders returns the servers of the new cluster if this node is to found it now.
func founders(self gossipMeta, others []gossipMeta, drawn bool) []gossipMeta {
	all := append([]gossipMeta{self}, others...)
	if self.Expect < 1 || uint64(len(all)) != self.Expect || self.HasState || self.Cluster != "" && !drawn {
		return nil
	}
	for _, x := range others {
		switch {
		case x.Server < self.Server, x.HasState, x.Expect != self.Expect, x.View != self.View:
			return nil
		case x.Cluster != "" && x.Cluster != self.Cluster:
			return nil
		}
	}
	return all
}

// bootstrap founds the cluster of these servers, all voters, on this node's fresh raft instance.
func (g *Group) bootstrap(servers []gossipMeta) error {
	cluster, err := g.dir.drawCluster()
	if err != nil {
		return err
	}
	var conf raft.Configuration
	for _, s := range servers {
		conf.Servers = append(conf.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(s.Server), Address: raft.ServerAddress(s.Peer)})
	}
	if err := g.instance().raft.BootstrapCluster(conf).Error(); err != nil {
		return fmt.Errorf("founding cluster %s: %w", cluster, err)
	}
	g.log.Info("founded a cluster", "cluster", cluster, "servers", len(servers))
	return nil
}

// watchGossip keeps this node's own word up to date, takes over the cluster id of others, and founds the cluster when it is time.
func (g *Group) watchGossip() {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	told := time.Now()
	for g.ctx.Err() == nil {
		g.adoptFromGossip()
		g.gossip.update(g.describe)
		self, others := g.gossip.snapshot()
		id, _ := g.dir.identity()
		if all := founders(self, others, id.Drawn); all != nil {
			if err := g.bootstrap(all); err != nil {
				g.log.Error("cannot found the cluster", "error", err)
			}
			g.gossip.update(g.describe)
		}
		if !self.HasState && time.Since(told) >= tellEvery {
			told = time.Now()
			g.tellWaiting(self, others)
		}
		select {
		case <-g.gossip.changed:
		case <-tick.C:
		case <-g.ctx.Done():
		}
	}
}

// tellEvery is how often a node that waits for a cluster says what it waits for.
const tellEvery = 5 * time.Second

// tellWaiting tells an operator whom this node has heard of: most likely a node is not started, or an address or the secret differs.
func (g *Group) tellWaiting(self gossipMeta, others []gossipMeta) {
	heard := []string{self.Name}
	for _, x := range others {
		heard = append(heard, x.Name)
		if err := g.fitsCluster(x); err != nil {
			g.log.Error("this node cannot be taken into the cluster", "error", err, "told_by", x.Name)
			return
		}
	}
	if self.Cluster != "" {
		g.log.Warn("waiting to be taken into the cluster: its leader does that once it hears of this node by gossip and reaches its peer port; what keeps it from that is in the leader's log", "cluster", self.Cluster, "heard_of", heard)
		return
	}
	if self.Expect == 0 {
		g.log.Warn("waiting to be taken into a cluster: this node forms none (--join without --bootstrap-expect); the leader takes it in once they hear of each other; check --join, the firewall (TCP and UDP) and the cluster secret", "heard_of", heard)
		return
	}
	if uint64(len(heard)) > self.Expect {
		g.log.Warn("more servers are heard of than form the cluster, and none is formed: do --join lists of two clusters overlap, or does --bootstrap-expect differ?", "expect", self.Expect, "heard_of", heard)
		return
	}
	g.log.Warn("waiting for the servers that form the cluster; check that all run with the same --join, --bootstrap-expect and secret", "expect", self.Expect, "heard_of", heard)
}

// describe brings what changes in this node's word up to date.
func (g *Group) describe(m *gossipMeta) {
	id, boot := g.dir.identity()
	m.Cluster, m.Boot, m.HasState, m.Leaving, m.Level = id.Cluster, boot, g.hasState(), g.leaving.Load(), g.dir.level()
}
