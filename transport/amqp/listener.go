package amqp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Server accepts AMQP clients for one node. New, then Open, then Close.
type Server struct {
	config  Config
	broker  Broker
	log     hclog.Logger
	metrics metrics

	stop    context.Context // ends when Close begins: nothing new starts
	stopNow context.CancelFunc
	joined  sync.WaitGroup
	ln      net.Listener

	mu          sync.Mutex // guards what follows
	connections map[*connection]struct{}
	handshakes  map[string]int // by IP address
}

// New returns a server that does nothing yet. The configuration has been validated.
func New(config Config, b Broker) *Server {
	s := &Server{
		config:      config,
		broker:      b,
		log:         config.Logger,
		connections: make(map[*connection]struct{}),
		handshakes:  make(map[string]int),
	}
	s.stop, s.stopNow = context.WithCancel(context.Background())
	return s
}

// Open binds addr ("127.0.0.1:5672") at once and accepts. A client is served once the node accepts clients; until then its
// socket waits, at most the handshake time-out, and is then closed without a word: every client library dials again.
func (s *Server) Open(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("amqp: %w", err)
	}
	s.ln = ln
	s.joined.Go(s.accept)
	return nil
}

// Addr is where the server listens. After Open.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close stops accepting, tells every client (320) and joins all goroutines. Clients have until ctx ends, and at most the close
// time-out, to answer.
func (s *Server) Close(ctx context.Context) {
	s.stopNow()
	if s.ln != nil {
		_ = s.ln.Close()
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
func (s *Server) accept() {
	const pauseMax = time.Second
	pause := 5 * time.Millisecond
	for {
		socket, err := s.ln.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			s.admit(socket)
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
func (s *Server) admit(socket net.Conn) {
	address := hostOf(socket.RemoteAddr())
	s.mu.Lock()
	refused := s.stop.Err() != nil || len(s.connections) >= s.config.ConnectionsMax || s.handshakes[address] >= s.config.HandshakesPerAddress
	var c *connection
	if !refused {
		c = newConnection(s, socket)
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
	address := hostOf(c.socket.RemoteAddr())
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
