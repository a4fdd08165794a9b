package cli

// Cluster is the noun of nodes, leadership and membership.
func Cluster() Command {
	return Command{
		Name: "cluster", Args: "COMMAND", Summary: "look at the cluster, move its leader, change its members",
		Commands: []Command{
			{Name: "members", Args: "[flags]", Summary: "list the nodes", Run: members},
		},
	}
}
