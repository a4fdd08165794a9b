package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/hashicorp/raft"

	"github.com/triagemq/triagemq/transport/mux"
)

// Open starts a group on its data folder: the folder, the port, the stores, the state from snapshot and log, raft, gossip. When it returns, everything runs;
// Leadership tells when a leader is known. On error nothing is left behind. A folder that is damaged is set aside where Config.OnDamage says so and others can
// be reached, and the node begins anew; else the error wraps ErrDamaged.
func Open(cfg Config, m Machine) (*Group, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g, err := open(cfg, m)
	if err == nil {
		return g, nil
	}
	if err := recoverFromDamage(&cfg, err); err != nil {
		return nil, err
	}
	return open(cfg, m)
}

func open(cfg Config, m Machine) (g *Group, err error) {
	g = newGroup(cfg, m)
	defer func() {
		if err != nil {
			err = errors.Join(g.explainFull(err), g.Close(context.Background()))
			g = nil
		}
	}()
	if g.dir, err = openDataDir(cfg.DataDir, cfg.NodeID); err != nil {
		return g, err
	}
	if err := g.fitsFolder(); err != nil {
		return g, err
	}
	g.dir.tellSetAside(g.log)
	g.dir.makeRoom(cfg.DiskFreeLowBytes)
	id, _ := g.dir.identity()
	g.self = id.Server
	// The port before raft: the configuration that a lone node founds names its address.
	if err := g.openPort(); err != nil {
		return g, err
	}
	if g.stores, err = g.openStores(); err != nil {
		return g, err
	}
	// Gossip before raft, which dials by it; nobody is told of a cluster, or of raft state, before raft is open.
	if g.gossip, err = openMembership(&g.cfg, g.introduction()); err != nil {
		return g, err
	}
	in, err := g.openInstance()
	if err != nil {
		return g, fmt.Errorf("starting raft: %w", errors.Join(g.fsm.ahead, err, g.stores.snapshots.damage()))
	}
	g.stores.snapshots.removeUndescribed()
	g.fsm.live.Store(true)
	g.current.Store(in)
	return g, g.start()
}

func newGroup(cfg Config, m Machine) *Group {
	g := &Group{
		cfg: cfg, machine: m, log: cfg.Logger,
		leadChanged: make(chan struct{}), raftEvents: make(chan raft.Observation, 1), poked: make(chan struct{}, 1), conflicts: make(chan conflict, 1),
		departed: make(chan struct{}), changes: make(chan struct{}, 1),
	}
	g.cfg.Fatal = func(err error) { cfg.Fatal(g.explainFull(err)) }
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.posts.of = map[string]*outbox{}
	g.calls.idle = map[string][]*mux.Conn{}
	g.suspects, g.nonce = make(chan string, 64), 1+rand.Uint64N(math.MaxUint64)
	g.failovers.nonces, g.failovers.convictions = map[string]uint64{}, convictions{}
	g.fsm = &machineFSM{machine: m, fatal: g.fatal, ctx: g.ctx, usage: logUsage{
		threshold: cfg.SnapshotBytes, trailingBytes: cfg.TrailingBytes, trailingTime: cfg.TrailingTime, due: make(chan struct{}, 1),
	}}
	return g
}

func (g *Group) openPort() (err error) {
	g.port, err = mux.Open(mux.Config{
		Addr: g.cfg.PeerAddr, Trust: g.cfg.Trust, Logger: g.cfg.Logger.Named("peer"),
		Local: func() mux.Identity {
			id, boot := g.dir.identity()
			return mux.Identity{Cluster: id.Cluster, Server: id.Server, Name: id.Name, Boot: boot}
		},
		Adopt: func(cluster string, from mux.Identity) error { return g.adopt(cluster, from.Server) },
	})
	if err != nil {
		return fmt.Errorf("peer-addr: %w", err)
	}
	g.peerAddr = g.cfg.advertised(g.port.Addr())
	g.noticeTransport = g.networkTransport(newStreamLayer(g, nil), 2, noticeTimeout) // a notice and a heartbeat of ReadIndex may be under way to a server at once
	return nil
}

