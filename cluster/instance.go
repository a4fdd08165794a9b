package cluster

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/triagemq/triagemq/cluster/guard"
	"github.com/triagemq/triagemq/transport/mux"
)

// instance is a running raft with its transport. A Group replaces it, on the same stores, when a snapshot contradicts the log.
type instance struct {
	raft      *raft.Raft
	layer     *streamLayer
	transport *guard.Transport

	// Raft never answers some futures when it is shut down with them in its channels. Whoever waits for one holds use for reading.
	use    sync.RWMutex
	closed bool // guarded by use
}

// openInstance starts raft on the group's stores.
func (g *Group) openInstance() (*instance, error) {
	l, err := g.port.Listener(mux.ProtocolRaft)
	if err != nil {
		return nil, err
	}
	in := &instance{layer: newStreamLayer(g, l)}
	network := g.networkTransport(in.layer, 3, 10*time.Second)
	var started atomic.Pointer[raft.Raft]
	transport := guard.NewTransport(network, guard.Hooks{
		BeforeInstall: g.beforeInstall,
		Installing:    func(id raft.ServerID, index uint64) func(bool) { return g.fsm.usage.installs.begin(string(id), index) },
		InstallStalled: func(id raft.ServerID) {
			g.log.Warn("the leader stopped sending a snapshot in the middle: breaking its connections", "leader", string(id))
			in.layer.hangUpOn(string(id))
		},
		Heard: func(id raft.ServerID) { g.heard(string(id)) },
		Replicates: func(id raft.ServerID, term uint64) bool {
			r := started.Load()
			return r != nil && r.State() == raft.Leader && r.CurrentTerm() == term && isConfigured(r, id)
		},
		Leads: func(term uint64) (uint64, bool) {
			r := started.Load()
			if r == nil || r.State() != raft.Leader || r.CurrentTerm() != term {
				return 0, false
			}
			return r.LastIndex(), true
		},
		Log: g.stores.logs.GetLog,
	})
	in.transport = transport
	conf, err := g.raftConfig()
	if err == nil {
		err = g.bootstrapAlone(conf, transport)
	}
	if err == nil {
		in.raft, err = raft.NewRaft(conf, g.fsm, g.stores.logs, g.stores.stable, g.stores.snapshots, transport)
	}
	if err != nil {
		return nil, errors.Join(err, transport.Close())
	}
	started.Store(in.raft)
	in.raft.RegisterObserver(raft.NewObserver(g.raftEvents, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	}))
	return in, nil
}

// isConfigured tells whether a server is in the latest configuration, committed or not.
func isConfigured(r *raft.Raft, id raft.ServerID) bool {
	f := r.GetConfiguration() // no question to raft's goroutine
	return f.Error() == nil && slices.ContainsFunc(f.Configuration().Servers, func(s raft.Server) bool { return s.ID == id })
}

func (g *Group) raftConfig() (*raft.Config, error) {
	conf := raft.DefaultConfig()
	guard.Configure(conf)
	conf.LocalID = raft.ServerID(g.self)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = g.cfg.HeartbeatTimeout, g.cfg.ElectionTimeout, g.cfg.LeaseTimeout
	conf.CommitTimeout = g.cfg.CommitTimeout
	conf.SnapshotThreshold, conf.SnapshotInterval = 1<<62, 24*time.Hour // takeSnapshots decides, by bytes
	conf.TrailingLogs = trailingLogsAtStart
	conf.MaxAppendEntries = g.cfg.AppendEntriesMax
	conf.NoLegacyTelemetry = true
	conf.Logger = newRaftLog(g.cfg.Logger.Named("raft"))
	return conf, guard.Validate(conf)
}

// bootstrapAlone founds a cluster of one before raft starts, so that a lone node leads at its first election.
func (g *Group) bootstrapAlone(conf *raft.Config, transport raft.Transport) error {
	if g.expect() != 1 {
		return nil
	}
	has, err := raft.HasExistingState(g.stores.logs, g.stores.stable, g.stores.snapshots)
	if err != nil || has {
		return err
	}
	if _, err := g.dir.drawCluster(); err != nil {
		return err
	}
	return raft.BootstrapCluster(conf, g.stores.logs, g.stores.stable, g.stores.snapshots, transport, raft.Configuration{
		Servers: []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(g.self), Address: raft.ServerAddress(g.peerAddr)}},
	})
}

func (g *Group) networkTransport(layer raft.StreamLayer, pool int, timeout time.Duration) *raft.NetworkTransport {
	conf := &raft.NetworkTransportConfig{
		Stream: layer, MaxPool: pool, Logger: newRaftLog(g.cfg.Logger.Named("raft-net")), ServerAddressProvider: byServer{g},
	}
	guard.TransportLimits(conf)
	conf.Timeout = timeout
	network := raft.NewNetworkTransportWithConfig(conf)
	network.TimeoutScale = installScale
	return network
}

