package amqp

import (
	"io"
	"testing"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// allocationsMax is what a message of 1 KiB may cost each way, in allocations.
const allocationsMax = 2

// TestAllocationsOfPublish decodes publishes of 1 KiB with confirms and headers out of the read buffer and submits them.
func TestAllocationsOfPublish(t *testing.T) {
	c, ch := benchConnection(t)
	ch.confirms = true
	src := &streamConn{Conn: c.socket}
	src.b = (&wire.BasicPublish{Exchange: []byte("exchange"), RoutingKey: []byte("key"), Mandatory: true}).AppendFrame(nil, 1)
	src.b = wire.AppendContent(src.b, 1, 131072, []byte{0x38, 0, 0, 0, 0, 4, 1, 0x78, 0x74, 1, 2, 5}, make([]byte, 1024))
	before := ch.published
	const reads = 200
	perRead := testing.AllocsPerRun(reads, func() {
		if err := c.in.Fill(src); err != nil {
			t.Fatal(err)
		}
		for _, step := range []func() error{c.handleFrames, c.submit, c.awaitPublish} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	})
	messages := float64(ch.published-before) / (reads + 1)
	if messages < 1 {
		t.Fatalf("%v messages a read", messages)
	}
	if perMessage := perRead / messages; perMessage > allocationsMax {
		t.Errorf("%.2f allocations for each publish", perMessage)
	}
}

// TestAllocationsOfDelivery encodes deliveries of 1 KiB and does the writer's bookkeeping once for each.
func TestAllocationsOfDelivery(t *testing.T) {
	c, ch := benchConnection(t)
	e := &fsm.Effect{Kind: fsm.Delivered, Ref: ch.ref, Consumer: "ctag", Exchange: []byte("exchange"), RoutingKey: []byte("key"),
		Properties: []byte{0x18, 0, 2, 5}, Body: make([]byte, 1024)}
	var delivered []*consumer
	perMessage := testing.AllocsPerRun(1000, func() {
		e.Tag++
		c.Effect(e)
		c.Flush()
		buffer, _ := c.takeOutput(&delivered)
		_, _ = io.Discard.Write(buffer.b)
		c.wrote(buffer, delivered)
		if err := c.attend(); err != nil {
			t.Fatal(err)
		}
	})
	if perMessage > allocationsMax {
		t.Errorf("%.2f allocations for each delivery", perMessage)
	}
}

// TestAllocationsOfConfirm is the way back of a publish.
func TestAllocationsOfConfirm(t *testing.T) {
	c, ch := benchConnection(t)
	e := &fsm.Effect{Kind: fsm.Published, Ref: ch.ref}
	var delivered []*consumer
	perMessage := testing.AllocsPerRun(1000, func() {
		e.Confirm++
		c.Effect(e)
		c.Flush()
		buffer, _ := c.takeOutput(&delivered)
		c.wrote(buffer, delivered)
	})
	if perMessage > allocationsMax {
		t.Errorf("%.2f allocations for each confirm", perMessage)
	}
}
