package amqp

import (
	"context"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// Broker is the node as this door needs it. ForNode makes one of a *broker.Node.
type Broker interface {
	Login(ctx context.Context, user, password, remoteAddr string) (broker.Identity, error)
	LoginExternal(ctx context.Context, user, remoteAddr string) (broker.Identity, error)
	Accepting() (bool, <-chan struct{})
	MemoryShort() bool
	OpenSession(ctx context.Context, spec broker.SessionSpec, h broker.Handler) (Session, error)

	OpenReplyAddress(t broker.ReplyTaker) (address string)
	CloseReplyAddress(address string)
	ReplyRefused(vhost, user string) (why string)
	SendReply(ctx context.Context, r broker.DirectReply, outcome func(taken bool))
	ReplyAddressOpen(ctx context.Context, address string) bool
}

// Session is a *broker.Session; see there. But for Close, the reader goroutine alone calls it.
type Session interface {
	Conn() uint32
	Submit(ctx context.Context, commands []byte) error
	AwaitPublish(ctx context.Context) error
	AwaitApplied(ctx context.Context) error
	Probe(ctx context.Context, command []byte) (reply fsm.Effect, ok bool, err error)
	Close(ctx context.Context)
}

// ForNode adapts a node.
func ForNode(n *broker.Node) Broker { return node{n} }

type node struct{ *broker.Node }

func (n node) OpenSession(ctx context.Context, spec broker.SessionSpec, h broker.Handler) (Session, error) {
	s, err := n.Node.OpenSession(ctx, spec, h)
	if err != nil {
		return nil, err // not s: a nil pointer in an interface is not nil
	}
	return s, nil
}
