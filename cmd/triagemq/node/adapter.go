package node

import (
	"context"
	"errors"
	"strings"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/cluster"
)

// The broker declares the log that it needs, the cluster the machine that it drives; neither knows the other. These two adapters are all that lies between.

// replicatedLog is cluster.Group in the broker's words.
type replicatedLog struct{ *cluster.Group }

func (l replicatedLog) Leadership() (broker.Leadership, <-chan struct{}) {
	x, changed := l.Group.Leadership()
	return broker.Leadership{Node: x.Server, Term: x.Term, Self: x.Self}, changed
}

func (l replicatedLog) OpenStream(ctx context.Context) (broker.Stream, error) {
	s, err := l.Group.OpenStream(ctx)
	if err != nil {
		return nil, err // not a nil *cluster.Stream in an interface
	}
	return s, nil
}

func (l replicatedLog) FreshSnapshot(ctx context.Context, index uint64) (broker.LogSnapshot, error) {
	s, err := l.Group.FreshSnapshot(ctx, index)
	if err != nil {
		return broker.LogSnapshot{}, err
	}
	return broker.LogSnapshot{ReadCloser: s, Cluster: s.Cluster, Index: s.Index, Term: s.Term, SizeBytes: s.SizeBytes}, nil
}

func (l replicatedLog) Members() []broker.Member {
	var out []broker.Member
	for _, m := range l.Group.Members() {
		out = append(out, broker.Member{Node: m.Server, Name: m.Name, Voter: m.Voter, Peer: m.Peer, AMQP: m.AMQP, HTTP: m.HTTP, Boot: m.Boot, Version: m.Version, FeatureLevel: m.FeatureLevel})
	}
	return out
}

func (l replicatedLog) TransferLeadershipTo(ctx context.Context, server string) error {
	return membershipError(l.Group.TransferLeadershipTo(ctx, server))
}

func (l replicatedLog) RemoveServer(ctx context.Context, server string, force bool) error {
	return membershipError(l.Group.RemoveServer(ctx, server, force))
}

func (l replicatedLog) MayLeave(ctx context.Context) error {
	return membershipError(l.Group.MayLeave(ctx))
}
func (l replicatedLog) Leave(ctx context.Context) error { return membershipError(l.Group.Leave(ctx)) }

// membershipErrors are the cluster's errors in the broker's words.
var membershipErrors = map[error]error{
	cluster.ErrUnknown: broker.ErrNoSuchServer, cluster.ErrAmbiguous: broker.ErrAmbiguousName, cluster.ErrWouldLoseQuorum: broker.ErrWouldLoseQuorum,
	cluster.ErrLastVoter: broker.ErrLastVoter, cluster.ErrAlive: broker.ErrServerAlive, cluster.ErrNotVoter: broker.ErrServerNotVoter,
	cluster.ErrNotNow: broker.ErrNotNow, cluster.ErrNoLeader: broker.ErrNotNow, cluster.ErrNotLeader: broker.ErrNotNow, cluster.ErrClosed: broker.ErrNotNow,
}

func membershipError(err error) error {
	for from, to := range membershipErrors {
		if errors.Is(err, from) {
			return translated{to, strings.TrimPrefix(err.Error(), "cluster: ")}
		}
	}
	return err
}

// translated keeps an error's text under the name that the broker has for it.
type translated struct {
	kind error
	text string
}

func (t translated) Error() string { return t.text }
func (t translated) Unwrap() error { return t.kind }

// machine is broker.Node in the cluster's words.
type machine struct{ *broker.Node }

func (m machine) Freeze() (cluster.Frozen, error) { return m.Node.Freeze() }

var (
	_ broker.Log      = replicatedLog{}
	_ cluster.Machine = machine{}
)
