package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestReadIndexCoversWhatWasConfirmed(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader := c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := leader.stream()
	for n := uint64(1); n <= 10; n++ {
		leader.applied(leader.send(s, n, n)...)
		confirmed := leader.machine.view().Index
		for _, x := range c.nodes {
			index, err := x.group.ReadIndex(ctx)
			if err != nil {
				t.Fatalf("%s: %v", x.name, err)
			}
			if index < confirmed {
				t.Errorf("%s: read index %d, but %d was confirmed before", x.name, index, confirmed)
			}
			x.until("applying up to the read index", func() bool { return x.machine.view().Index >= index })
		}
	}
}

// TestReadIndexIsThatOfACommand: after a change of leader the last entries are raft's own, which no machine ever sees.
func TestReadIndexIsThatOfACommand(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader := c.leader()
	leader.applied(leader.send(leader.stream(), 1, 1)...)
	if err := leader.group.TransferLeadership(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.leader()
	for _, x := range c.nodes {
		index, err := x.group.ReadIndex(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		x.until("applying up to the read index", func() bool { return x.machine.view().Index >= index })
		x.until("applying up to the commit index", func() bool { return x.machine.view().Index >= x.group.CommitIndex() })
	}
}

func TestReadIndexNeedsAMajority(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader := c.leader()
	var wg sync.WaitGroup
	for _, x := range c.nodes {
		if x != leader {
			wg.Go(x.stop)
		}
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if index, err := leader.group.ReadIndex(ctx); !errors.Is(err, ErrNoLeader) {
		t.Errorf("read index %d, %v without a majority", index, err)
	}
}

// TestReadIndexOfADeposedLeader: the followers have gone on to another term, of which the leader does not know yet.
func TestReadIndexOfADeposedLeader(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	leader := c.leader()
	l, _ := leader.group.Leadership()
	r := leader.group.readyReign()
	if !r.confirm() {
		t.Fatal("nobody follows the leader")
	}
	for _, x := range c.nodes {
		if x == leader {
			continue
		}
		header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("somebody"), Addr: []byte("127.0.0.1:1")}
		req := raft.AppendEntriesRequest{RPCHeader: header, Term: l.Term + 1}
		id := raft.ServerID(x.group.Self())
		if err := leader.group.noticeTransport.AppendEntries(id, raft.ServerAddress(id), &req, &raft.AppendEntriesResponse{}); err != nil {
			t.Fatal(err)
		}
		if r.follows(id) {
			t.Errorf("%s follows term %d and is in term %d", x.name, l.Term, l.Term+1)
		}
	}
	if r.confirm() {
		t.Error("a read index of a leader that nobody follows")
	}
}

func TestReadIndexCoalesces(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	g := c.leader().group
	g.reads.mu.Lock() // no round begins while the calls gather
	g.reads.running = true
	g.reads.mu.Unlock()
	first, err := g.joinRound()
	if err != nil {
		t.Fatal(err)
	}
	second, err := g.joinRound()
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Error("two calls that wait for the same round got two")
	}
	g.wg.Go(g.runRounds)
	<-first.done
	third, err := g.joinRound()
	if err != nil {
		t.Fatal(err)
	}
	if third == first {
		t.Error("a call joined a round that was over")
	}
	<-third.done
}

func TestCall(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	c.leader()
	a, b := c.nodes[0].group, c.nodes[1].group
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range 3 { // the connection is used again
		answer, err := a.Call(ctx, b.Self(), []byte("who"))
		if err != nil || string(answer) != a.Self()+" asked who" {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	if _, err := a.Call(ctx, b.Self(), []byte("fail")); err == nil {
		t.Error("a failure of the other side came back as success")
	}
	if _, err := a.Call(ctx, "nobody", nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("calling a stranger: %v", err)
	}
	if _, err := a.Call(ctx, b.Self(), make([]byte, callMax+1)); err == nil {
		t.Error("an oversized request was sent")
	}
	c.nodes[1].stop()
	c.nodes[1].start() // the kept connection is stale now
	b = c.nodes[1].group
	if _, err := a.Call(ctx, b.Self(), []byte("again")); err != nil {
		t.Errorf("calling after the other side's restart: %v", err)
	}
	short, done := context.WithTimeout(ctx, time.Nanosecond)
	defer done()
	if _, err := a.Call(short, b.Self(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("calling with no time left: %v", err)
	}
}
