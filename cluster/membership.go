package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"github.com/triagemq/triagemq/transport/mux"
)

// membership is this node's part in the gossip: it tells who this node is and knows what others told. It informs, and decides nothing: addresses for the
// peer port, founders for the bootstrap, the list for people. The raft configuration never follows from it.
type membership struct {
	log     hclog.Logger
	join    *joinList
	addr    string // gossip address as others dial it
	list    *memberlist.Memberlist
	ignore  func()        // ends following the secrets
	changed chan struct{} // something to look at; capacity 1
	warned  mux.Cooldown
	unheard bool // the latest word may have reached nobody; update's own

	mu      sync.Mutex // guards what follows; memberlist's callbacks run under its own lock
	self    gossipMeta
	members map[string]*gossipMember // all but this node
}

// gossipMember is another server. One that died is remembered, for its name and its last address.
type gossipMember struct {
	gossipMeta
	gossip string // gossip address
	alive  bool
}

const (
	membersMax   = 256 // members remembered, dead ones included
	joinBackoff  = 200 * time.Millisecond
	joinInterval = 5 * time.Second
	leaveBound   = time.Second
	updateBound  = 500 * time.Millisecond // a broadcast takes about 200 ms
)

func openMembership(cfg *Config, self gossipMeta) (*membership, error) {
	if _, err := self.encode(); err != nil {
		return nil, err
	}
	m := &membership{
		log: cfg.Logger.Named("gossip"), join: newJoinList(cfg.Join), changed: make(chan struct{}, 1),
		self: self, members: map[string]*gossipMember{},
	}
	m.self.View = hashView([]string{self.Server})
	conf, err := m.config(cfg)
	if err != nil {
		return nil, err
	}
	transport, port, err := m.openTransport(cfg, conf)
	if err != nil {
		return nil, fmt.Errorf("gossip on %s: %w", cfg.GossipAddr, err)
	}
	conf.Transport, conf.BindPort, conf.AdvertisePort = transport, port, port
	if m.list, err = memberlist.Create(conf); err != nil {
		return nil, errors.Join(fmt.Errorf("gossip on %s: %w", cfg.GossipAddr, err), transport.Shutdown())
	}
	m.ignore = cfg.Trust.Follow(func() { m.rekey(conf.Keyring, cfg.Trust) })
	m.addr = net.JoinHostPort(cmp.Or(conf.AdvertiseAddr, conf.BindAddr), strconv.Itoa(port))
	return m, nil
}

// openTransport binds the gossip address. Where certificates are demanded all contacts are TCP, in TLS, and the secret is proved there too.
func (m *membership) openTransport(cfg *Config, conf *memberlist.Config) (memberlist.NodeAwareTransport, int, error) {
	if !cfg.Trust.Certified() {
		g, err := openPlainGossip(conf)
		if err != nil {
			return nil, 0, err
		}
		return g, g.GetAutoBindPort(), nil
	}
	g, err := openSealedGossip(mux.Config{Addr: cfg.GossipAddr, Trust: cfg.Trust, Local: m.identity, Logger: m.log})
	if err != nil {
		return nil, 0, err
	}
	return g, g.boundPort(), nil
}

func (m *membership) identity() mux.Identity {
	m.mu.Lock()
	defer m.mu.Unlock()
	return mux.Identity{Cluster: m.self.Cluster, Server: m.self.Server, Name: m.self.Name, Boot: m.self.Boot}
}

func (m *membership) config(cfg *Config) (*memberlist.Config, error) {
	bind, err := net.ResolveTCPAddr("tcp", cfg.GossipAddr)
	if err != nil {
		return nil, err
	}
	conf := memberlist.DefaultLANConfig()
	conf.Name = m.self.Server
	conf.BindAddr, conf.BindPort, conf.AdvertisePort = bind.IP.String(), bind.Port, bind.Port
	if cfg.AdvertiseHost != "" {
		ip, err := net.ResolveIPAddr("ip", cfg.AdvertiseHost)
		if err != nil {
			return nil, fmt.Errorf("advertise-host: %w", err)
		}
		conf.AdvertiseAddr = ip.String()
	}
	if keys := gossipKeys(cfg.Trust); len(keys) > 0 && !cfg.Trust.Certified() {
		if conf.Keyring, err = memberlist.NewKeyring(keys, keys[0]); err != nil {
			return nil, err
		}
	}
	conf.GossipInterval = 100 * time.Millisecond // metas reach all within a second
	conf.PushPullInterval = 5 * time.Second      // what a lost broadcast costs at most
	conf.TCPTimeout = 2 * time.Second
	conf.DeadNodeReclaimTime = time.Nanosecond // a server may come back under another address: its id is nobody else's
	conf.Logger = log.New(gossipLog{m}, "", 0)
	conf.Delegate, conf.Events, conf.Alive, conf.Merge, conf.Conflict = m, m, m, m, m
	return conf, nil
}

// update changes what this node tells of itself, and spreads it. memberlist can lose a broadcast: its queue starts numbering anew when it runs empty, and two
// items of one number, length and count of transmissions replace one another. UpdateNode then times out; what nobody may have heard is told again the next
// time, or a cluster of three would wait for each other's word until the next exchange of full states. One goroutine calls update.
func (m *membership) update(change func(*gossipMeta)) {
	m.mu.Lock()
	before := m.self
	change(&m.self)
	m.self.View = hashView(m.viewLocked())
	same := m.self == before
	m.mu.Unlock()
	if same && !m.unheard {
		return
	}
	m.unheard = m.list.UpdateNode(updateBound) != nil
}

