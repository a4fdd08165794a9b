package node

import (
	"context"

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

func (l replicatedLog) Members() []broker.Member {
	var out []broker.Member
	for _, m := range l.Group.Members() {
		out = append(out, broker.Member{Node: m.Server, Name: m.Name, Voter: m.Voter, Peer: m.Peer, AMQP: m.AMQP, HTTP: m.HTTP, Boot: m.Boot})
	}
	return out
}

// machine is broker.Node in the cluster's words.
type machine struct{ *broker.Node }

func (m machine) Freeze() (cluster.Frozen, error) { return m.Node.Freeze() }

var (
	_ broker.Log      = replicatedLog{}
	_ cluster.Machine = machine{}
)
