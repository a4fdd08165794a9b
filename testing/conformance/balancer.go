package conformance

import (
	"io"
	"net"
	"sync"
)

// balancedMax bounds the connections that a Balancer carries at a time; further ones wait.
const balancedMax = 4096

// Balancer spreads TCP connections over backends: each new one goes to the next backend that answers. Its methods may be called by several goroutines.
type Balancer struct {
	listeners []net.Listener
	slots     chan struct{}
	wg        sync.WaitGroup

	mu       sync.Mutex // guards what follows
	backends []string
	next     int
	avoided  string
	carried  map[net.Conn]string // both ends of each connection, with the backend
	closed   bool
}

// NewBalancer listens on addrs, of which at least the first must succeed, and carries connections to backends until Close.
func NewBalancer(backends []string, addrs ...string) (*Balancer, error) {
	b := &Balancer{slots: make(chan struct{}, balancedMax), backends: backends, carried: map[net.Conn]string{}}
	for k, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil && k == 0 {
			return nil, err
		}
		if err == nil {
			b.listeners = append(b.listeners, l)
			b.wg.Go(func() { b.accept(l) })
		}
	}
	return b, nil
}

// Addr is the first address that it listens on.
func (b *Balancer) Addr() string { return b.listeners[0].Addr().String() }

// Avoid lets new connections go to other backends than this one, where another answers. "" ends that.
func (b *Balancer) Avoid(backend string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.avoided = backend
}

// Carried counts the connections to a backend.
func (b *Balancer) Carried(backend string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, to := range b.carried {
		if to == backend {
			n++
		}
	}
	return n / 2
}

// Close ends all connections and waits for its goroutines.
func (b *Balancer) Close() {
	b.mu.Lock()
	b.closed = true
	for c := range b.carried {
		c.Close()
	}
	b.mu.Unlock()
	for _, l := range b.listeners {
		l.Close()
	}
	b.wg.Wait()
}

func (b *Balancer) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		b.slots <- struct{}{}
		b.wg.Go(func() {
			defer func() { <-b.slots }()
			b.carry(client)
		})
	}
}

// carry copies both ways until both have ended, or one has failed.
func (b *Balancer) carry(client net.Conn) {
	defer client.Close()
	server, backend := b.dial(client.RemoteAddr().(*net.TCPAddr).Port)
	if server == nil {
		return
	}
	defer server.Close()
	if !b.hold(backend, client, server) {
		return
	}
	defer b.release(client, server)
	var both sync.WaitGroup
	both.Go(func() { copyAndEnd(server, client) })
	both.Go(func() { copyAndEnd(client, server) })
	both.Wait()
}

func copyAndEnd(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	to.(*net.TCPConn).CloseWrite()
}

// dial connects to a backend, from the client's own port if it can: some clients look for their connections among the broker's by that number. The client
// holds the port at another address of the loopback interface.
func (b *Balancer) dial(port int) (net.Conn, string) {
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: port}}
	for _, backend := range b.order() {
		for _, d := range []*net.Dialer{from, {}} {
			if c, err := d.Dial("tcp", backend); err == nil {
				return c, backend
			}
		}
	}
	return nil, ""
}

// order lists the backends as they are to be tried, the avoided one last.
func (b *Balancer) order() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first, last []string
	for k := range b.backends {
		to := b.backends[(b.next+k)%len(b.backends)]
		if to == b.avoided {
			last = append(last, to)
		} else {
			first = append(first, to)
		}
	}
	b.next = (b.next + 1) % len(b.backends)
	return append(first, last...)
}

func (b *Balancer) hold(backend string, ends ...net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	for _, c := range ends {
		b.carried[c] = backend
	}
	return true
}

func (b *Balancer) release(ends ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range ends {
		delete(b.carried, c)
	}
}