// viewLocked is the set of live servers, this one included, sorted.
func (m *membership) viewLocked() []string {
	view := []string{m.self.Server}
	for server, x := range m.members {
		if m.countsLocked(x) {
			view = append(view, server)
		}
	}
	slices.Sort(view)
	return view
}

func hashView(view []string) uint64 {
	h := fnv.New64a()
	for _, server := range view {
		h.Write([]byte(server))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// snapshot returns this node and the live others, sorted by server id.
func (m *membership) snapshot() (self gossipMeta, alive []gossipMeta) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.members {
		if m.countsLocked(x) {
			alive = append(alive, x.gossipMeta)
		}
	}
	slices.SortFunc(alive, func(a, b gossipMeta) int { return cmp.Compare(a.Server, b.Server) })
	return m.self, alive
}

// member returns what was last heard of a server.
func (m *membership) member(server string) (meta gossipMeta, alive, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if server == m.self.Server {
		return m.self, true, true
	}
	if x := m.members[server]; x != nil {
		return x.gossipMeta, m.countsLocked(x), !m.foreignLocked(x.Cluster)
	}
	return gossipMeta{}, false, false
}

// joinForever contacts the addresses of the join list that no live member is known to have: quickly at first, then every few seconds, so that nodes may
// start in any order and halves that lost each other find together again.
func (m *membership) joinForever(ctx context.Context) {
	wait := joinBackoff
	for {
		missing, failed := m.missing(ctx)
		for entry, err := range failed {
			m.log.Debug("an entry of the join list does not resolve", "entry", entry, "error", err)
		}
		for _, addr := range missing {
			if ctx.Err() != nil {
				return
			}
			if _, err := m.list.Join([]string{addr}); err != nil {
				m.reportContact(addr, err)
			} else {
				m.join.answered(addr)
			}
		}
		if len(missing)+len(failed) == 0 {
			wait = joinInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, joinInterval)
	}
}

// missing are the addresses behind the join list that are due, and its entries that do not resolve.
func (m *membership) missing(ctx context.Context) (addrs []string, failed map[string]error) {
	all, failed := m.join.addresses(ctx, m.addr)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, addr := range all {
		live, members := addr == m.addr, false
		for _, x := range m.members {
			if x.gossip == addr {
				live, members = live || m.countsLocked(x), true
			}
		}
		if !live && m.join.due(addr, members) {
			addrs = append(addrs, addr)
		}
	}
	return addrs, failed
}

// leave tells others that this node goes; close ends the gossip.
func (m *membership) leave() {
	if err := m.list.Leave(leaveBound); err != nil {
		m.log.Debug("leaving without being heard", "error", err)
	}
}

func (m *membership) close() error {
	m.ignore()
	return m.list.Shutdown()
}

// rekey follows the cluster's secrets.
func (m *membership) rekey(ring *memberlist.Keyring, trust *mux.Trust) {
	if ring == nil {
		return
	}
	if err := installKeys(ring, gossipKeys(trust)); err != nil {
		m.log.Error("the gossip keeps the keys that it has", "error", err)
	}
}

// What memberlist asks and tells.

// NodeMeta is memberlist.Delegate.
func (m *membership) NodeMeta(int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.self.encode()
	if err != nil { // only boot, view and cluster id grow after openMembership has checked
		m.log.Error("gossip does not fit", "error", err)
	}
	return b
}

// NotifyMsg and the methods after it are memberlist.Delegate; this node sends no messages of its own.
func (m *membership) NotifyMsg([]byte) {}

// GetBroadcasts returns none.
func (m *membership) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState returns none.
func (m *membership) LocalState(bool) []byte { return nil }

// MergeRemoteState takes none.
func (m *membership) MergeRemoteState([]byte, bool) {}

// NotifyJoin is memberlist.EventDelegate.
func (m *membership) NotifyJoin(n *memberlist.Node) { m.note(n, true) }

// NotifyUpdate is memberlist.EventDelegate.
func (m *membership) NotifyUpdate(n *memberlist.Node) { m.note(n, true) }

// NotifyLeave is memberlist.EventDelegate.
func (m *membership) NotifyLeave(n *memberlist.Node) { m.note(n, false) }

func (m *membership) note(n *memberlist.Node, alive bool) {
	meta, err := decodeGossipMeta(n.Name, n.Meta)
	if err != nil && alive || n.Name == m.self.Server {
		return
	}
	m.mu.Lock()
	x := m.members[n.Name]
	if x == nil {
		m.forgetOneLocked()
		x = &gossipMember{}
		m.members[n.Name] = x
	}
	if err == nil {
		x.gossipMeta = meta
	}
	x.alive, x.gossip = alive, net.JoinHostPort(n.Addr.String(), strconv.Itoa(int(n.Port)))
	m.mu.Unlock()
	m.poke()
}

// forgetOneLocked keeps the table bounded: a dead server goes first.
func (m *membership) forgetOneLocked() {
	if len(m.members) < membersMax {
		return
	}
	victim := ""
	for server, x := range m.members {
		if victim == "" || !x.alive {
			victim = server
		}
	}
	delete(m.members, victim)
}

func (m *membership) poke() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}