// installScale bounds a snapshot on its way, with its restore: so many bytes may take raft's patience for a response, 10 s. While it is on its way the log behind it
// is kept; with raft's own 256 KiB, a receiver that is stopped could keep 1 GiB on its way for eleven hours.
const installScale = 4 << 20

// close stops raft, waits for its goroutines and closes its connections.
func (in *instance) close() error {
	in.use.Lock()
	defer in.use.Unlock()
	if in.closed {
		return nil
	}
	in.closed = true
	f := in.raft.Shutdown()
	in.layer.hangUp() // raft waits for its replication, and that for an answer of a server that may hang
	return f.Error()  // closes the transport too
}

// await waits for a future that raft might leave unanswered at its shutdown.
func (in *instance) await(future func(*raft.Raft) raft.Future) error {
	in.use.RLock()
	defer in.use.RUnlock()
	if in.closed {
		return ErrClosed
	}
	return future(in.raft).Error()
}

// leadership is what raft knows. The leader is read between two looks at the term: raft forgets its leader, and leaves the state of leader, before it
// enters another term, so that equal looks mean that the leader is of that term. leads is then proof that this node led term.
func (in *instance) leadership() (leader string, term uint64, leads bool) {
	for {
		term = in.raft.CurrentTerm()
		leads = in.raft.State() == raft.Leader
		_, id := in.raft.LeaderWithID()
		if in.raft.CurrentTerm() == term {
			return string(id), term, leads
		}
	}
}

// beforeInstall keeps a snapshot that contradicts the log from raft, and has the instance replaced.
func (g *Group) beforeInstall(req *raft.InstallSnapshotRequest) error {
	err := guard.CheckInstall(g.stores.logs, req.LastLogIndex, req.LastLogTerm)
	if errors.Is(err, guard.ErrInstallConflict) {
		select {
		case g.conflicts <- conflict{req.LastLogIndex, req.LastLogTerm}:
		default: // one is being dealt with; the leader asks again
		}
	}
	return err
}

// conflict is the last entry of a snapshot that contradicts the log.
type conflict struct{ index, term uint64 }

// watchConflicts replaces the raft instance when a snapshot contradicts its log. The leader's next attempt finds a log that ends before the snapshot.
func (g *Group) watchConflicts() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case c := <-g.conflicts:
			if err := g.replaceInstance(c); err != nil && g.ctx.Err() == nil {
				g.fatal(err)
			}
		}
	}
}

func (g *Group) replaceInstance(c conflict) error {
	g.instanceMu.Lock()
	defer g.instanceMu.Unlock()
	if g.ctx.Err() != nil {
		return nil
	}
	g.log.Warn("a snapshot contradicts this node's log: dropping what was never committed and starting raft again", "index", c.index, "term", c.term)
	g.halt()
	defer g.resume()
	if err := g.instance().close(); err != nil {
		return err
	}
	if err := guard.TruncateConflict(g.stores.logs, c.index, c.term); err != nil {
		return err
	}
	in, err := g.openInstance()
	if err != nil {
		return err
	}
	g.current.Store(in)
	return nil
}

// instance is the raft instance of the moment.
func (g *Group) instance() *instance { return g.current.Load() }

// configuration is raft's latest, committed or not.
func (g *Group) configuration() []raft.Server {
	in := g.instance()
	if in == nil {
		return nil
	}
	f := in.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

// hasState reports whether raft has a term or a log: this node has been part of a cluster.
func (g *Group) hasState() bool {
	in := g.instance()
	return in.raft.CurrentTerm() > 0 || in.raft.LastIndex() > 0
}

// byServer makes raft dial servers, not addresses: a server that moved is found where gossip says, and nobody else is taken for it.
type byServer struct{ g *Group }

// ServerAddr is raft.ServerAddressProvider.
func (b byServer) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == b.g.self {
		return raft.ServerAddress(b.g.peerAddr), nil
	}
	return raft.ServerAddress(id), nil
}

// address is where a server's peer port is: what it gossips while it lives, else what the configuration has, else what it gossiped last.
func (g *Group) address(server string) (string, error) {
	meta, alive, known := g.gossip.member(server)
	if alive {
		return meta.Peer, nil
	}
	for _, s := range g.configuration() {
		if string(s.ID) == server {
			return string(s.Address), nil
		}
	}
	if known {
		return meta.Peer, nil
	}
	return "", ErrUnknown
}

