package broker

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/triagemq/triagemq/fsm"
)

// The feature level is raised by the leader: at each turn of its duties it compares the state's level with what the servers of the configuration, voters and
// others, say they know. Gossip says it cheaply and perhaps late; so before the item goes into the log each server is asked at its own door, and one that does
// not answer, or does not know the question, keeps the level where it is. Between the answers and the apply a server may still be replaced by an older program:
// that one stops at the entry (Apply), and goes on with the newer program.

// levelAnswer is the answer to askLevel, as JSON: fields may be added.
type levelAnswer struct {
	Supported uint32 `json:"supported"` // the newest feature level that the program can apply
	Level     uint32 `json:"level"`     // the state's
}

// FeatureLevel is the replicated feature level, as far as this node has applied. Any goroutine.
func (n *Node) FeatureLevel() uint32 { return n.level.Load() }

// noteLevel follows the state. It is called with applyMu held.
func (n *Node) noteLevel() {
	n.replica.view(func(s *fsm.State) { n.level.Store(s.FeatureLevel()) })
}

// early is the refusal of a command that the cluster's feature level does not have yet. It must not be sent on: a leader of an older version would not let it
// into the log, and end the stream that brought it each time.
func (n *Node) early(command []byte) error {
	code, text, early := fsm.Early(fsm.KindOf(command), n.level.Load())
	if !early {
		return nil
	}
	return &Refusal{Code: code, Text: text}
}

// earlyAmong is early for a concatenation of commands.
func (n *Node) earlyAmong(commands []byte) error {
	if n.level.Load() == fsm.FeatureLevelMax {
		return nil
	}
	for {
		command, rest, ok := fsm.NextCommand(commands)
		if !ok {
			return nil
		}
		if err := n.early(command); err != nil {
			return err
		}
		commands = rest
	}
}

func (n *Node) answerLevel() ([]byte, error) {
	return json.Marshal(levelAnswer{Supported: fsm.FeatureLevelMax, Level: n.level.Load()})
}

// raiseLevel proposes the next feature level when all servers know it and no operator holds it back. One level at a time: each has its own entry.
func (d *duties) raiseLevel() {
	n := d.node
	level := n.level.Load()
	if level >= fsm.FeatureLevelMax {
		return
	}
	next := level + 1
	var allowed uint32
	n.replica.view(func(s *fsm.State) { allowed = s.LevelAllowed() })
	members := n.log.Members()
	for _, m := range members {
		if m.FeatureLevel < next && m.Node != n.self {
			return
		}
	}
	if allowed < next || len(members) == 0 || !n.allKnowLevel(d.ctx, members, next) {
		return
	}
	n.logger.Info("all servers know the next feature level: raising it", "from", level, "to", next)
	d.propose(fsm.AppendFeatureLevel(nil, next), "feature level")
}

// allKnowLevel asks every server at its own door.
func (n *Node) allKnowLevel(ctx context.Context, members []Member, level uint32) bool {
	ctx, cancel := context.WithTimeout(ctx, statusBound)
	defer cancel()
	known := make([]bool, len(members))
	var calls sync.WaitGroup
	for i, m := range members {
		calls.Go(func() { known[i] = n.knowsLevel(ctx, m.Node, level) })
	}
	calls.Wait()
	for i, m := range members {
		if !known[i] {
			n.logger.Debug("a server does not say that it knows the next feature level", "node", m.Name, "level", level)
			return false
		}
	}
	return true
}

func (n *Node) knowsLevel(ctx context.Context, node string, level uint32) bool {
	if node == n.self {
		return fsm.FeatureLevelMax >= level
	}
	var a levelAnswer
	answer, err := n.log.Call(ctx, node, []byte(askLevel))
	return err == nil && json.Unmarshal(answer, &a) == nil && a.Supported >= level
}
