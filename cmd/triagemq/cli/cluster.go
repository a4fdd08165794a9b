package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Cluster is the noun of nodes, leadership and membership.
func Cluster() Command {
	return Command{
		Name: "cluster", Args: "COMMAND", Summary: "look at the cluster, move its leader, change its members",
		Commands: []Command{
			{Name: "status", Args: "[flags]", Summary: "say whether all is well, and what is not", Run: status,
				Help: "Says who leads, how many nodes may still fail, whether the replicas agree, and in words what is wrong. The exit code is 0 where nothing is and 4\n" +
					"where something is (docs/operations/README.md lists the warnings). A node that does not answer is known within half a second."},
			{Name: "members", Args: "[flags]", Summary: "list the nodes with their addresses, versions and how far each has got", Run: members},
			{Name: "transfer-leader", Args: "[--to NODE] [flags]", Summary: "hand leadership to another node", Run: transferLeader,
				Help: "Hands leadership to the node that --to names, or to any other than the present leader. Clients notice nothing: connections stay, and publishes wait\n" +
					"for some milliseconds. Any node may be asked."},
			{Name: "remove", Args: "NODE [--force] [flags]", Summary: "take a node that is gone for good out of the cluster", Run: remove,
				Help: "Takes a node that will not come back out of the cluster, so that the rest counts its majority without it. NODE is a name, or a server id where two\n" +
					"servers have the same name. A node that lives is to leave instead (triagemq cluster leave); --force removes it all the same, and also one without which\n" +
					"the remaining voters have no live majority. The data folder of a removed node cannot join again: empty it before the node is started again.\n" +
					"Any node but the removed one may be asked."},
			{Name: "leave", Args: "--url http://NODE [flags]", Summary: "let the node that is asked leave the cluster and end", Run: leave,
				Help: "The node that --url names applies what its clients sent, hands over leadership, closes its clients (they reconnect elsewhere), leaves the cluster and\n" +
					"ends. It refuses where the rest could not go on alone. Its data folder cannot join again: empty it before the node is started again."},
		},
	}
}

// clusterAnswer is what this package reads of GET /api/cluster (docs/management-api.md).
type clusterAnswer struct {
	Asked        string         `json:"asked"`
	Leader       string         `json:"leader"` // "" when there is none
	Term         uint64         `json:"term"`
	FeatureLevel uint32         `json:"feature_level"`
	Digests      string         `json:"digests"`
	Quorum       *quorumAnswer  `json:"quorum"` // nil from a node of an earlier version
	Warnings     []warning      `json:"warnings"`
	Nodes        []memberAnswer `json:"nodes"`

	raw json.RawMessage
}

type quorumAnswer struct {
	Voters    int `json:"voters"`
	Needed    int `json:"needed"`
	Reachable int `json:"reachable"`
	MayFail   int `json:"may_fail"`
}

type warning struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

type memberAnswer struct {
	ID                string   `json:"id"`
	Server            string   `json:"server"`
	State             string   `json:"state"` // leader, follower, candidate, unreachable
	Voter             bool     `json:"voter"`
	AMQP              string   `json:"amqp"`
	HTTP              string   `json:"http"`
	Peer              string   `json:"peer"`
	AppliedIndex      uint64   `json:"applied_index"`
	Behind            uint64   `json:"behind"`
	Alarms            []string `json:"alarms"`
	Boot              uint64   `json:"boot"`
	Version           string   `json:"version"`
	LastContactMillis *int64   `json:"last_contact_ms"`
}

// askBound is how long a node may take to describe the cluster: it gives its own questions to dead nodes half a second. With probeBound an answer comes within two.
const askBound = 1900 * time.Millisecond

// askCluster asks the chosen node about the cluster.
func askCluster(ctx context.Context, c *Client) (clusterAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	var a clusterAnswer
	if err := c.Get(ctx, "/api/cluster", &a.raw); err != nil {
		return a, err
	}
	if err := json.Unmarshal(a.raw, &a); err != nil {
		return a, fmt.Errorf("%s/api/cluster: not what was expected: %w", c.chosen, err)
	}
	if a.Quorum == nil {
		a.Quorum = &quorumAnswer{}
		a.Warnings = []warning{{"old_version", "the node that answers is of an earlier version and cannot judge the cluster: ask another with --url"}}
	}
	return a, nil
}

// role is what a node is in the replicated log.
func (m *memberAnswer) role() string {
	switch {
	case m.State == "leader":
		return "leader"
	case m.Voter:
		return "voter"
	}
	return "non-voter"
}

// named are the servers that go by a name or a server id.
func (a *clusterAnswer) named(name string) (found []memberAnswer) {
	for _, m := range a.Nodes {
		if m.ID == name || m.Server == name {
			found = append(found, m)
		}
	}
	return found
}

func (a *clusterAnswer) names() string {
	var names []string
	for _, m := range a.Nodes {
		names = append(names, m.ID)
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

// others are the HTTP doors of the nodes but those of one server.
func (a *clusterAnswer) others(server string) (urls []string) {
	for _, m := range a.Nodes {
		if m.Server != server && m.HTTP != "" && m.State != "unreachable" {
			urls = append(urls, "http://"+m.HTTP)
		}
	}
	return urls
}

func (a *clusterAnswer) has(server string) bool {
	return slices.ContainsFunc(a.Nodes, func(m memberAnswer) bool { return m.Server == server })
}