func (g *Group) dial(ctx context.Context, server string, protocol mux.Protocol) (*mux.Conn, error) {
	addr, err := g.address(server)
	if err != nil {
		return nil, err
	}
	return g.port.Dial(ctx, addr, protocol, server)
}

// streamLayer is raft's way to the peer port. It keeps track of its connections in both directions, because raft's transport closes none that is in use.
type streamLayer struct {
	g        *Group
	listener *mux.Listener // nil: this layer only dials
	ctx      context.Context
	cancel   context.CancelFunc

	mu     sync.Mutex // guards what follows
	conns  map[*layerConn]struct{}
	closed bool
	from   map[string]int // accepted ones, by the server that dialled
	fewer  chan struct{}  // closed, and replaced, when one of them has ended
}

type layerConn struct {
	net.Conn
	layer *streamLayer
	from  string // the server that dialled; "" where this node did
}

func newStreamLayer(g *Group, l *mux.Listener) *streamLayer {
	s := &streamLayer{g: g, listener: l, conns: map[*layerConn]struct{}{}, from: map[string]int{}, fewer: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Dial is raft.StreamLayer; address is a server id, see byServer.
func (s *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, min(timeout, dialBound))
	defer cancel()
	c, err := s.g.dial(ctx, string(address), mux.ProtocolRaft)
	if err != nil {
		return nil, err
	}
	return s.keep(c, "")
}

// dialBound keeps an attempt to reach a silent host shorter than raft's patience for a response.
const dialBound = 2 * time.Second

// Accept is net.Listener.
func (s *streamLayer) Accept() (net.Conn, error) {
	if s.listener == nil {
		<-s.ctx.Done()
		return nil, net.ErrClosed
	}
	c, err := s.listener.AcceptConn()
	if err != nil {
		return nil, err
	}
	return s.keep(c, c.Peer.Server)
}

func (s *streamLayer) keep(c net.Conn, from string) (net.Conn, error) {
	lc := &layerConn{Conn: c, layer: s, from: from}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || from == "" && s.ctx.Err() != nil {
		c.Close()
		return nil, net.ErrClosed
	}
	s.conns[lc] = struct{}{}
	if from != "" {
		s.from[from]++
	}
	return lc, nil
}

// accepted is how many connections that a server dialled are open. One counts until everything that came over it has been dealt with.
func (s *streamLayer) accepted(server string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from[server]
}

// awaitNone waits until none is open; false when some still are after the bound.
func (s *streamLayer) awaitNone(ctx context.Context, server string, bound time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for {
		s.mu.Lock()
		open, fewer := s.from[server], s.fewer
		s.mu.Unlock()
		if open == 0 {
			return true
		}
		select {
		case <-fewer:
		case <-ctx.Done():
			return false
		}
	}
}

// hangUp breaks what this node has dialled, and keeps it from dialling more.
func (s *streamLayer) hangUp() {
	s.mu.Lock()
	s.cancel()
	var dialled []*layerConn
	for c := range s.conns {
		if c.from == "" {
			dialled = append(dialled, c)
		}
	}
	s.mu.Unlock()
	for _, c := range dialled {
		c.Conn.Close() // raft gives it back by itself, to Close
	}
}

// hangUpOn breaks what a server has dialled.
func (s *streamLayer) hangUpOn(server string) {
	s.mu.Lock()
	var accepted []*layerConn
	for c := range s.conns {
		if c.from == server {
			accepted = append(accepted, c)
		}
	}
	s.mu.Unlock()
	for _, c := range accepted {
		c.Conn.Close() // raft gives it back by itself, to Close
	}
}

// Close is net.Listener; it closes every connection too.
func (s *streamLayer) Close() error {
	s.mu.Lock()
	s.cancel()
	s.closed = true
	conns := s.conns
	s.conns, s.from = map[*layerConn]struct{}{}, map[string]int{}
	s.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
	if s.listener != nil {
		return s.listener.Close()
	}
	return nil
}

// Addr is net.Listener: the address that others dial.
func (s *streamLayer) Addr() net.Addr { return peerAddr(s.g.peerAddr) }

func (c *layerConn) Close() error {
	if c.layer.forget(c) {
		c.layer.g.suspect(c.from)
	}
	return c.Conn.Close()
}

// forget reports whether the connection was the last one that its server had dialled.
func (s *streamLayer) forget(c *layerConn) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, kept := s.conns[c]; !kept {
		return false
	}
	delete(s.conns, c)
	if c.from == "" {
		return false
	}
	if s.from[c.from]--; s.from[c.from] == 0 {
		delete(s.from, c.from)
		last = true
	}
	close(s.fewer)
	s.fewer = make(chan struct{})
	return last
}

type peerAddr string

func (peerAddr) Network() string  { return "tcp" }
func (a peerAddr) String() string { return string(a) }
