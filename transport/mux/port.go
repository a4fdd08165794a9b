package mux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	handshakeBound = 5 * time.Second
	maxHandshakes  = 128
	maxConns       = 1024
)

// Port is an open peer port.
type Port struct {
	cfg Config
	key []byte // derived from the secret; nil without one
	tcp net.Listener

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	slots  chan struct{} // one for each handshake of an accepted connection

	mu        sync.Mutex // guards what follows
	closed    bool
	listeners map[Protocol]*Listener
	conns     map[*Conn]struct{}
	raw       map[net.Conn]struct{} // in their handshake
}

// Open binds the port and begins to accept. Connections of a protocol are refused until Listener was called for it.
func Open(cfg Config) (*Port, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	p := &Port{
		cfg: cfg, tcp: tcp, slots: make(chan struct{}, maxHandshakes),
		listeners: map[Protocol]*Listener{}, conns: map[*Conn]struct{}{}, raw: map[net.Conn]struct{}{},
	}
	if len(cfg.Secret) > 0 {
		p.key = DeriveKey(cfg.Secret, "peer port")
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Add(1)
	go p.accept()
	return p, nil
}

// Addr is the address that the port is bound to.
func (p *Port) Addr() net.Addr { return p.tcp.Addr() }

// Listener begins to serve a protocol. At most one listener is open for each.
func (p *Port) Listener(protocol Protocol) (*Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.listeners[protocol] != nil {
		return nil, fmt.Errorf("mux: protocol %d has a listener", protocol)
	}
	l := &Listener{port: p, protocol: protocol, queue: make(chan *Conn, backlog), done: make(chan struct{})}
	p.listeners[protocol] = l
	return l, nil
}

// Dial connects to a peer and shakes hands; expect names the server that must answer, "" takes any. ctx bounds the whole, and so do 5 s.
func (p *Port) Dial(ctx context.Context, addr string, protocol Protocol, expect string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeBound)
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	tune(c)
	peer, err := p.greetBounded(ctx, c, protocol, expect)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("peer %s: %w", addr, err)
	}
	p.adopt(peer)
	conn := &Conn{Conn: c, Peer: peer, port: p}
	if !p.track(conn) {
		c.Close()
		return nil, ErrClosed
	}
	return conn, nil
}

func (p *Port) greetBounded(ctx context.Context, c net.Conn, protocol Protocol, expect string) (Identity, error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return Identity{}, err
	}
	interrupted := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	peer, err := p.greet(c, protocol, expect)
	if !interrupted() {
		return peer, errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		return peer, err
	}
	return peer, c.SetDeadline(time.Time{})
}

// Close stops accepting, closes every listener and connection, and waits for the port's goroutines.
func (p *Port) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.wg.Wait()
		return nil
	}
	p.closed = true
	listeners, conns, raw := p.listeners, p.conns, p.raw
	p.listeners, p.conns, p.raw = map[Protocol]*Listener{}, map[*Conn]struct{}{}, map[net.Conn]struct{}{}
	p.mu.Unlock()

	p.cancel()
	err := p.tcp.Close()
	for c := range raw {
		c.Close()
	}
	for c := range conns {
		c.Close()
	}
	p.wg.Wait()
	for _, l := range listeners {
		l.Close()
	}
	return err
}

func (p *Port) accept() {
	defer p.wg.Done()
	for {
		c, err := p.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, most likely: give others time to close theirs
			p.cfg.Logger.Warn("cannot accept on the peer port", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-p.ctx.Done():
				return
			}
		}
		p.admit(c)
	}
}

// admit starts the handshake of a new connection, or closes it where too many are under way.
func (p *Port) admit(c net.Conn) {
	p.mu.Lock()
	full := p.closed || len(p.conns)+len(p.raw) >= maxConns
	if !full {
		select {
		case p.slots <- struct{}{}:
			p.raw[c] = struct{}{}
			p.wg.Add(1)
		default:
			full = true
		}
	}
	p.mu.Unlock()
	if full {
		c.Close()
		return
	}
	go p.handshake(c)
}

func (p *Port) handshake(c net.Conn) {
	defer p.wg.Done()
	defer func() { <-p.slots }()
	tune(c)
	conn, l, err := p.welcomeBounded(c)
	p.mu.Lock()
	delete(p.raw, c)
	p.mu.Unlock()
	if err != nil {
		c.Close()
		p.report(c, err)
		return
	}
	p.adopt(conn.Peer)
	if !p.track(conn) {
		c.Close()
		return
	}
	select {
	case l.queue <- conn:
		select {
		case <-l.done: // closed meanwhile: nobody drains the queue any more
			l.Close()
		default:
		}
	default:
		conn.Close()
	}
}

func (p *Port) welcomeBounded(c net.Conn) (*Conn, *Listener, error) {
	if err := c.SetDeadline(time.Now().Add(handshakeBound)); err != nil {
		return nil, nil, err
	}
	h, err := p.receive(c)
	if err != nil {
		return nil, nil, err
	}
	l := p.listener(h.protocol)
	if l == nil {
		return nil, nil, ErrProtocol
	}
	return &Conn{Conn: c, Peer: h.from, port: p}, l, c.SetDeadline(time.Time{})
}

// report tells the operator of what only an operator can mend, and keeps quiet about scanners and crashes.
func (p *Port) report(c net.Conn, err error) {
	log := p.cfg.Logger.Debug
	if errors.Is(err, ErrSecret) || errors.Is(err, ErrCluster) || errors.Is(err, ErrVersion) {
		log = p.cfg.Logger.Warn
	}
	if !errors.Is(err, io.EOF) {
		log("refused a peer connection", "remote", c.RemoteAddr().String(), "error", err)
	}
}

func (p *Port) adopt(peer Identity) {
	if peer.Cluster != "" && p.cfg.Adopt != nil && p.cfg.Local().Cluster == "" {
		p.cfg.Adopt(peer.Cluster, peer)
	}
}

func (p *Port) listener(protocol Protocol) *Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listeners[protocol]
}

func (p *Port) unlisten(l *Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listeners[l.protocol] == l {
		delete(p.listeners, l.protocol)
	}
}

func (p *Port) track(c *Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Port) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}
