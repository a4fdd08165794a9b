package cli

import "slices"

// clusterAnswer is what this package reads of GET /api/cluster.
type clusterAnswer struct {
	Leader string         `json:"leader"` // "" when there is none
	Term   uint64         `json:"term"`
	Nodes  []memberAnswer `json:"nodes"`
}

type memberAnswer struct {
	ID           string `json:"id"`
	State        string `json:"state"` // leader, follower, candidate, unreachable
	Voter        bool   `json:"voter"`
	AMQP         string `json:"amqp"`
	HTTP         string `json:"http"`
	Peer         string `json:"peer"`
	AppliedIndex uint64 `json:"applied_index"`
	Version      string `json:"version"`
}

func members(in *Invocation) error {
	fs := in.Flags()
	flags := in.ClientFlags(fs)
	asJSON := fs.Bool("json", false, "print JSON")
	if _, err := in.Parse(fs, 0, 0); err != nil {
		return err
	}
	c, err := flags.Open()
	if err != nil {
		return err
	}
	var cluster clusterAnswer
	if err := c.Get(in.Context, "/api/cluster", &cluster); err != nil {
		return err
	}
	if *asJSON {
		return PrintJSON(in.Stdout, cluster.Nodes)
	}
	t := NewTable("NAME", "STATE", "VOTER", "APPLIED", "AMQP", "HTTP", "PEER", "VERSION")
	for n := range slices.Values(cluster.Nodes) {
		t.Row(n.ID, n.State, n.Voter, n.AppliedIndex, n.AMQP, n.HTTP, n.Peer, n.Version)
	}
	t.Print(in.Stdout)
	return nil
}
