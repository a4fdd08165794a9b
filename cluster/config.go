package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/cluster/guard"
	"github.com/triagemq/triagemq/transport/mux"
)

// LogKind selects the store of the raft log.
type LogKind string

// The log stores that a data folder can choose; the choice stays with the folder.
const (
	LogWAL  LogKind = "wal"    // raft-wal: segments, the default
	LogBolt LogKind = "boltdb" // raft-boltdb: a third of the throughput, one file
)

// Config is what a Group is opened with. Default returns a complete one.
type Config struct {
	DataDir string // folder of this node alone; created when missing
	NodeID  string // --node-id: a name for people, 1 to 40 of a-z A-Z 0-9 . _ -

	PeerAddr      string   // raft, forwarding, calls; host:port, port 0 takes a free one
	GossipAddr    string   // gossip, TCP and UDP; likewise
	AdvertiseHost string   // host that others dial; "" means that of the bound address
	Join          []string // gossip addresses of others, host:port; one that answers is enough
	// BootstrapExpect is how many servers form a new cluster: 1 without Join starts alone at once, N waits until N report the same N members,
	// 0 never forms one and waits to be taken into an existing one.
	BootstrapExpect int
	Trust           *mux.Trust // what peers are shown and must show; nil is for loopback only

	FeatureLevel uint32 // the newest feature level that this program can apply: told to others, and what a data folder or a cluster may demand at most

	// What gossip tells others of this node's doors.
	AMQPAddr, HTTPAddr, Version string

	HeartbeatTimeout time.Duration // raft's; a follower without news for that long stands for election
	ElectionTimeout  time.Duration // raft's; at least HeartbeatTimeout
	LeaseTimeout     time.Duration // raft's; a leader without a majority for that long steps down
	CommitTimeout    time.Duration // raft's; followers learn of commits sooner, by commit notices
	LogWriteBound    time.Duration // a log or vote write that takes longer ends the process
	LogStore         LogKind
	LogSegmentBytes  int // of raft-wal; compaction frees whole segments
	OnDamage         DamagePolicy
	DiskFreeLowBytes int64 // free bytes of the folder's disk, beside a snapshot, below which log and snapshots are kept as small as can be; 0: not watched
	LogCacheBytes    int64 // recent entries kept in memory; the newest two whatever they take, 0 = none
	// AppendEntriesMax is how many entries a leader reads at once for a follower that is behind, 2 to 8: each may be the largest message.
	AppendEntriesMax int

	StableFor       time.Duration // how long a newcomer must keep up before it gets a vote
	DeadServerAfter time.Duration // a server that the leader has not heard of for so long is removed, see autopilot.go; 0 = never

	// A snapshot is taken when more than max(SnapshotBytes, Machine.LiveBytes) were applied since the last one. Behind it the log keeps TrailingTime
	// of traffic or TrailingBytes, whichever is less, for followers that were away.
	SnapshotBytes int64
	TrailingBytes int64
	TrailingTime  time.Duration

	Logger hclog.Logger
	// Fatal must end the process: this node's disk or memory can no longer be trusted. It may be called from any goroutine and must not return in production.
	Fatal func(error)
}

// Default is a single node on loopback in a folder of the working directory.
func Default() Config {
	return Config{
		DataDir: "triagemq-data", NodeID: "n1",
		PeerAddr: "127.0.0.1:7672", GossipAddr: "127.0.0.1:7946", BootstrapExpect: 1,
		HeartbeatTimeout: 500 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond, LeaseTimeout: 250 * time.Millisecond,
		FeatureLevel:  1,
		CommitTimeout: 50 * time.Millisecond, LogWriteBound: 5 * time.Second,
		LogStore: LogWAL, LogSegmentBytes: 64 << 20, LogCacheBytes: 32 << 20, AppendEntriesMax: guard.AppendEntriesMax,
		StableFor: 3 * time.Second, DeadServerAfter: 24 * time.Hour,
		OnDamage: DamageRejoin, DiskFreeLowBytes: 512 << 20,
		SnapshotBytes: 64 << 20, TrailingBytes: 1 << 30, TrailingTime: time.Minute,
		Logger: hclog.Default(),
		Fatal: func(err error) {
			fmt.Fprintln(os.Stderr, "triagemq: fatal:", err)
			os.Exit(1)
		},
	}
}

