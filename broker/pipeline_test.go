package broker

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/triagemq/triagemq/fsm"
)

// command is a publish whose body starts with a name and has the size given.
func command(name string, conn uint32, bodyBytes int) []byte {
	body := make([]byte, bodyBytes)
	copy(body, name)
	p := fsm.Publish{Ref: fsm.Ref{Conn: conn, Channel: 1, Incarnation: 1}, RoutingKey: []byte("q"), Properties: []byte{0, 0}, Body: body}
	return p.Append(nil)
}

func openPipeline(cfg Config) *pipeline {
	p := newPipeline(&cfg, func() int64 { return 0 })
	p.begin(fsm.Origin{Node: "n", Boot: 1})
	p.opened()
	return p
}

type deadStream struct{}

func (deadStream) Send([]byte) error     { return nil }
func (deadStream) Done() <-chan struct{} { return nil }
func (deadStream) Close()                {}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func offer(t testing.TB, p *pipeline, l *lane, commands []byte) {
	t.Helper()
	if ok, _, err := p.offer(l, commands); !ok || err != nil {
		t.Fatalf("not accepted: %v", err)
	}
}

// TestFairByBytes lets one connection with large messages and one with small ones compete: each gets half of the bytes, whatever its messages' size.
func TestFairByBytes(t *testing.T) {
	for _, sizes := range [][2]int{{100, 100}, {100, 60 << 10}, {300 << 10, 1000}, {20 << 10, 7}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			p := openPipeline(Default())
			p.attach(deadStream{})
			var lanes [2]lane
			var sent [2]int
			refill := func(i int) {
				one := command("", uint32(i+1), sizes[i])
				for lanes[i].waiting()+len(one) < 700<<10 {
					offer(t, p, &lanes[i], one)
				}
			}
			for range 200 {
				refill(0)
				refill(1)
				before := [2]int{lanes[0].waiting(), lanes[1].waiting()}
				_, b, _ := p.take(deadStream{})
				if b == nil {
					t.Fatal("no batch")
				}
				sent[0] += before[0] - lanes[0].waiting()
				sent[1] += before[1] - lanes[1].waiting()
				p.sent(b)
				p.batchApplied(b.seq)
			}
			if r := float64(sent[0]) / float64(sent[1]); r < 0.9 || r > 1.1 {
				t.Errorf("bytes %v: not fair", sent)
			}
		})
	}
}

// TestSmallAmongLarge: a connection with one small command is not kept waiting until those with much have moved all of it.
func TestSmallAmongLarge(t *testing.T) {
	p := openPipeline(Default())
	p.attach(deadStream{})
	large := make([]lane, 10)
	for i := range large {
		for range 60 {
			offer(t, p, &large[i], command("", uint32(i+1), 10<<10))
		}
	}
	var small lane
	offer(t, p, &small, command("small", 99, 10))
	p.take(deadStream{})
	if small.waiting() > 0 {
		t.Error("the small command is not in the first batch")
	}
	for i := range large {
		if large[i].last == 0 {
			t.Errorf("connection %d had no turn in the first batch", i)
		}
	}
}

// TestBatchBounds: batches of several commands stay within 256 KiB, a larger command travels alone, the window keeps its bound, and order is kept.
func TestBatchBounds(t *testing.T) {
	cfg := Default()
	p := openPipeline(cfg)
	p.attach(deadStream{})
	var l lane
	var want, got []byte
	for k := range 60 {
		size := []int{10, 3000, 100 << 10, 300 << 10, 5 << 20}[k%5]
		c := command(fmt.Sprint("m", k), 1, size)
		for {
			ok, _, err := p.offer(&l, c)
			must(t, err)
			if ok {
				break
			}
			drainOne(t, p, &got)
		}
		want = append(want, c...)
	}
	for p.waiting > 0 || len(p.window) > 0 {
		drainOne(t, p, &got)
	}
	if !bytes.Equal(got, want) {
		t.Error("the batches do not hold what was submitted, in order")
	}
	if p.waiting != 0 || p.windowBytes != 0 || p.first != nil || p.lanes != 0 {
		t.Errorf("left over: %d waiting, %d in the window, %d lanes", p.waiting, p.windowBytes, p.lanes)
	}
}

// drainOne sends all that may be sent, checks the bounds and applies the oldest batch.
func drainOne(t *testing.T, p *pipeline, got *[]byte) {
	for {
		item, b, _ := p.take(deadStream{})
		if item == nil {
			break
		}
		p.sent(b)
		commands := commandsOf(t, item)
		_, rest, _ := fsm.NextCommand(commands)
		if len(commands) > fsm.BatchBytesTarget && len(rest) > 0 {
			t.Errorf("a batch of %d bytes with several commands", len(commands))
		}
		*got = append(*got, commands...)
	}
	if len(p.window) == 0 {
		t.Fatal("stuck: nothing to send and nothing in the window")
	}
	if len(p.window) > 1 && p.windowBytes > p.windowMax+fsm.BatchBytesTarget/2 {
		t.Errorf("window of %d bytes in %d batches", p.windowBytes, len(p.window))
	}
	p.batchApplied(p.window[0].seq)
}

