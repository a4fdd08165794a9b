package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/triagemq/triagemq/transport/mux"
)

// sealedGossip carries the gossip where certificates are demanded: memberlist's datagrams and streams alike over connections of a mux.Port on the gossip
// address, so that every contact begins with mutual TLS, the secret where there is one, and the cluster id. It is a memberlist.NodeAwareTransport.
//
// A datagram is a uint16 length and as many bytes, on a connection in one direction that stays open while there is something to send. Like datagrams they may
// get lost: those for a server that is not reached, and those beyond packetQueue that wait for one.
//
// Goroutines: two that accept, one for each connection that datagrams come in by (the port bounds them), one for each server that datagrams go to (at most
// routesMax). Shutdown joins them.
type sealedGossip struct {
	port    *mux.Port
	packets chan *memberlist.Packet
	streams chan net.Conn

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards routes
	routes map[memberlist.Address]chan []byte
}

const (
	packetMax     = 1<<16 - 1
	packetQueue   = 128              // datagrams that wait for one server
	routesMax     = 2 * membersMax   // servers that datagrams wait for
	packetIdle    = 30 * time.Second // after it the sender closes; memberlist probes every server more often where there are few
	packetBound   = 2 * time.Second  // of a dial and of a write
	routeCooldown = 500 * time.Millisecond
)

func openSealedGossip(cfg mux.Config) (*sealedGossip, error) {
	port, err := mux.Open(cfg)
	if err != nil {
		return nil, err
	}
	g := &sealedGossip{port: port, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), routes: map[memberlist.Address]chan []byte{}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	packets, err := port.Listener(mux.ProtocolGossipPackets)
	if err != nil {
		return nil, errors.Join(err, g.Shutdown())
	}
	streams, err := port.Listener(mux.ProtocolGossipStream)
	if err != nil {
		return nil, errors.Join(err, g.Shutdown())
	}
	g.wg.Go(func() { g.accept(packets, func(c *mux.Conn) { g.wg.Go(func() { g.receive(c) }) }) })
	g.wg.Go(func() { g.accept(streams, g.handOver) })
	return g, nil
}

// boundPort is the number of the port that others dial.
func (g *sealedGossip) boundPort() int { return g.port.Addr().(*net.TCPAddr).Port }

func (g *sealedGossip) accept(l *mux.Listener, serve func(*mux.Conn)) {
	for {
		c, err := l.AcceptConn()
		if err != nil {
			return
		}
		serve(c)
	}
}

func (g *sealedGossip) handOver(c *mux.Conn) {
	select {
	case g.streams <- c:
	case <-g.ctx.Done():
		c.Close()
	}
}

// receive passes on the datagrams of a connection until its sender has been silent for longer than it would leave it open.
func (g *sealedGossip) receive(c *mux.Conn) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 4<<10)
	for {
		if err := c.SetReadDeadline(time.Now().Add(2 * packetIdle)); err != nil {
			return
		}
		b, err := readPacket(r)
		if err != nil {
			return
		}
		select {
		case g.packets <- &memberlist.Packet{Buf: b, From: c.RemoteAddr(), Timestamp: time.Now()}:
		case <-g.ctx.Done():
			return
		}
	}
}

var errEmptyPacket = errors.New("empty datagram")

// readPacket reads one datagram, which has a byte at least: memberlist takes that for granted.
func readPacket(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	if size == [2]byte{} {
		return nil, errEmptyPacket
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// WriteTo is memberlist.Transport.
func (g *sealedGossip) WriteTo(b []byte, addr string) (time.Time, error) {
	return g.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress is memberlist.NodeAwareTransport. It never waits.
func (g *sealedGossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if len(b) == 0 || len(b) > packetMax {
		return time.Time{}, errors.New("not the size of a datagram")
	}
	framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b))), b...)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx.Err() != nil {
		return time.Time{}, net.ErrClosed
	}
	queue := g.routes[a]
	if queue == nil {
		if len(g.routes) >= routesMax {
			return time.Time{}, errors.New("too many servers to gossip with")
		}
		queue = make(chan []byte, packetQueue)
		g.routes[a] = queue
		g.wg.Go(func() { g.send(a, queue) })
	}
	select {
	case queue <- framed:
	default: // lost, as a datagram may be
	}
	return time.Now(), nil
}

// send is the route to one server: it ends, and what waits with it, when there is nothing to send for a while, and a moment after anything went wrong.
func (g *sealedGossip) send(a memberlist.Address, queue chan []byte) {
	if err := g.sendAll(a, queue); err != nil {
		select {
		case <-time.After(routeCooldown):
		case <-g.ctx.Done():
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.routes, a)
}

func (g *sealedGossip) sendAll(a memberlist.Address, queue chan []byte) error {
	c, err := g.dial(mux.ProtocolGossipPackets, a, packetBound)
	if err != nil {
		return err
	}
	defer c.Close()
	idle := time.NewTimer(packetIdle)
	defer idle.Stop()
	for {
		select {
		case b := <-queue:
			if err := c.SetWriteDeadline(time.Now().Add(packetBound)); err != nil {
				return err
			}
			if _, err := c.Write(b); err != nil {
				return err
			}
			idle.Reset(packetIdle)
		case <-idle.C:
			return nil
		case <-g.ctx.Done():
			return nil
		}
	}
}

// dial reaches the server of that name and no other, where memberlist knows the name.
func (g *sealedGossip) dial(p mux.Protocol, a memberlist.Address, bound time.Duration) (*mux.Conn, error) {
	ctx, cancel := context.WithTimeout(g.ctx, bound)
	defer cancel()
	return g.port.Dial(ctx, a.Addr, p, a.Name)
}

// DialTimeout is memberlist.Transport.
func (g *sealedGossip) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return g.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout is memberlist.NodeAwareTransport.
func (g *sealedGossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := g.dial(mux.ProtocolGossipStream, a, timeout)
	if err != nil {
		return nil, err // not a typed nil
	}
	return c, nil
}

// PacketCh is memberlist.Transport.
func (g *sealedGossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh is memberlist.Transport.
func (g *sealedGossip) StreamCh() <-chan net.Conn { return g.streams }

// FinalAdvertiseAddr is memberlist.Transport: what was configured, else what is bound.
func (g *sealedGossip) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	bound := g.port.Addr().(*net.TCPAddr)
	if port == 0 {
		port = bound.Port
	}
	advertised := bound.IP
	if ip != "" {
		if advertised = net.ParseIP(ip); advertised == nil {
			return nil, 0, errors.New("not an IP address to advertise: " + strconv.Quote(ip))
		}
	}
	if v4 := advertised.To4(); v4 != nil {
		advertised = v4
	}
	return advertised, port, nil
}

// Shutdown is memberlist.Transport.
func (g *sealedGossip) Shutdown() error {
	g.mu.Lock()
	g.cancel()
	g.mu.Unlock()
	err := g.port.Close()
	g.wg.Wait()
	return err
}
