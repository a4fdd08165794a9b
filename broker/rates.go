package broker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

const (
	ratesEvery = 5 * time.Second
	ratesChunk = 1000 // meters that are read in one hold of the state
)

// Rates are changes per second over the last full sample of 5 s. What did not change in it has the zero value.
type Rates struct {
	Counts      [fsm.CounterCount]float64
	Ready, Held float64
}

// RateTable is the outcome of one sample. It is not changed any more.
type RateTable struct {
	objects map[uint64]Rates // by serial of queue, exchange, virtual host
	churn   map[string]ChurnRates
	Total   Rates // Counts of all virtual hosts together, messages of all queues
}

// ChurnRates are fsm.Churn per second.
type ChurnRates struct {
	ConnectionsCreated, ConnectionsClosed        float64
	ChannelsCreated, ChannelsClosed              float64
	QueuesDeclared, QueuesCreated, QueuesDeleted float64
}

// Of returns the rates of a queue, an exchange or, with that of its default exchange, a virtual host.
func (t *RateTable) Of(serial uint64) Rates { return t.objects[serial] }

// Churn returns the rates of what clients of a node (its id in the log) began and ended.
func (t *RateTable) Churn(node string) ChurnRates { return t.churn[node] }

// rates are sampled by one goroutine: each sample looks only at the meters that moved, so that 50,000 idle queues cost nothing.
type rates struct {
	table atomic.Pointer[RateTable]

	// The sampler's own.
	moved []fsm.Moved
	churn map[string]fsm.Churn
	at    time.Time
}

// Rates returns the latest. Any goroutine.
func (n *Node) Rates() *RateTable {
	if t := n.rates.table.Load(); t != nil {
		return t
	}
	return &RateTable{}
}

func (n *Node) sampleRates(ctx context.Context) {
	n.takeRates() // what was counted so far, a replay of the log for one, is no rate
	ticks := time.NewTicker(ratesEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			n.rates.table.Store(n.takeRates())
		}
	}
}

// takeRates reads what moved since the last call.
func (n *Node) takeRates() *RateTable {
	r := &n.rates
	now := time.Now()
	seconds := max(now.Sub(r.at).Seconds(), 0.001)
	r.at = now
	t := &RateTable{objects: map[uint64]Rates{}, churn: map[string]ChurnRates{}}
	for more := true; more; {
		r.moved, more = n.replica.takeMoved(r.moved[:0], ratesChunk)
		for i := range r.moved {
			t.objects[r.moved[i].Serial] = perSecond(&r.moved[i], seconds)
		}
	}
	n.replica.view(func(s *fsm.State) { t.sum(s); r.sampleChurn(s, t, seconds) })
	return t
}

// perSecond compares two readings. A state that came from a snapshot counts from zero again: what seems to have gone back has no rate.
func perSecond(m *fsm.Moved, seconds float64) (r Rates) {
	for i := range r.Counts {
		if m.Now.Counts[i] > m.Before.Counts[i] {
			r.Counts[i] = float64(m.Now.Counts[i]-m.Before.Counts[i]) / seconds
		}
	}
	r.Ready = float64(m.Now.Ready-m.Before.Ready) / seconds
	r.Held = float64(m.Now.Held-m.Before.Held) / seconds
	return r
}

// sum adds the counts of the virtual hosts, which have each message once, and the messages of the queues.
func (t *RateTable) sum(s *fsm.State) {
	for _, name := range s.VHostNames() {
		v, _ := s.Exchange(name, "")
		for i, rate := range t.objects[v.Serial].Counts {
			t.Total.Counts[i] += rate
		}
	}
	for _, r := range t.objects {
		t.Total.Ready += r.Ready
		t.Total.Held += r.Held
	}
}

func (r *rates) sampleChurn(s *fsm.State, t *RateTable, seconds float64) {
	before := r.churn
	r.churn = map[string]fsm.Churn{}
	for _, o := range s.Churn() {
		b, known := before[o.Node]
		r.churn[o.Node] = o.Churn
		if !known {
			continue
		}
		rate := func(was, is uint64) float64 { return float64(max(is, was)-was) / seconds }
		t.churn[o.Node] = ChurnRates{
			ConnectionsCreated: rate(b.ConnectionsCreated, o.ConnectionsCreated), ConnectionsClosed: rate(b.ConnectionsClosed, o.ConnectionsClosed),
			ChannelsCreated: rate(b.ChannelsCreated, o.ChannelsCreated), ChannelsClosed: rate(b.ChannelsClosed, o.ChannelsClosed),
			QueuesDeclared: rate(b.QueuesDeclared, o.QueuesDeclared), QueuesCreated: rate(b.QueuesCreated, o.QueuesCreated),
			QueuesDeleted: rate(b.QueuesDeleted, o.QueuesDeleted),
		}
	}
}

// takeMoved reads meters, which excludes the views: they have to stay short.
func (r *replica) takeMoved(into []fsm.Moved, max int) ([]fsm.Moved, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.TakeMoved(into, max)
}
