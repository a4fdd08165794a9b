package broker

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// requester is a ReplyTaker that remembers.
type requester struct {
	refuses bool
	replies []DirectReply
}

func (r *requester) TakeReply(reply DirectReply) bool {
	if r.refuses {
		return false
	}
	r.replies = append(r.replies, DirectReply{reply.Address, bytes.Clone(reply.Properties), bytes.Clone(reply.Body)})
	return true
}

// TestDirectReply sends from every node to an address of the first, without a log entry.
func TestDirectReply(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		var r requester
		address := c.nodes[0].node.OpenReplyAddress(&r)
		before := c.logLen()
		for i, from := range c.nodes {
			taken := make(chan bool, 1)
			from.node.SendReply(t.Context(), DirectReply{address, []byte{0, 0}, []byte{byte(i)}}, func(ok bool) { taken <- ok })
			if !<-taken {
				t.Fatalf("from node %d: not taken", i)
			}
			if last := r.replies[i]; last.Address != address || !bytes.Equal(last.Properties, []byte{0, 0}) || !bytes.Equal(last.Body, []byte{byte(i)}) {
				t.Fatalf("from node %d: %+v", i, last)
			}
			if !from.node.ReplyAddressOpen(t.Context(), address) {
				t.Fatalf("node %d does not find the address", i)
			}
		}
		if c.logLen() != before {
			t.Error("a direct reply wrote to the log")
		}
	})
}

// TestDirectReplyToNobody: whatever the reason, the outcome is told, once and in time.
func TestDirectReplyToNobody(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		n := c.nodes[0].node
		var r requester
		closed := n.OpenReplyAddress(&r)
		n.CloseReplyAddress(closed)
		full := n.OpenReplyAddress(&requester{refuses: true})
		open := n.OpenReplyAddress(&r)
		node, _, _ := splitReplyAddress(open)
		c.nodes[2].setCut(true)
		for name, address := range map[string]string{
			"closed": closed, "full": full, "guessed": node + ".ABCDEFGHIJKLMNOPQRSTUVWXYZ", "no node": "nobody.ABC", "unreachable": c.nodes[2].id + ".ABC", "no address": "x", "empty": "", "dot": ".",
		} {
			for i, from := range c.nodes[:2] {
				taken := make(chan bool, 2)
				from.node.SendReply(t.Context(), DirectReply{Address: address}, func(ok bool) { taken <- ok })
				if <-taken {
					t.Errorf("%s, from node %d: taken", name, i)
				}
				if address != full && from.node.ReplyAddressOpen(t.Context(), address) {
					t.Errorf("%s, from node %d: open", name, i)
				}
			}
		}
		if len(r.replies) > 0 {
			t.Errorf("%d replies came", len(r.replies))
		}
	})
}

// TestDirectReplyWithoutAnswer: a node that says nothing is not waited for, and nothing stays behind.
func TestDirectReplyWithoutAnswer(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *memCluster) {
		d := newDirectReplies()
		var taken, lost atomic.Int32
		for range replyAskedMax {
			if _, ok := d.ask(t.Context(), "n2", func(ok bool) {
				if ok {
					taken.Add(1)
				} else {
					lost.Add(1)
				}
			}); !ok {
				t.Fatal("no room")
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ok := d.ask(ctx, "n2", nil); ok {
			t.Error("there is room without end")
		}
		d.answered(1, true)
		d.answered(1, false)
		time.Sleep(replyAnswerTime)
		synctest.Wait()
		if taken.Load() != 1 || lost.Load() != replyAskedMax-1 || len(d.asked) != 0 || len(d.slots) != 0 {
			t.Errorf("%d taken, %d lost, %d still awaited", taken.Load(), lost.Load(), len(d.asked))
		}
	})
}

// TestDirectReplyLost: who hears that the other node cannot be reached does not wait for its answer.
func TestDirectReplyLost(t *testing.T) {
	inCluster(t, 2, func(t *testing.T, c *memCluster) {
		n := c.nodes[0].node
		var taken []bool
		number, _ := n.replies.ask(t.Context(), "n2", func(ok bool) { taken = append(taken, ok) })
		other, _ := n.replies.ask(t.Context(), "n3", func(bool) {})
		n.PostsLost("n2")
		if len(taken) != 1 || taken[0] {
			t.Errorf("the outcome of number %d: %v", number, taken)
		}
		if got := n.replies.askedOf("n3"); len(got) != 1 || got[0] != other {
			t.Errorf("%v are asked of the other node", got)
		}
		n.replies.answered(other, true)
	})
}

// FuzzReplyDatagram: what another node posts is refused, or means what writing it again would say.
func FuzzReplyDatagram(f *testing.F) {
	f.Add(replyDatagram{kind: replySent, asked: 7, key: "KEY", properties: []byte{0, 0}, body: []byte("body")}.append(nil))
	f.Add(replyDatagram{kind: replyProbed, asked: 1, key: "KEY"}.append(nil))
	f.Add(replyDatagram{kind: replyTaken, asked: 1 << 40}.append(nil))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeReplyDatagram(b)
		if err == nil && !bytes.Equal(m.append(nil), b) {
			t.Fatalf("%x became %+v", b, m)
		}
	})
}
