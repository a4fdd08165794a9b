package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/triagemq/triagemq/transport/mux"
)

// takePosts collects what a node is posted.
func takePosts(x *testNode) <-chan []byte {
	posts := make(chan []byte, 10_000)
	x.machine.mu.Lock()
	defer x.machine.mu.Unlock()
	x.machine.posted = func(_ string, datagram []byte) { posts <- bytes.Clone(datagram) }
	return posts
}

func TestPostArrivesInOrder(t *testing.T) {
	t.Run("plain", func(t *testing.T) { postInOrder(t, nil) })
	t.Run("sealed", func(t *testing.T) { postInOrder(t, trustOf(t, "one")) })
}

func postInOrder(t *testing.T, trust *mux.Trust) {
	c := newCluster(t, 2, func(cfg *Config) { cfg.Trust = trust }).start()
	c.leader()
	from, to := c.nodes[0], c.nodes[1]
	posts := takePosts(to)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	const count = 2000
	go func() {
		for i := range count {
			b := binary.BigEndian.AppendUint32(nil, uint32(i))
			if err := from.group.Post(ctx, to.group.Self(), append(b, make([]byte, i%300*100)...)); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range count {
		select {
		case b := <-posts:
			if n := binary.BigEndian.Uint32(b); n != uint32(i) || len(b) != 4+i%300*100 {
				t.Fatalf("datagram %d has %d bytes where number %d was awaited", n, len(b), i)
			}
		case <-ctx.Done():
			t.Fatalf("datagram %d does not come", i)
		}
	}
}

func TestPostOfALargeDatagram(t *testing.T) {
	c := newCluster(t, 2, nil).start()
	c.leader()
	posts := takePosts(c.nodes[1])
	large := bytes.Repeat([]byte("0123456789abcdef"), DatagramMax/16)
	if err := c.nodes[0].group.Post(context.Background(), c.nodes[1].group.Self(), large); err != nil {
		t.Fatal(err)
	}
	if b := <-posts; !bytes.Equal(b, large) {
		t.Fatalf("%d bytes came", len(b))
	}
	if err := c.nodes[0].group.Post(context.Background(), c.nodes[1].group.Self(), make([]byte, DatagramMax+1)); err == nil {
		t.Fatal("a larger one is taken")
	}
}

// TestPostAfterRestart: the connection from before is gone, and the first datagram goes by a new one.
func TestPostAfterRestart(t *testing.T) {
	c := newCluster(t, 3, nil).start()
	from, to := c.leader(), c.nodes[0]
	if to == from {
		to = c.nodes[1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range 3 {
		posts := takePosts(to)
		if err := from.group.Post(ctx, to.group.Self(), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-posts:
		case <-ctx.Done():
			t.Fatal("the datagram does not come")
		}
		to.stop()
		to.start()
	}
}

func TestPostToNobody(t *testing.T) {
	c := newCluster(t, 1, nil).start()
	x := c.leader()
	if err := x.group.Post(context.Background(), "stranger", nil); !errors.Is(err, ErrUnknown) {
		t.Fatal(err)
	}
	if n := len(x.group.posts.of); n != 0 {
		t.Fatalf("%d outboxes for nobody", n)
	}
	posts := takePosts(x)
	if err := x.group.Post(context.Background(), x.group.Self(), []byte("me")); err != nil || string(<-posts) != "me" {
		t.Fatal(err)
	}
}

// TestOutboxIsBounded: nothing is written here, so room comes only from what is lost.
func TestOutboxIsBounded(t *testing.T) {
	g := newGroup(testConfig(t, "n1"), newTestMachine())
	box := &outbox{g: g, wake: make(chan struct{}, 1), room: make(chan struct{}), runs: true}
	for range 4 {
		if room, err := box.offer(make([]byte, outboxBytes/4)); room != nil || err != nil {
			t.Fatal("full too early", err)
		}
	}
	room, err := box.offer([]byte{1})
	if room == nil || err != nil {
		t.Fatal("never full", err)
	}
	box.lose(errors.New("gone"))
	<-room
	box.runs = true
	if room, err := box.offer(make([]byte, DatagramMax)); room != nil || err != nil {
		t.Fatal("no room for one alone", err)
	}
	g.cancel()
}
