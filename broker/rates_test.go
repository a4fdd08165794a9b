package broker

import (
	"testing"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

func TestRates(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		time.Sleep(time.Second) // between two samples
		n := c.nodes[1].node
		s, _ := session(t, n)
		must(t, s.Submit(t.Context(), (&fsm.DeclareQueue{Ref: ref(s), Name: "q"}).Append(nil)))
		for range 50 {
			publish(t, s, 0)
		}
		time.Sleep(2 * ratesEvery) // one full sample at least has passed since, and one more has not
		seen := func() Rates {
			q, _ := n.Queue("/", "q")
			return n.Rates().Of(q.Serial)
		}
		if r := seen(); r != (Rates{}) {
			t.Errorf("rates of an idle queue: %+v", r)
		}
		for range 50 {
			publish(t, s, 0)
		}
		time.Sleep(ratesEvery)
		if r := seen(); r.Counts[fsm.PublishCount] != 10 || r.Ready != 10 || n.Rates().Total.Counts[fsm.PublishCount] != 10 || n.Rates().Total.Ready != 10 {
			t.Errorf("50 messages in 5 s: %+v, total %+v", r, n.Rates().Total)
		}
		s.Close(t.Context())
		time.Sleep(ratesEvery)
		if r := n.Rates().Churn(n.self); r.ConnectionsClosed == 0 {
			t.Errorf("churn %+v", r)
		}
		if d := c.nodes[0].node.Details(t.Context()); len(d) != 3 || !d[1].Running || d[1].Node != n.self || d[1].MemLimit == 0 {
			t.Errorf("details %+v", d)
		}
	})
}
