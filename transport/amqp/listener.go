package amqp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Server accepts AMQP clients for one node. New, then Open, then Close.
type Server struct {
	config  Config
	broker  Broker
	log     hclog.Logger
	metrics metrics
	intake  intake
	inTx    atomic.Int64 // bytes that transactions of all connections keep

	doors   []*door
	stop    context.Context // ends when Close begins: nothing new starts
	stopNow context.CancelFunc
	joined  sync.WaitGroup

	mu          sync.Mutex // guards what follows
	connections map[*connection]struct{}
	handshakes  map[string]int // by IP address
}

// door is an address that clients come to.
type door struct {
	net.Listener
	secrets *tls.Config // nil: no TLS
	serving bool
}

// New returns a server that does nothing yet. The configuration has been validated.
func New(config Config, b Broker) *Server {
	s := &Server{
		config:      config,
		broker:      b,
		log:         config.Logger,
		connections: make(map[*connection]struct{}),
		handshakes:  make(map[string]int),
		intake:      intake{maxBytes: config.IntakeBytesMax},
	}
	s.stop, s.stopNow = context.WithCancel(context.Background())
	return s
}

// Open is Bind and Serve of a door without TLS ("127.0.0.1:5672").
func (s *Server) Open(addr string) error {
	if err := s.Bind(addr, nil); err != nil {
		return err
	}
	s.Serve()
	return nil
}

// Bind takes an address, so that a node finds out that it is taken before it does anything else; connections wait in the
// kernel until Serve. With secrets every client has to make a TLS handshake as they say, within the handshake time-out; they
// must not be changed afterwards. A server may have several doors. One goroutine calls Bind and Serve.
func (s *Server) Bind(addr string, secrets *tls.Config) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("amqp: %w", err)
	}
	s.doors = append(s.doors, &door{Listener: l, secrets: secrets})
	return nil
}

// Serve begins to accept at the doors that are bound. A client is served once the node accepts clients; until then its socket
// waits, at most the handshake time-out, and is then closed without a word: every client library dials again.
func (s *Server) Serve() {
	for _, d := range s.doors {
		if !d.serving {
			d.serving = true
			s.joined.Go(func() { s.accept(d, d.secrets) })
		}
	}
}

// Addr is where the server listens: the door that was opened first.
func (s *Server) Addr() net.Addr { return s.doors[0].Addr() }

// Close stops accepting, tells every client (320) and joins all goroutines. Clients have until ctx ends, and at most the close
// time-out, to answer.
func (s *Server) Close(ctx context.Context) {
	s.stopNow()
	for _, door := range s.doors {
		_ = door.Close()
	}
	for _, c := range s.live() {
		c.shutdown()
	}
	all := make(chan struct{})
	go func() {
		s.joined.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-ctx.Done():
		for _, c := range s.live() {
			c.abandon()
		}
		<-all
	}
}

func (s *Server) live() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*connection, 0, len(s.connections))
	for c := range s.connections {
		all = append(all, c)
	}
	return all
}

// accept runs until the listener is closed. An error of one accept (descriptors used up) must not end the server: it waits and
// goes on.
func (s *Server) accept(door net.Listener, secrets *tls.Config) {
	const pauseMax = time.Second
	pause := 5 * time.Millisecond
	for {
		socket, err := door.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			s.admit(socket, secrets)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s.log.Warn("cannot accept a connection", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-s.stop.Done():
			return
		}
		pause = min(2*pause, pauseMax)
	}
}

// admit starts a connection, or closes its socket where there are too many already.
func (s *Server) admit(socket net.Conn, secrets *tls.Config) {
	address := hostOf(socket.RemoteAddr())
	s.mu.Lock()
	refused := s.stop.Err() != nil || len(s.connections) >= s.config.ConnectionsMax || s.handshakes[address] >= s.config.HandshakesPerAddress
	var c *connection
	if !refused {
		c = newConnection(s, socket, secrets)
		s.connections[c] = struct{}{}
		s.handshakes[address]++
	}
	s.mu.Unlock()
	if refused {
		s.metrics.refused.Add(1)
		s.log.Debug("connection refused: too many", "peer", socket.RemoteAddr())
		_ = socket.Close()
		return
	}
	s.metrics.opened.Add(1)
	s.joined.Go(func() {
		c.serve()
		s.mu.Lock()
		delete(s.connections, c)
		s.mu.Unlock()
		s.metrics.closed.Add(1)
	})
}

// handshakeOver counts a connection no more among those that may still be anybody's.
func (s *Server) handshakeOver(c *connection) {
	address := hostOf(c.tcp.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handshakes[address]--; s.handshakes[address] <= 0 {
		delete(s.handshakes, address)
	}
}

func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}