// introduction is the first word in the gossip.
func (g *Group) introduction() gossipMeta {
	id, boot := g.dir.identity()
	return gossipMeta{
		Server: id.Server, Name: id.Name, Cluster: id.Cluster, Peer: g.peerAddr, AMQP: g.cfg.AMQPAddr, HTTP: g.cfg.HTTPAddr, Version: g.cfg.Version,
		Boot: boot, Expect: uint64(g.expect()), LevelKnown: g.cfg.FeatureLevel, Level: g.dir.level(),
		HasState: true, // until raft is open and says otherwise
	}
}

// expect is BootstrapExpect as it is meant: a join list without a number of founders is for a cluster that exists, and so is a node that lost its data.
func (g *Group) expect() int {
	if g.cfg.BootstrapExpect == 1 && len(g.cfg.Join) > 0 {
		return 0
	}
	if id, _ := g.dir.identity(); id.Rejoins {
		return 0
	}
	return g.cfg.BootstrapExpect
}

// start starts the group's goroutines; Close joins them.
func (g *Group) start() error {
	streams, err := g.port.Listener(mux.ProtocolForward)
	if err != nil {
		return err
	}
	calls, err := g.port.Listener(mux.ProtocolCall)
	if err != nil {
		return err
	}
	posts, err := g.port.Listener(mux.ProtocolPost)
	if err != nil {
		return err
	}
	for _, run := range []func(){
		g.watchLeadership, g.watchLeader, g.watchConflicts, g.watchGossip, g.watchStanding, g.takeSnapshots, g.watchSpace,
		func() { g.acceptStreams(streams) },
		func() { g.acceptCalls(calls) },
		func() { g.acceptPosts(posts) },
		func() { g.gossip.joinForever(g.ctx) },
	} {
		g.wg.Go(run)
	}
	return nil
}

// spawn starts a goroutine that Close joins, on behalf of a caller from outside; ErrClosed when Close has begun.
func (g *Group) spawn(run func()) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return ErrClosed
	}
	g.wg.Go(run)
	return nil
}

// Close stops in the reverse order: no more items, streams or calls; out of the gossip; no more leading; raft; the stores; the port; the folder. It waits for
// every goroutine of the group. A leader that wants a successor at once calls TransferLeadership before. ctx bounds the wait for raft alone: when it ends,
// Close goes on and leaves raft's goroutines to the end of the process.
func (g *Group) Close(ctx context.Context) error {
	g.mu.Lock()
	already := g.closing
	g.closing = true
	s := g.stream
	g.stream = nil
	g.mu.Unlock()
	if already {
		g.wg.Wait()
		return nil
	}
	if s != nil {
		s.end("closing")
	}
	if g.gossip != nil {
		g.gossip.leave()
	}
	g.halt()
	g.cancel()
	errs := []error{g.closeRaft(ctx)}
	g.calls.close()
	if g.noticeTransport != nil {
		errs = append(errs, g.noticeTransport.Close())
	}
	if g.gossip != nil {
		errs = append(errs, g.gossip.close())
	}
	if g.port != nil {
		errs = append(errs, g.port.Close())
	}
	g.wg.Wait()
	if g.stores != nil {
		errs = append(errs, g.stores.close())
	}
	if g.dir != nil {
		errs = append(errs, g.dir.close())
	}
	g.publishClosed()
	return errors.Join(errs...)
}

func (g *Group) closeRaft(ctx context.Context) error {
	g.instanceMu.Lock() // a replacement under way comes to its end first
	defer g.instanceMu.Unlock()
	in := g.instance()
	if in == nil {
		return nil
	}
	closed := make(chan error, 1)
	go func() { closed <- in.close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("raft does not stop: %w", ctx.Err())
	}
}

func (g *Group) publishClosed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.publishLocked(Leadership{})
}

// fatal reports what this node must not survive. It writes no log line: where the disk hangs, the file of the log may be on it, and the write would never return.
func (g *Group) fatal(err error) {
	g.cfg.Fatal(fmt.Errorf("this node's log or state can no longer be trusted: %w", err))
}
