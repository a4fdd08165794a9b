package amqp

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// TestIntake: what is let in stays within the bound, but for one that is larger; first come, first served; who gives up leaves no trace.
func TestIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := intake{maxBytes: 100}
		admitted := make(chan int, 10)
		acquire := func(ctx context.Context, size int) {
			go func() {
				if in.acquire(ctx, size) == nil {
					admitted <- size
				}
			}()
			synctest.Wait()
		}
		expect := func(want ...int) {
			t.Helper()
			var got []int
			for len(admitted) > 0 {
				got = append(got, <-admitted)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%v were let in, want %v", got, want)
			}
		}
		acquire(t.Context(), 500) // larger than all: it goes alone
		expect(500)
		impatient, giveUp := context.WithCancel(t.Context())
		acquire(impatient, 90)
		acquire(t.Context(), 60)
		acquire(t.Context(), 40)
		acquire(t.Context(), 1)
		expect()
		giveUp()
		synctest.Wait()
		in.release(500)
		synctest.Wait()
		expect(40, 60)
		in.release(40)
		synctest.Wait()
		expect(1)
		in.release(60)
		in.release(1)
		if in.used != 0 || len(in.waiting) != 0 {
			t.Fatalf("%d bytes and %d waiting are left", in.used, len(in.waiting))
		}
	})
}

// large begins a publish of a large body on a channel, and sends part of it.
func large(channel uint16, part []byte) []byte {
	b := (&wire.BasicPublish{RoutingKey: []byte("q")}).AppendFrame(nil, channel)
	return append(wire.AppendContentHeader(b, channel, nil, 200<<10), body(channel, part)...)
}

func body(channel uint16, part []byte) []byte {
	content := wire.AppendContent(nil, channel, 131072, nil, part)
	return content[len(wire.AppendContentHeader(nil, channel, nil, 0)):]
}

// TestLargeMessagesTakeTurns: the second connection's message is not read before the first one's is complete, what came before it is; and two channels of one
// connection do not wait for each other.
func TestLargeMessagesTakeTurns(t *testing.T) {
	config := testConfig()
	config.IntakeBytesMax = 100 << 10
	p, session, s := openFake(t, config, nil)
	part := bytes.Repeat([]byte("x"), 100<<10)
	p.send((&wire.ChannelOpen{}).AppendFrame(nil, 2))
	p.await(wire.IDChannelOpenOk)
	p.send(large(1, part))
	p.send(large(2, part))
	waitFor(t, "two half messages", func() bool {
		s.intake.mu.Lock()
		defer s.intake.mu.Unlock()
		return s.intake.used == 400<<10
	})
	p.send(body(2, part))
	session.await(t, fsm.KindPublish)
	p.send(body(1, part))
	session.await(t, fsm.KindPublish)
	p.send(large(1, part))
	waitFor(t, "a half message", func() bool {
		s.intake.mu.Lock()
		defer s.intake.mu.Unlock()
		return s.intake.used == 200<<10
	})
	p.conn.Close()
	waitFor(t, "the end", func() bool { return len(s.live()) == 0 })
	if s.intake.used != 0 || s.inTx.Load() != 0 {
		t.Fatalf("%d bytes of the intake and %d of transactions are left", s.intake.used, s.inTx.Load())
	}
}

// TestTightMessageKeepsItsRoom: a message that takes much of the intake keeps its room until it is applied, and until then no other is let in.
func TestTightMessageKeepsItsRoom(t *testing.T) {
	config := testConfig()
	config.IntakeBytesMax = 300 << 10
	p, session, s := openFake(t, config, nil)
	unapplied := make(chan struct{})
	session.mu.Lock()
	session.unapplied = unapplied
	session.mu.Unlock()
	whole := bytes.Repeat([]byte("x"), 200<<10)
	p.send(large(1, whole))
	session.await(t, fsm.KindPublish)
	other := make(chan error, 1)
	go func() { other <- s.intake.acquire(t.Context(), 200<<10) }()
	waitFor(t, "the other in the queue", func() bool {
		s.intake.mu.Lock()
		defer s.intake.mu.Unlock()
		return len(s.intake.waiting) == 1
	})
	close(unapplied)
	if err := receive(t, other, "room"); err != nil {
		t.Fatal(err)
	}
	s.intake.release(200 << 10)
}