// Validate reports everything that is wrong, joined.
func (c *Config) Validate() error {
	var errs []error
	fail := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	fail(c.DataDir == "", "data-dir is empty")
	fail(!validName(c.NodeID), "node-id %q: 1 to 40 of a-z A-Z 0-9 . _ - are allowed", c.NodeID)
	fail(c.BootstrapExpect < 0, "bootstrap-expect %d is negative", c.BootstrapExpect)
	fail(c.BootstrapExpect == 0 && len(c.Join) == 0, "bootstrap-expect 0 waits to join a cluster, and join names nobody")
	fail(c.BootstrapExpect > 1 && len(c.Join) == 0, "bootstrap-expect %d needs join: the gossip addresses of the others", c.BootstrapExpect)
	fail(c.LogStore != LogWAL && c.LogStore != LogBolt, "log store %q: wal or boltdb", c.LogStore)
	fail(c.HeartbeatTimeout < 50*time.Millisecond, "heartbeat time-out %v is below 50ms", c.HeartbeatTimeout)
	fail(c.ElectionTimeout < c.HeartbeatTimeout, "election time-out %v is below the heartbeat time-out %v", c.ElectionTimeout, c.HeartbeatTimeout)
	fail(c.LeaseTimeout > c.HeartbeatTimeout || c.LeaseTimeout < 20*time.Millisecond, "lease time-out %v: 20ms to the heartbeat time-out", c.LeaseTimeout)
	fail(c.CommitTimeout < time.Millisecond, "commit time-out %v is below 1ms", c.CommitTimeout)
	fail(c.LogWriteBound <= 0, "log write bound %v is not positive", c.LogWriteBound)
	fail(c.LogSegmentBytes < 64<<10, "log segments of %d bytes: at least 64 KiB", c.LogSegmentBytes)
	fail(c.LogCacheBytes < 0, "log cache of %d bytes", c.LogCacheBytes)
	fail(c.OnDamage != DamageRejoin && c.OnDamage != DamageRefuse, "on damage %q: rejoin or refuse", c.OnDamage)
	fail(c.DiskFreeLowBytes < 0, "low-water mark of free disk of %d bytes", c.DiskFreeLowBytes)
	fail(c.AppendEntriesMax < 2 || c.AppendEntriesMax > guard.AppendEntriesMax, "%d entries per request: 2 to %d", c.AppendEntriesMax, guard.AppendEntriesMax)
	fail(c.SnapshotBytes <= 0, "snapshot threshold of %d bytes", c.SnapshotBytes)
	fail(c.StableFor < 0 || c.DeadServerAfter < 0, "stable for %v, dead server after %v: not below zero", c.StableFor, c.DeadServerAfter)
	fail(c.TrailingBytes < 0 || c.TrailingTime < 0, "trailing log of %d bytes, %v", c.TrailingBytes, c.TrailingTime)
	fail(c.FeatureLevel < 1, "feature level %d is below 1", c.FeatureLevel)
	fail(c.Logger == nil, "no logger")
	fail(c.Fatal == nil, "no Fatal")
	return errors.Join(append(errs, c.validateAddresses()...)...)
}

func (c *Config) validateAddresses() (errs []error) {
	for name, addr := range map[string]string{"peer-addr": c.PeerAddr, "gossip-addr": c.GossipAddr} {
		if err := mux.CheckBind(addr, c.Trust); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		} else if c.AdvertiseHost == "" && unspecified(addr) {
			errs = append(errs, fmt.Errorf("%s %s is not an address that others can dial: set advertise-host", name, addr))
		}
	}
	for _, addr := range c.Join {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			errs = append(errs, fmt.Errorf("join: %w", err))
		}
	}
	return errs
}

func unspecified(addr string) bool {
	a, err := net.ResolveTCPAddr("tcp", addr)
	return err == nil && (a.IP == nil || a.IP.IsUnspecified())
}

const nameMax = 40

func validName(name string) bool {
	if len(name) == 0 || len(name) > nameMax {
		return false
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
		default:
			return false
		}
	}
	return true
}

// advertised is the address of a bound port as others dial it.
func (c *Config) advertised(bound net.Addr) string {
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil || c.AdvertiseHost == "" {
		return bound.String()
	}
	return net.JoinHostPort(c.AdvertiseHost, port)
}
