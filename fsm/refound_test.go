package fsm

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/triagemq/triagemq/fsm/store"
)

// Whatever the old cluster was doing, the state that it leaves has no trace of its nodes, loses no message that was in a queue which stays, marks all of them as
// redelivered, and serves the nodes of the new one.
func TestRefound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newEntryGenerator(t, rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		r := newTestReplica(g.origins[0])
		last := uint64(g.n("entries", 2, 60))
		for index := uint64(1); index <= last; index++ {
			g.state = r.state
			entry, _ := g.entry()
			r.state.Apply(index, entry)
		}
		now, users, serial := r.state.nowMillis, len(r.state.users), r.state.lastSerial
		whole := snapshotBytes(t, r.state)
		refounded := refound(t, whole, last+5)
		if again := refound(t, whole, last+5); !bytes.Equal(snapshotBytes(t, again), snapshotBytes(t, refounded)) {
			t.Fatalf("refounding twice gives two states")
		}
		checkRefounded(t, refounded)
		if refounded.nowMillis != now || len(refounded.users) != users || refounded.lastSerial < serial || refounded.applied != last+5 {
			t.Fatalf("refounding changed the clock, the users or the counters")
		}
		serveNewCluster(t, refounded)
	})
}

func refound(t fataler, snapshot []byte, index uint64) *State {
	s, err := Restore(Options{Check: true}, bytes.NewReader(snapshot))
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	s.limits = testLimits
	s.Refound(index)
	return s
}

func checkRefounded(t fataler, s *State) {
	c := s.Counts()
	if len(s.origins) != 0 || c.Sessions != 0 || c.Channels != 0 || c.Consumers != 0 || c.Held != 0 || len(s.remainders) != 0 {
		t.Fatalf("the old cluster is still there: %d origins, %d remainders, %+v", len(s.origins), len(s.remainders), c)
	}
	for _, q := range s.Queues("") {
		if q.Exclusive || q.Consumers != 0 || q.Held != 0 {
			t.Fatalf("queue %+v is still of a session", q)
		}
	}
	entries := 0
	for _, p := range s.parts {
		for e := range eachEntry(p) {
			if entries++; !s.store.Info(e).Redelivered {
				t.Fatalf("entry %+v is not marked", s.store.Info(e))
			}
		}
	}
	if entries != s.store.Stats().Entries {
		t.Fatalf("%d entries seen of %d", entries, s.store.Stats().Entries)
	}
	// What was changed entry by entry sums up to what a restore computes anew.
	restored, err := Restore(Options{Check: true}, bytes.NewReader(snapshotBytes(t, s)))
	if level, err := SnapshotLevel(snapshotBytes(t, s)[:64]); err != nil || level != s.level {
		t.Fatalf("the snapshot's level is %d, %v; the state's is %d", level, err, s.level)
	}
	if err != nil || restored.hash() != s.hash() {
		t.Fatalf("the digest does not stand for the state: %v", err)
	}
}

// eachEntry ranges over the entries of a part, ready and delayed.
func eachEntry(p *part) func(yield func(store.Entry) bool) {
	return func(yield func(store.Entry) bool) {
		p.messages.Each(func(e store.Entry, _ store.Info) bool { return yield(e) })
		p.messages.EachDelayed(func(e store.Entry, _ store.Info) bool { return yield(e) })
	}
}

// serveNewCluster opens a node under a name of the old cluster with a low boot, and gets a message out of every queue through it.
func serveNewCluster(t fataler, s *State) {
	o := Origin{"n1", 1}
	s.SetLocal(o)
	ref := Ref{Conn: 1, Channel: 1, Incarnation: 1}
	var commands []byte
	commands = (&PutUser{Name: "operator", Tags: []string{"administrator"}}).Append(commands)
	commands = (&PutPermission{VHost: "/", User: "operator", Configure: ".*", Write: ".*", Read: ".*"}).Append(commands)
	commands = (&PutVHostLimits{VHost: "/", MaxConnections: NoLimit, MaxQueues: NoLimit}).Append(commands)
	commands = (&OpenSession{Ref: Ref{Conn: 1}, VHost: "/", User: "operator"}).Append(commands)
	commands = (&OpenChannel{Ref: ref}).Append(commands)
	want := 0
	for _, q := range s.Queues("/") {
		want += min(q.Ready, 1)
		commands = (&Get{Ref: ref, Queue: q.Name, NoAck: true}).Append(commands)
	}
	before := s.Counts().Ready
	s.Apply(s.applied+1, AppendEntry(nil, s.nowMillis, [][]byte{AppendOriginOpen(nil, o), AppendBatch(nil, o, 1, commands)}))
	if got := before - s.Counts().Ready; got < want && s.VHostNames()[0] == "/" {
		t.Fatalf("%d of %d messages came out", got, want)
	}
}

func TestRefoundNeedsAnIndexOfItsOwn(t *testing.T) {
	s := New(Options{})
	s.Apply(7, AppendEntry(nil, 0, [][]byte{AppendTick(nil)}))
	defer func() {
		if recover() == nil {
			t.Error("an index that entries may have used for their messages was taken")
		}
	}()
	s.Refound(7)
}
