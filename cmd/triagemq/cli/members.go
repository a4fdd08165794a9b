package cli

import (
	"encoding/json"
	"fmt"
)

func members(in *Invocation) error {
	fs := in.Flags()
	flags := in.ClientFlags(fs)
	asJSON := fs.Bool("json", false, "print the nodes of /api/cluster as JSON")
	if _, err := in.Parse(fs, 0, 0); err != nil {
		return err
	}
	c, err := flags.Open()
	if err != nil {
		return err
	}
	a, err := askCluster(in.Context, c)
	if err != nil {
		return err
	}
	if *asJSON {
		var whole struct{ Nodes json.RawMessage }
		if err := json.Unmarshal(a.raw, &whole); err != nil {
			return err
		}
		return PrintJSON(in.Stdout, whole.Nodes)
	}
	t := NewTable("NAME", "ROLE", "STATE", "APPLIED", "BEHIND", "CONTACT", "BOOT", "VERSION", "AMQP", "HTTP", "PEER", "SERVER")
	for _, m := range a.Nodes {
		applied, behind := fmt.Sprint(m.AppliedIndex), fmt.Sprint(m.Behind)
		if m.State == "unreachable" {
			applied, behind = "", ""
		}
		t.Row(m.ID, m.role(), m.State, applied, behind, m.contact(), known(m.Boot), m.Version, m.AMQP, m.HTTP, m.Peer, m.Server)
	}
	t.Print(in.Stdout)
	return nil
}

// contact is how long ago the leader heard of a node.
func (m *memberAnswer) contact() string {
	if m.LastContactMillis == nil {
		return ""
	}
	return fmt.Sprintf("%dms", *m.LastContactMillis)
}

// known prints a number of which 0 says that nobody knows it.
func known(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
