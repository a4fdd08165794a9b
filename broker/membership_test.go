package broker

import (
	"testing"
	"time"
)

// TestDepart closes the origin of a node that is being removed at once, and only then returns.
func TestDepart(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		leader, going := c.nodes[0].node, c.nodes[2]
		session(t, going.node)
		c.step.Lock()
		going.setUp(false)
		going.cancel()
		c.step.Unlock()
		<-going.done
		began := time.Now()
		must(t, leader.Depart(t.Context(), going.id))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, o := range origins(leader) {
			if o.Node == going.id && o.Open {
				t.Error("the origin is open")
			}
		}
		if len(leader.Sessions()) != 0 {
			t.Error("its sessions are still there")
		}
		must(t, leader.Depart(t.Context(), going.id)) // again: nothing is to be done
		if !leader.Known(going.id) || leader.Known("n9-id") {
			t.Error("who was a member is not known")
		}
	})
}
