package broker

import (
	"cmp"
	"context"
	"slices"

	"github.com/triagemq/triagemq/fsm"
)

// The views read this node's own replica, which may be a moment behind the leader's. Long lists are read in pieces, so as not to hold up Apply: they
// are no snapshot of one moment. Any goroutine.

// CatchUp waits until this node has applied what was committed when it was called, or until ctx ends: what follows then sees what clients of other nodes
// were told before. Without a leader it is the caller's ctx that ends it. Any goroutine.
func (n *Node) CatchUp(ctx context.Context) {
	if !n.isAttached() {
		return
	}
	if index, err := n.log.ReadIndex(ctx); err == nil {
		_ = n.applied.wait(ctx, index, nil) // late is no error: the views are then as old as before
	}
}

// viewChunk is how many objects are read in one hold of the state.
const viewChunk = 200

// inChunks calls f for every element of keys, some in each hold of the state.
func inChunks[K any](n *Node, keys []K, f func(s *fsm.State, key K)) {
	for chunk := range slices.Chunk(keys, viewChunk) {
		n.replica.view(func(s *fsm.State) {
			for _, key := range chunk {
				f(s, key)
			}
		})
	}
}

// QueueNames lists the queues of a virtual host ("" = all) by virtual host and name.
func (n *Node) QueueNames(vhost string) (names []fsm.ObjectName) {
	n.replica.view(func(s *fsm.State) { names = s.QueueNames(vhost, nil) })
	slices.SortFunc(names, func(a, b fsm.ObjectName) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.Name, b.Name))
	})
	return names
}

// QueueDetails returns those that are still there, in the order of names.
func (n *Node) QueueDetails(names []fsm.ObjectName) []fsm.QueueDetail {
	queues := make([]fsm.QueueDetail, 0, len(names))
	inChunks(n, names, func(s *fsm.State, name fsm.ObjectName) {
		if q, ok := s.QueueDetail(name); ok {
			queues = append(queues, q)
		}
	})
	return queues
}

// Queues lists the queues of a virtual host by name ("" = all).
func (n *Node) Queues(vhost string) (queues []fsm.QueueView) {
	for _, q := range n.QueueDetails(n.QueueNames(vhost)) {
		queues = append(queues, q.QueueView)
	}
	return queues
}

// Queue returns one queue.
func (n *Node) Queue(vhost, name string) (queue fsm.QueueView, ok bool) {
	n.replica.view(func(s *fsm.State) { queue, ok = s.Queue(vhost, name) })
	return queue, ok
}

// Exchanges lists the exchanges of a virtual host ("" = all) by virtual host and name, default exchanges included.
func (n *Node) Exchanges(vhost string) (exchanges []fsm.ExchangeView) {
	n.replica.view(func(s *fsm.State) { exchanges = s.Exchanges(vhost) })
	return exchanges
}

// Bindings lists the bindings of a virtual host ("" = all) by source, but for those that every queue has to the default exchange.
func (n *Node) Bindings(vhost string) (bindings []fsm.BindingView) {
	inChunks(n, n.Exchanges(vhost), func(s *fsm.State, x fsm.ExchangeView) {
		bindings = append(bindings, s.BindingsFrom(x.VHost, x.Name)...)
	})
	return bindings
}

// Consumers lists the consumers of a virtual host ("" = all) by queue.
func (n *Node) Consumers(vhost string) (consumers []fsm.ConsumerView) {
	inChunks(n, n.QueueNames(vhost), func(s *fsm.State, name fsm.ObjectName) {
		consumers = append(consumers, s.Consumers(name.VHost, name.Name)...)
	})
	return consumers
}

// Sessions lists the sessions of all nodes.
func (n *Node) Sessions() (sessions []fsm.SessionView) {
	n.replica.view(func(s *fsm.State) { sessions = s.Sessions() })
	return sessions
}

// Channels lists the channels of sessions, in their order.
func (n *Node) Channels(sessions []fsm.SessionView) (channels []fsm.ChannelView) {
	inChunks(n, sessions, func(s *fsm.State, ses fsm.SessionView) {
		channels = append(channels, s.Channels(fsm.SessionKey{Origin: ses.Origin, Conn: ses.Conn})...)
	})
	return channels
}

// Counts returns the totals of the state.
func (n *Node) Counts() (counts fsm.Counts) {
	n.replica.view(func(s *fsm.State) { counts = s.Counts() })
	return counts
}

// Users lists the users by name. Their hashes are secrets.
func (n *Node) Users() (users []fsm.UserView) {
	n.replica.view(func(s *fsm.State) { users = s.Users() })
	return users
}

// User returns one user.
func (n *Node) User(name string) (user fsm.UserView, ok bool) {
	n.replica.view(func(s *fsm.State) { user, ok = s.User(name) })
	return user, ok
}

// Permissions lists what users may do, by virtual host and user.
func (n *Node) Permissions() (permissions []fsm.PermissionView) {
	n.replica.view(func(s *fsm.State) { permissions = s.Permissions() })
	return permissions
}

// TopicPermissions lists what users may do with topic exchanges, by virtual host, user and exchange.
func (n *Node) TopicPermissions() (permissions []fsm.TopicPermissionView) {
	n.replica.view(func(s *fsm.State) { permissions = s.TopicPermissions() })
	return permissions
}

// VHosts lists the virtual hosts by name.
func (n *Node) VHosts() (vhosts []fsm.VHostView) {
	n.replica.view(func(s *fsm.State) { vhosts = s.VHosts() })
	return vhosts
}

// VHost returns one virtual host.
func (n *Node) VHost(name string) (vhost fsm.VHostView, ok bool) {
	n.replica.view(func(s *fsm.State) { vhost, ok = s.VHost(name) })
	return vhost, ok
}

// Policies lists the policies, or the operator policies, of a virtual host ("" = all) in the order in which they are tried.
func (n *Node) Policies(vhost string, operator bool) (policies []fsm.PolicyView) {
	n.replica.view(func(s *fsm.State) { policies = s.Policies(vhost, operator) })
	return policies
}

// Policy returns one policy or operator policy.
func (n *Node) Policy(vhost, name string, operator bool) (policy fsm.PolicyView, ok bool) {
	n.replica.view(func(s *fsm.State) { policy, ok = s.Policy(vhost, name, operator) })
	return policy, ok
}

// Parameters lists the runtime parameters of a virtual host and component, each "" for all, without the global ones.
func (n *Node) Parameters(vhost, component string) (parameters []fsm.ParameterView) {
	n.replica.view(func(s *fsm.State) { parameters = s.Parameters(vhost, component) })
	return parameters
}

// GlobalParameters lists the runtime parameters that belong to no virtual host.
func (n *Node) GlobalParameters() (parameters []fsm.ParameterView) {
	n.replica.view(func(s *fsm.State) { parameters = s.GlobalParameters() })
	return parameters
}

// Parameter returns one runtime parameter; a global one has vhost and component "".
func (n *Node) Parameter(vhost, component, name string) (parameter fsm.ParameterView, ok bool) {
	n.replica.view(func(s *fsm.State) { parameter, ok = s.Parameter(vhost, component, name) })
	return parameter, ok
}
