package cluster

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/memberlist"
)

// Two clusters never become one. Their nodes can come to hear of each other all the same: lists of --join that overlap by mistake, an address that another
// cluster took over, a node restored from the folder of an earlier cluster, a newcomer who was told of both. Whatever way the word of a server comes in,
// memberlist asks NotifyAlive before it believes it, and a server of another cluster is no member here. A server that has no cluster yet is nobody's: it
// counts until it says otherwise, and where it hears of two clusters it joins neither. The peer port checks the same once more, on every connection.

// foreignLocked tells whether a cluster id is that of another cluster.
func (m *membership) foreignLocked(cluster string) bool {
	return cluster != "" && m.self.Cluster != "" && cluster != m.self.Cluster
}

// countsLocked tells whether a server is a live one of this cluster, or of none yet. One that was of none when memberlist took it in may have joined another
// cluster since, or this node may have.
func (m *membership) countsLocked(x *gossipMember) bool {
	return x.alive && !m.foreignLocked(x.Cluster)
}

// NotifyAlive is memberlist.AliveDelegate: a server of another cluster is no member, whoever passes it on.
func (m *membership) NotifyAlive(n *memberlist.Node) error { return m.acceptable(n) }

// NotifyMerge is memberlist.MergeDelegate. What a neighbour knows is taken in server by server, by NotifyAlive; it is refused as a whole, and the neighbour's
// operator told, where there is nothing of this cluster in it.
func (m *membership) NotifyMerge(nodes []*memberlist.Node) error {
	var refused error
	for _, n := range nodes {
		err := m.acceptable(n)
		if err == nil {
			return nil
		}
		refused = err
	}
	return refused
}

// NotifyConflict is memberlist.ConflictDelegate: one server at two addresses, both alive, is either on its way from one to the other, or a data folder that
// was copied and now runs twice.
func (m *membership) NotifyConflict(existing, other *memberlist.Node) {
	if m.warned.Over("conflict " + existing.Name) {
		m.log.Warn("a server gossips from two addresses: it has moved within seconds, or two processes run on copies of one data folder, which can lose confirmed messages: stop one for good",
			"server", existing.Name, "address", addressOf(existing), "other_address", addressOf(other))
	}
}

func (m *membership) acceptable(n *memberlist.Node) error {
	meta, err := decodeGossipMeta(n.Name, n.Meta)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.foreignLocked(meta.Cluster) {
		return nil
	}
	if x := m.members[n.Name]; x != nil && x.Cluster != meta.Cluster {
		x.Cluster = meta.Cluster // it was of no cluster when it was taken in, and counts no more
		m.poke()
	}
	if m.warned.Over("cluster " + meta.Cluster) {
		m.log.Warn("another cluster's server turned up in the gossip and is kept out: do --join lists overlap, or was an address taken over? Give clusters secrets of their own",
			"cluster", m.self.Cluster, "other_cluster", meta.Cluster, "other_server", n.Name, "other_address", addressOf(n))
	}
	return fmt.Errorf("%s belongs to cluster %s, not %s", n.Name, meta.Cluster, m.self.Cluster)
}

func addressOf(n *memberlist.Node) string {
	return net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
}

// clustersOf are the cluster ids that servers name, sorted.
func clustersOf(servers []gossipMeta) (ids []string) {
	for _, x := range servers {
		if x.Cluster != "" && !slices.Contains(ids, x.Cluster) {
			ids = append(ids, x.Cluster)
		}
	}
	slices.Sort(ids)
	return ids
}

// adoptFromGossip takes this node into the cluster that others name, where all name the same.
func (g *Group) adoptFromGossip() {
	if id, _ := g.dir.identity(); id.Cluster != "" {
		return
	}
	_, others := g.gossip.snapshot()
	for _, x := range others {
		if x.Cluster != "" {
			_ = g.adopt(x.Cluster, x.Server) // it has said why not
			return
		}
	}
}

// adopt takes this node into a cluster; it does nothing where it has one. It refuses, for good as long as gossip knows of both, where others name another.
func (g *Group) adopt(cluster, from string) error {
	if id, _ := g.dir.identity(); id.Cluster != "" {
		return nil
	}
	_, others := g.gossip.snapshot() // it is there before the peer port serves any protocol
	if ids := clustersOf(append(others, gossipMeta{Cluster: cluster})); len(ids) > 1 {
		if g.gossip.warned.Over("two clusters") {
			g.log.Warn("this node has no cluster yet and hears of more than one: it joins none until --join names servers of one alone", "clusters", ids)
		}
		return fmt.Errorf("undecided between the clusters %s", strings.Join(ids, ", "))
	}
	adopted, err := g.dir.adoptCluster(cluster)
	if err != nil {
		g.log.Error("cannot keep the cluster id", "error", err)
		return err
	}
	if adopted {
		g.log.Info("joined a cluster", "cluster", cluster, "told_by", from)
	}
	return nil
}

// reportContact tells of a gossip address that gives no contact. A server that is not there is daily business; one that refuses is an operator's.
func (m *membership) reportContact(addr string, err error) {
	text := err.Error()
	for _, sign := range []string{"belongs to cluster", "is in cluster", "decrypt", "encrypt", "TLS", "secrets differ"} {
		if strings.Contains(text, sign) && m.warned.Over("contact "+addr) {
			m.log.Warn("a server of --join gives no contact: it is another cluster's, or secrets or certificates differ; the same is not told again for a minute", "address", addr, "error", err)
			return
		}
	}
	m.log.Debug("no gossip contact yet", "address", addr, "error", err)
}

// gossipLog passes memberlist's lines on. Its warnings are daily business of a failure detector; but who cannot be understood is an operator's.
type gossipLog struct{ m *membership }

func (g gossipLog) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	switch {
	case bytes.Contains(line, []byte("Decrypt packet failed")), bytes.Contains(line, []byte("encryption is ")), bytes.Contains(line, []byte("no installed keys")):
		if g.m.warned.Over("undecipherable") {
			g.m.log.Warn("gossip came in that this node cannot decipher: another cluster's, or the secrets differ; the same is not told again for a minute", "line", text)
		}
	case bytes.HasPrefix(line, []byte("[WARN]")), bytes.HasPrefix(line, []byte("[ERR]")):
		g.m.log.Debug("memberlist", "line", text)
	default:
		g.m.log.Trace("memberlist", "line", text)
	}
	return len(line), nil
}
