package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// levelNode is a lone server whose program knows some feature levels.
type levelNode struct {
	*testNode
	fatal chan error
}

func newLevelNode(t *testing.T) *levelNode {
	x := &levelNode{testNode: newCluster(t, 1, nil).nodes[0], fatal: make(chan error, 16)}
	x.cfg.Fatal = func(err error) {
		select {
		case x.fatal <- err:
		default:
		}
	}
	return x
}

// open starts it with a program that knows levels up to known.
func (x *levelNode) open(known uint32) (err error) {
	x.machine = newTestMachine()
	x.machine.known, x.cfg.FeatureLevel = known, known
	x.group, err = Open(x.cfg, x.machine)
	return err
}

// raise puts an entry into the log that raises the level to 2.
func (x *levelNode) raise() {
	awaitLeadership(x.t, x.group, func(l Leadership) bool { return l.Self })
	if err := x.group.Propose(context.Background(), testItem("o", 1, "level 2")); err != nil {
		x.t.Fatal(err)
	}
	x.applied("level 2")
}

func (x *levelNode) levelFile() string { return filepath.Join(x.cfg.DataDir, "level") }

// forgetLevel leaves the folder as it is when the process dies between the entry and the note.
func (x *levelNode) forgetLevel() {
	if err := os.Remove(x.levelFile()); err != nil {
		x.t.Fatal(err)
	}
}

func (x *levelNode) refuses(known uint32) {
	x.t.Helper()
	if err := x.open(known); !errors.Is(err, ErrLevel) || !strings.Contains(err.Error(), "level 2") {
		x.t.Fatalf("opened by a program that knows level %d: %v", known, err)
	}
}

func (x *levelNode) reopens(known uint32) {
	x.t.Helper()
	if err := x.open(known); err != nil {
		x.t.Fatal(err)
	}
	x.applied("level 2")
	if got := x.machine.FeatureLevel(); got != 2 {
		x.t.Errorf("level %d after it was raised to 2", got)
	}
}

// TestOlderProgramAfterTheRaise: it refuses the data folder at its start; where the folder does not say it yet it stops at the entry, and refuses from then on; the
// newer program goes on as if nothing had been.
func TestOlderProgramAfterTheRaise(t *testing.T) {
	x := newLevelNode(t)
	if err := x.open(2); err != nil {
		t.Fatal(err)
	}
	x.raise()
	x.stop()
	x.refuses(1)

	x.forgetLevel()
	if err := x.open(1); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-x.fatal:
		if !errors.Is(err, ErrLevel) {
			t.Errorf("it ended with: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it applied an entry of a level that it does not know")
	}
	if got := len(x.machine.view().Items); got != 0 {
		t.Errorf("it applied %d items", got)
	}
	x.stop()
	x.refuses(1)
	x.reopens(2)
}

// TestOlderProgramAndANewerSnapshot: a snapshot of a level that is not known ends the start with that as its reason, and so does every later one.
func TestOlderProgramAndANewerSnapshot(t *testing.T) {
	x := newLevelNode(t)
	if err := x.open(2); err != nil {
		t.Fatal(err)
	}
	x.raise()
	if err := x.group.takeSnapshot(); err != nil {
		t.Fatal(err)
	}
	x.stop()
	x.forgetLevel()
	x.refuses(1)
	if raw, err := os.ReadFile(x.levelFile()); err != nil || string(raw) != "2\n" {
		t.Errorf("the folder notes %q, %v", raw, err)
	}
	x.refuses(1)
	x.reopens(3)
}

// TestGossipOfTheFirstRelease: it tells of no levels, which stands for 1, and it does not mind what follows its fields.
func TestGossipOfTheFirstRelease(t *testing.T) {
	m := gossipMeta{Name: "n1", Cluster: "c", Peer: "p:1", AMQP: "a:1", HTTP: "h:1", Version: "0.1.0", LevelKnown: 1, Level: 1}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	for cut := range 3 {
		if got, err := decodeGossipMeta("", b[:len(b)-cut]); err != nil || got != m {
			t.Errorf("without %d bytes: %+v, %v", cut, got, err)
		}
	}
	if got, err := decodeGossipMeta("", append(b, 1, 2, 3)); err != nil || got != m {
		t.Errorf("with more behind it: %+v, %v", got, err)
	}
	m.Level = 200
	if b, _ = m.encode(); len(b) > 0 {
		b = b[:len(b)-1]
	}
	if _, err := decodeGossipMeta("", b); err == nil {
		t.Error("half a number was taken")
	}
}

// TestNewcomersOfOlderPrograms are told on both sides why they cannot become members.
func TestNewcomersOfOlderPrograms(t *testing.T) {
	g := newGroup(testConfig(t, "n1"), newTestMachine())
	defer g.cancel()
	g.machine.(*testMachine).level.Store(3)
	for known, fits := range map[uint32]bool{1: false, 2: false, 3: true, 4: true} {
		err := g.fitsLevel(gossipMeta{Name: "n4", Version: "0.0.9", LevelKnown: known})
		if (err == nil) != fits || err != nil && (!errors.Is(err, ErrLevel) || !strings.Contains(err.Error(), "n4 (version 0.0.9)")) {
			t.Errorf("a newcomer that knows level %d: %v", known, err)
		}
	}
	g.cfg.FeatureLevel = 2
	if err := g.fitsCluster(gossipMeta{Level: 3, Version: "0.9.0"}); !errors.Is(err, ErrLevel) || !strings.Contains(err.Error(), "0.9.0 or newer") {
		t.Errorf("a cluster of a higher level: %v", err)
	}
	if err := g.fitsCluster(gossipMeta{Level: 2}); err != nil {
		t.Error(err)
	}
}

// TestOlderNewcomerIsNotTakenIn: at level 2 a server whose program knows level 1 stays outside, and is taken in with a newer program.
func TestOlderNewcomerIsNotTakenIn(t *testing.T) {
	c := newCluster(t, 1, func(cfg *Config) { quick(cfg); cfg.FeatureLevel = 2 }).start()
	first := c.nodes[0]
	(&levelNode{testNode: first}).raise()
	late := c.add("n2") // its program knows level 1
	warned := map[string]time.Time{}
	c.eventually("the leader refuses n2", func() bool {
		r := first.group.readyReign()
		if r == nil {
			return false
		}
		p := &pilot{reign: r, warned: warned, held: map[string]hold{}}
		if found := p.newcomers(t.Context(), map[string]bool{first.group.Self(): true}); len(found) > 0 {
			t.Fatalf("newcomers: %+v", found)
		}
		return !warned[late.group.Self()].IsZero()
	})
	if got := len(first.group.Members()); got != 1 {
		t.Errorf("%d members", got)
	}
	late.stop()
	late.cfg.FeatureLevel = 2
	late.start()
	c.voters()
}
