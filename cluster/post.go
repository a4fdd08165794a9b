package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/triagemq/triagemq/transport/mux"
)

// Datagrams go from node to node beside the log: what they carry is not worth an entry, and may be lost. Each node has one connection to each node that it
// posts to, made by the first datagram and closed when none came for a while. It carries, integers big-endian:
//
//	uint32 length, bytes
//
// Those of one sender arrive in order, once or never. They are lost where the other side is gone, and where it does not take what waits for it.
const (
	// DatagramMax is the most that a datagram may have, in bytes: the largest message with its properties, as ItemMax.
	DatagramMax = ItemMax

	outboxBytes  = 4 << 20 // waiting for one server; Post blocks above it, one datagram may exceed it alone
	postPatience = 3 * time.Second
	postIdle     = 2 * time.Minute // an unused connection is closed after it
	postPiece    = 256 << 10       // written under one deadline
)

// ErrNotTaken says that a server takes no datagrams: it cannot be reached, or what waits for it does not get less.
var ErrNotTaken = errors.New("cluster: the server takes no datagrams")

// outboxes are the ways to the servers that were posted to. Their number is that of the servers that this node knows.
type outboxes struct {
	mu sync.Mutex
	of map[string]*outbox
}

// outbox is what waits for one server. Its goroutine runs while there is a connection, or one is being made.
type outbox struct {
	g      *Group
	server string
	wake   chan struct{} // for the goroutine; capacity 1

	mu      sync.Mutex // guards what follows
	waiting [][]byte
	bytes   int // of waiting, and of what is being written
	runs    bool
	room    chan struct{} // closed, and replaced, when bytes get less
}

// Post hands a datagram over to another member's Machine.Posted; nil says that it is on its way, not that it arrives. It blocks while more than outboxBytes wait for
// that server, at most postPatience: ErrNotTaken. ErrUnknown, ErrClosed, ctx's error. The datagram must not be changed afterwards. Any goroutine.
func (g *Group) Post(ctx context.Context, server string, datagram []byte) error {
	if len(datagram) > DatagramMax {
		return fmt.Errorf("cluster: a datagram of %d bytes, at most %d are allowed", len(datagram), DatagramMax)
	}
	if server == g.self {
		g.machine.Posted(g.self, datagram)
		return nil
	}
	box, err := g.outbox(server)
	if err != nil {
		return err
	}
	patience := time.NewTimer(postPatience)
	defer patience.Stop()
	for {
		room, err := box.offer(datagram)
		if room == nil || err != nil {
			return err
		}
		select {
		case <-room:
		case <-patience.C:
			return ErrNotTaken
		case <-ctx.Done():
			return ctx.Err()
		case <-g.ctx.Done():
			return ErrClosed
		}
	}
}

// outbox finds or makes the way to a server that is known: names come from clients.
func (g *Group) outbox(server string) (*outbox, error) {
	g.posts.mu.Lock()
	defer g.posts.mu.Unlock()
	if box := g.posts.of[server]; box != nil {
		return box, nil
	}
	if _, err := g.address(server); err != nil {
		return nil, err
	}
	box := &outbox{g: g, server: server, wake: make(chan struct{}, 1), room: make(chan struct{})}
	g.posts.of[server] = box
	return box, nil
}

// offer takes the datagram, or returns what is closed when there may be room.
func (o *outbox) offer(datagram []byte) (room <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes > 0 && o.bytes+len(datagram) > outboxBytes {
		return o.room, nil
	}
	if !o.runs {
		if err := o.g.spawn(o.run); err != nil {
			return nil, err
		}
		o.runs = true
	}
	o.waiting = append(o.waiting, datagram)
	o.bytes += len(datagram)
	signal(o.wake)
	return nil, nil
}

// run connects and writes until the server is lost, or nothing came for postIdle.
func (o *outbox) run() {
	for {
		c, err := o.g.dial(o.g.ctx, o.server, mux.ProtocolPost)
		if err != nil {
			o.lose(err)
			return
		}
		over, err := o.write(c)
		c.Close()
		if err != nil {
			o.lose(err)
		}
		if over || err != nil {
			return
		}
	}
}

// write writes what comes. It returns without an error when the other side has hung up, before anything was given to it that it does not read: a server that
// was restarted must not cost the first datagram after it.
func (o *outbox) write(c *mux.Conn) (over bool, err error) {
	idle := time.NewTimer(postIdle)
	defer idle.Stop()
	for {
		for datagram := o.next(); datagram != nil; datagram = o.next() {
			err := writeDatagram(c, datagram)
			o.settle(len(datagram))
			if err != nil {
				return true, err
			}
			idle.Reset(postIdle)
		}
		select {
		case <-o.wake:
			if !quiet(c.Conn) {
				return false, nil
			}
		case <-idle.C:
			if o.retire() {
				return true, nil
			}
			idle.Reset(postIdle)
		case <-o.g.ctx.Done():
			return true, ErrClosed
		}
	}
}

// next takes the datagram that has waited longest; nil when none waits.
func (o *outbox) next() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		return nil
	}
	datagram := o.waiting[0]
	o.waiting[0] = nil
	if o.waiting = o.waiting[1:]; len(o.waiting) == 0 {
		o.waiting = nil
	}
	return datagram
}

// settle makes room.
func (o *outbox) settle(size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes -= size
	o.roomLocked()
}

func (o *outbox) roomLocked() {
	close(o.room)
	o.room = make(chan struct{})
}

// retire ends the goroutine, if nothing came in this moment.
func (o *outbox) retire() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.runs = len(o.waiting) > 0
	return !o.runs
}

// lose forgets what waits: the server cannot be reached. The next datagram tries again.
func (o *outbox) lose(err error) {
	o.forget()
	o.g.log.Debug("datagrams are lost", "server", o.server, "error", err)
	o.g.machine.PostsLost(o.server)
}

func (o *outbox) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting, o.bytes, o.runs = nil, 0, false
	o.roomLocked()
}

// writeDatagram writes in pieces, each with a time of its own: what a large one may take depends on the network.
func writeDatagram(c net.Conn, datagram []byte) error {
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 4), uint32(len(datagram)))
	if len(datagram) <= postPiece { // in one write: a packet of its own for four bytes is slow
		return writeWithin(c, writeBound, append(head, datagram...))
	}
	if err := writeWithin(c, writeBound, head); err != nil {
		return err
	}
	for len(datagram) > 0 {
		piece := datagram[:min(len(datagram), postPiece)]
		datagram = datagram[len(piece):]
		if err := writeWithin(c, writeBound, piece); err != nil {
			return err
		}
	}
	return nil
}

// acceptPosts takes other nodes' datagrams.
func (g *Group) acceptPosts(l *mux.Listener) {
	for {
		c, err := l.AcceptConn()
		if err != nil {
			return
		}
		g.wg.Go(func() {
			defer c.Close()
			r := bufio.NewReaderSize(c, 64<<10)
			for g.ctx.Err() == nil {
				if err := g.takePost(c, r); err != nil {
					return // the sender hung up, or is none
				}
			}
		})
	}
}

func (g *Group) takePost(c *mux.Conn, r io.Reader) error {
	if err := c.SetReadDeadline(time.Now().Add(2 * postIdle)); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > DatagramMax {
		return errFrame
	}
	pooled, datagram := g.buffer(int(size))
	if _, err := io.ReadFull(r, datagram); err != nil {
		return err
	}
	g.machine.Posted(c.Peer.Server, datagram)
	if pooled != nil {
		g.buffers.Put(pooled)
	}
	return nil
}
