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
	maxFromHost    = 32 // handshakes under way from one address beyond loopback: a stranger who says nothing must not keep the peers out
	maxConns       = 1024
)

// Port is an open peer port.
type Port struct {
	cfg     Config
	session *sessionKey
	tcp     net.Listener
	warned  Cooldown

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ignore func()        // ends following cfg.Trust
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
	session, err := newSessionKey()
	if err != nil {
		return nil, err
	}
	tcp, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	p := &Port{
		cfg: cfg, session: session, tcp: tcp, slots: make(chan struct{}, maxHandshakes),
		listeners: map[Protocol]*Listener{}, conns: map[*Conn]struct{}{}, raw: map[net.Conn]struct{}{},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.ignore = cfg.Trust.Follow(p.dropDistrusted)
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
	c, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	tune(c)
	done, err := p.greetBounded(ctx, c, protocol, expect)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("peer %s: %w", addr, err)
	}
	if err := p.adopt(done.peer); err != nil {
		c.Close()
		return nil, fmt.Errorf("peer %s: %w", addr, err)
	}
	return p.track(done)
}

func (p *Port) greetBounded(ctx context.Context, c net.Conn, protocol Protocol, expect string) (established, error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return established{}, err
	}
	interrupted := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	done, err := p.greet(ctx, c, protocol, expect)
	if !interrupted() {
		return done, errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		return done, err
	}
	return done, c.SetDeadline(time.Time{})
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

	p.ignore()
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
	full := p.closed || len(p.conns)+len(p.raw) >= maxConns || p.crowdedLocked(c)
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

// crowdedLocked tells whether too many handshakes with the address of c are under way. Loopback is where the nodes of a development cluster all are.
func (p *Port) crowdedLocked(c net.Conn) bool {
	host := hostOf(c)
	if host.IsLoopback() {
		return false
	}
	n := 0
	for other := range p.raw {
		if hostOf(other).Equal(host) {
			n++
		}
	}
	return n >= maxFromHost
}

func hostOf(c net.Conn) net.IP {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.IP
	}
	return nil
}

func (p *Port) handshake(c net.Conn) {
	defer p.wg.Done()
	defer func() { <-p.slots }()
	tune(c)
	done, err := p.receiveBounded(c)
	p.mu.Lock()
	delete(p.raw, c)
	p.mu.Unlock()
	if err != nil {
		c.Close()
		p.report(c, err)
		return
	}
	l := p.listener(done.protocol)
	if l == nil { // closed since the verdict
		c.Close()
		return
	}
	if err := p.adopt(done.peer); err != nil {
		c.Close()
		p.report(c, err)
		return
	}
	conn, err := p.track(done)
	if err != nil {
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

func (p *Port) receiveBounded(c net.Conn) (established, error) {
	ctx, cancel := context.WithTimeout(p.ctx, handshakeBound)
	defer cancel()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return established{}, err
	}
	done, err := p.receive(ctx, c)
	if err != nil {
		return established{}, err
	}
	return done, c.SetDeadline(time.Time{})
}

// report tells the operator of what only an operator can mend, and keeps quiet about scanners and crashes.
func (p *Port) report(c net.Conn, err error) {
	if errors.Is(err, io.EOF) {
		return
	}
	remote := c.RemoteAddr().String()
	mend := errors.Is(err, ErrSecret) || errors.Is(err, ErrCluster) || errors.Is(err, ErrVersion) || errors.Is(err, ErrTLS)
	if mend && p.warned.Over(err.Error()+hostOf(c).String()) {
		p.cfg.Logger.Warn("refused a peer connection; the same is not told again for a minute", "remote", remote, "error", err)
		return
	}
	p.cfg.Logger.Debug("refused a peer connection", "remote", remote, "error", err)
}

// adopt takes the peer's cluster over where there is none yet, and checks once more that both are of one cluster: between the verdict of this handshake and
// now another one may have been adopted.
func (p *Port) adopt(peer Identity) error {
	me := p.cfg.Local()
	if peer.Cluster != "" && p.cfg.Adopt != nil && me.Cluster == "" {
		if err := p.cfg.Adopt(peer.Cluster, peer); err != nil {
			return fmt.Errorf("%w: %w", ErrCluster, err)
		}
		me = p.cfg.Local()
	}
	if st, text := judge(me, peer, ""); st != statusOK {
		return refused(st, text)
	}
	return nil
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

// track hands a connection out, unless the port was closed, or the secrets replaced, while it was made.
func (p *Port) track(done established) (*Conn, error) {
	c := &Conn{Conn: done.conn, Peer: done.peer, keys: done.keys, port: p}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	closed := p.closed
	p.mu.Unlock()
	// The look at the secrets comes after the table has the connection: a Replace in between finds it there.
	if closed {
		c.Close()
		return nil, ErrClosed
	}
	if !p.trusts(c) {
		c.Close()
		return nil, ErrSecret
	}
	return c, nil
}

// trusts tells whether the secrets that a connection rests on are still the cluster's.
func (p *Port) trusts(c *Conn) bool {
	now := p.cfg.Trust.material()
	for _, k := range c.keys {
		if !now.accepts(k) {
			return false
		}
	}
	return true
}

// dropDistrusted closes what rests on a secret that was taken away: whoever learnt it must be out, and peers connect anew with another.
func (p *Port) dropDistrusted() {
	var dropped []*Conn
	p.mu.Lock()
	for c := range p.conns {
		if !p.trusts(c) {
			dropped = append(dropped, c)
		}
	}
	p.mu.Unlock()
	for _, c := range dropped {
		c.Close()
	}
	if len(dropped) > 0 {
		p.cfg.Logger.Info("closed the peer connections of a secret that is no longer the cluster's", "connections", len(dropped))
	}
}

func (p *Port) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}