// commandsOf cuts the head off a batch: it is what AppendBatch writes before the first command.
func commandsOf(t testing.TB, item []byte) []byte {
	o, seq, ok := fsm.BatchOrigin(item)
	if !ok {
		t.Fatal("not a batch")
	}
	return item[len(fsm.AppendBatch(nil, o, seq)):]
}

// TestGapOnce: a gap sends again from the expected number, once per stream and number.
func TestGapOnce(t *testing.T) {
	p := openPipeline(Default())
	p.attach(deadStream{})
	var l lane
	next := func() uint64 {
		_, b, _ := p.take(deadStream{})
		if b == nil {
			return 0
		}
		p.sent(b)
		return b.seq
	}
	for want := uint64(1); want <= 2; want++ {
		offer(t, p, &l, command("m", 1, 10))
		if got := next(); got != want {
			t.Fatalf("sent %d, want %d", got, want)
		}
	}
	p.gap(1)
	p.gap(1)
	if a, b, c := next(), next(), next(); a != 1 || b != 2 || c != 0 {
		t.Fatalf("sent %d %d %d after the gap, want 1 2 and nothing", a, b, c)
	}
	p.gap(1)
	if a := next(); a != 0 {
		t.Fatalf("sent %d again for a gap that was answered on this stream", a)
	}
	p.attach(deadStream{})
	if a, b, c := next(), next(), next(); a != 1 || b != 2 || c != 0 {
		t.Fatalf("sent %d %d %d on a new stream, want 1 2 and nothing", a, b, c)
	}
}

// TestBackPressure: with a log that stalls, a connection gets no further than its share and the window, and goes on when the log does.
func TestBackPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPipeline(Default())
		p.attach(deadStream{})
		s := &Session{node: nodeOf(p), done: make(chan struct{})}
		one := command("m", 1, 10<<10)
		submitted, done := 0, make(chan error, 1)
		go func() {
			for range 2000 {
				if err := s.Submit(context.Background(), one); err != nil {
					done <- err
					return
				}
				submitted++
			}
			done <- nil
		}()
		synctest.Wait()
		if waiting := s.lane.waiting(); waiting > 1<<20 || submitted*len(one) != waiting {
			t.Fatalf("%d bytes wait with a log that takes nothing, want at most 1 MiB", waiting)
		}
		for finished := false; !finished; {
			var got []byte
			drainOne(t, p, &got)
			synctest.Wait()
			select {
			case err := <-done:
				must(t, err)
				finished = true
			default:
			}
		}
	})
}

// BenchmarkPipeline is the way of a command of 1 KiB from Submit to its batch being applied.
func BenchmarkPipeline(b *testing.B) {
	p := openPipeline(Default())
	p.attach(deadStream{})
	s := &Session{node: nodeOf(p), done: make(chan struct{})}
	one := command("m", 1, 1024)
	const perRead = 60
	read := bytes.Repeat(one, perRead)
	ctx := context.Background()
	b.SetBytes(int64(len(one)))
	b.ReportAllocs()
	for range (b.N + perRead - 1) / perRead {
		if err := s.Submit(ctx, read); err != nil {
			b.Fatal(err)
		}
		for {
			item, batch, _ := p.take(deadStream{})
			if item == nil {
				break
			}
			p.sent(batch)
			p.batchApplied(batch.seq)
		}
	}
}

// nodeOf is what a session needs of its node.
func nodeOf(p *pipeline) *Node {
	n := &Node{pipe: p}
	n.level.Store(fsm.FeatureLevelMax)
	return n
}

// TestCrowd: large commands of many connections wait for one another in front of the lanes, and all get through.
func TestCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Default()
		cfg.PendingBytesTotal = 1 << 20
		p := openPipeline(cfg)
		p.attach(deadStream{})
		one := command("m", 1, 900<<10)
		done := make(chan error, 20)
		for range 20 {
			s := &Session{node: nodeOf(p), done: make(chan struct{})}
			go func() { done <- s.Submit(context.Background(), one) }()
		}
		for through := 0; through < 20; {
			synctest.Wait()
			if p.waiting > cfg.PendingBytesTotal {
				t.Fatalf("%d bytes wait, want at most %d", p.waiting, cfg.PendingBytesTotal)
			}
			var got []byte
			drainOne(t, p, &got)
			synctest.Wait()
			for len(done) > 0 {
				must(t, <-done)
				through++
			}
		}
		if len(p.crowd) > 0 {
			t.Errorf("%d lanes are left in the crowd", len(p.crowd))
		}
	})
}
