package broker

import (
	"context"
	"fmt"

	"github.com/triagemq/triagemq/fsm"
)

// What operators change. Each call goes through the log and returns when this node has applied it. Its errors are Operate's: a *Refusal with the code and text
// of the state machine, ErrNotAccepting, ErrBusy, ErrOutcomeUnknown, ctx's; and errors that wrap ErrInvalid where the log was not asked. Any goroutine.

// VHostSpec is what is known about a virtual host beside its contents.
type VHostSpec struct {
	Name             string
	Description      string
	DefaultQueueType string // "classic", "quorum" or ""
	Tags             []string
	Creator          string // gets all permissions on a new virtual host; "" = nobody
}

// UserSpec is a user's record. The password is hashed already: HashPassword.
type UserSpec struct {
	Name     string
	Password PasswordHash
	Tags     []string
}

// PutVHost creates a virtual host or replaces what is known about it.
func (n *Node) PutVHost(ctx context.Context, v VHostSpec) error {
	return n.administer(ctx, append([]string{v.Name, v.DefaultQueueType, v.Creator}, v.Tags...), func(ref fsm.Ref) fsm.Command {
		return &fsm.PutVHost{Ref: ref, Name: v.Name, Description: v.Description, DefaultQueueType: v.DefaultQueueType, Creator: v.Creator, Tags: v.Tags}
	})
}

// DeleteVHost removes a virtual host with all in it and ends its connections.
func (n *Node) DeleteVHost(ctx context.Context, name string) error {
	return n.administer(ctx, []string{name}, func(ref fsm.Ref) fsm.Command { return &fsm.DeleteVHost{Ref: ref, Name: name} })
}

// PutVHostLimits sets how many connections and queues a virtual host may have; fsm.NoLimit lifts a limit.
func (n *Node) PutVHostLimits(ctx context.Context, vhost string, connectionsMax, queuesMax int64) error {
	return n.administer(ctx, []string{vhost}, func(ref fsm.Ref) fsm.Command {
		return &fsm.PutVHostLimits{Ref: ref, VHost: vhost, MaxConnections: connectionsMax, MaxQueues: queuesMax}
	})
}

// PutUser creates a user or replaces password and tags.
func (n *Node) PutUser(ctx context.Context, u UserSpec) error {
	if err := u.Password.Validate(); err != nil {
		return err
	}
	return n.administer(ctx, append([]string{u.Name}, u.Tags...), func(ref fsm.Ref) fsm.Command {
		return &fsm.PutUser{Ref: ref, Name: u.Name, Hash: u.Password.Hash, Algorithm: u.Password.Algorithm, Tags: u.Tags}
	})
}

// DeleteUser removes a user and ends his connections.
func (n *Node) DeleteUser(ctx context.Context, name string) error {
	return n.administer(ctx, []string{name}, func(ref fsm.Ref) fsm.Command { return &fsm.DeleteUser{Ref: ref, Name: name} })
}

// PutUserLimits sets how many connections and channels a user may have open; fsm.NoLimit lifts a limit.
func (n *Node) PutUserLimits(ctx context.Context, user string, connectionsMax, channelsMax int64) error {
	return n.administer(ctx, []string{user}, func(ref fsm.Ref) fsm.Command {
		return &fsm.PutUserLimits{Ref: ref, User: user, MaxConnections: connectionsMax, MaxChannels: channelsMax}
	})
}

// PutPermission says what a user may do in a virtual host.
func (n *Node) PutPermission(ctx context.Context, p fsm.PermissionView) error {
	return n.administer(ctx, []string{p.VHost, p.User}, func(ref fsm.Ref) fsm.Command {
		return &fsm.PutPermission{Ref: ref, VHost: p.VHost, User: p.User, Configure: p.Configure, Write: p.Write, Read: p.Read}
	})
}

// DeletePermission takes all access to a virtual host from a user.
func (n *Node) DeletePermission(ctx context.Context, vhost, user string) error {
	return n.administer(ctx, []string{vhost, user}, func(ref fsm.Ref) fsm.Command {
		return &fsm.DeletePermission{Ref: ref, VHost: vhost, User: user}
	})
}

// PutTopicPermission narrows what a user may do with a topic exchange to routing keys.
func (n *Node) PutTopicPermission(ctx context.Context, p fsm.TopicPermissionView) error {
	return n.administer(ctx, []string{p.VHost, p.User, p.Exchange}, func(ref fsm.Ref) fsm.Command {
		return &fsm.PutTopicPermission{Ref: ref, VHost: p.VHost, User: p.User, Exchange: p.Exchange, Write: p.Write, Read: p.Read}
	})
}

// DeleteTopicPermission lifts that for one exchange.
func (n *Node) DeleteTopicPermission(ctx context.Context, vhost, user, exchange string) error {
	return n.administer(ctx, []string{vhost, user, exchange}, func(ref fsm.Ref) fsm.Command {
		return &fsm.DeleteTopicPermission{Ref: ref, VHost: vhost, User: user, Exchange: exchange}
	})
}

// DeleteTopicPermissions lifts that for all exchanges of a virtual host.
func (n *Node) DeleteTopicPermissions(ctx context.Context, vhost, user string) error {
	return n.administer(ctx, []string{vhost, user}, func(ref fsm.Ref) fsm.Command {
		return &fsm.DeleteTopicPermission{Ref: ref, VHost: vhost, User: user, AllExchanges: true}
	})
}

// EndSession closes a connection of any node; its client is told 320 and the reason.
func (n *Node) EndSession(ctx context.Context, origin fsm.Origin, conn uint32, reason string) error {
	return n.administer(ctx, []string{origin.Node}, func(ref fsm.Ref) fsm.Command {
		return &fsm.EndSession{Ref: ref, Node: origin.Node, Boot: origin.Boot, Conn: conn, Reason: reason}
	})
}

// administer carries a command through the log. shorts are its strings that AMQP limits to 255 bytes: longer ones name nothing that can exist.
func (n *Node) administer(ctx context.Context, shorts []string, build func(ref fsm.Ref) fsm.Command) error {
	for _, s := range shorts {
		if len(s) > fsm.ShortStringBytesMax {
			return fmt.Errorf("%w: %.20q… is longer than %d bytes", ErrInvalid, s, fsm.ShortStringBytesMax)
		}
	}
	_, err := n.Operate(ctx, build)
	return err
}
