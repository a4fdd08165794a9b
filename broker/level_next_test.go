//go:build nextlevel

package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

// gossip sets what gossip tells of a node's feature level.
func (c *memCluster) gossip(i int, level uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gossiped == nil {
		c.gossiped = map[int]uint32{}
	}
	c.gossiped[i] = level
}

// levelSoon is the level after the leader has had time to raise it.
func levelSoon(n *Node) uint32 {
	time.Sleep(5 * time.Second)
	return n.FeatureLevel()
}

// TestLevelIsRaised once gossip and every server itself say that they know the next one, and no operator holds it; what it brings is refused until then, before
// it reaches the log.
func TestLevelIsRaised(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		n := c.nodes[1].node
		if got := levelSoon(n); got != 1 {
			t.Fatalf("level %d before anybody told of one", got)
		}
		var refusal *Refusal
		before := c.logLen()
		if err := n.PutNote(t.Context(), "a", "b"); !errors.As(err, &refusal) || refusal.Code != fsm.NotYet {
			t.Errorf("a command of level 2 at level 1: %v", err)
		}
		if c.logLen() != before {
			t.Error("it reached the log")
		}
		c.gossip(0, 2)
		c.gossip(1, 2)
		if got := levelSoon(n); got != 1 {
			t.Fatalf("level %d with a server that tells of none", got)
		}
		c.nodes[2].setCut(true)
		c.gossip(2, 2)
		if got := levelSoon(n); got != 1 {
			t.Fatalf("level %d with a server that does not answer", got)
		}
		hold := func(value string) {
			_, err := n.Operate(t.Context(), func(ref fsm.Ref) fsm.Command {
				return &fsm.PutParameter{Ref: ref, Name: fsm.LevelHoldParameter, Value: []byte(value)}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		hold("1")
		c.nodes[2].setCut(false)
		if got := levelSoon(n); got != 1 {
			t.Fatalf("level %d, held at 1", got)
		}
		if st := n.ClusterStatus(t.Context()); st.FeatureLevel != 1 || st.FeatureLevelMax != 1 || st.Nodes[0].Supported != 2 {
			t.Errorf("status %+v", st)
		}
		hold("2")
		if got := levelSoon(n); got != 2 {
			t.Fatalf("level %d when everybody knows 2", got)
		}
		if err := n.PutNote(t.Context(), "a", "b"); err != nil {
			t.Error(err)
		}
		if text, ok := n.Note("a"); !ok || text != "b" {
			t.Errorf("note %q, %v", text, ok)
		}
	})
}

// TestEarlyCommandsOfSessions are refused before they are taken.
func TestEarlyCommandsOfSessions(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *memCluster) { // the other one tells of no level
		s, _ := session(t, c.nodes[0].node)
		defer s.Close(context.Background())
		early := (&fsm.PutNote{Name: "x"}).Append((&fsm.OpenChannel{Ref: fsm.Ref{Conn: s.Conn(), Channel: 1, Incarnation: 1}}).Append(nil))
		var refusal *Refusal
		if err := s.Submit(t.Context(), early); !errors.As(err, &refusal) || refusal.Code != fsm.NotYet {
			t.Errorf("submitted: %v", err)
		}
	})
}

// TestLeaderRefusesEarlyItems: what is of a level beyond the state's does not get into the log, whoever sends it.
func TestLeaderRefusesEarlyItems(t *testing.T) {
	n, err := New(memConfig(0))
	if err != nil {
		t.Fatal(err)
	}
	item := fsm.AppendBatch(nil, fsm.Origin{Node: "n1", Boot: 1}, 1, (&fsm.PutNote{Name: "x"}).Append(nil))
	if n.CheckItem(item) == nil {
		t.Error("admitted at level 1")
	}
	if err := n.Apply(1, 1, fsm.AppendEntry(nil, 0, [][]byte{fsm.AppendFeatureLevel(nil, 2)})); err != nil {
		t.Fatal(err)
	}
	if err := n.CheckItem(item); err != nil {
		t.Error(err)
	}
}
