// Package node is the composition root: it puts the packages together into one running node, and takes them apart again.
//
// Nothing else knows both the broker and the cluster. A Node owns what Open opened; Close ends it in the reverse order. Start reading at Open.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/broker/arena"
	"github.com/triagemq/triagemq/broker/memory"
	"github.com/triagemq/triagemq/cluster"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/amqp"
	"github.com/triagemq/triagemq/transport/http"
	"github.com/triagemq/triagemq/transport/mux"
)

// Node is one running node.
type Node struct {
	cfg    Config
	budget budget
	log    hclog.Logger
	broker *broker.Node
	http   *http.Server
	group  *cluster.Group
	amqp   *amqp.Server
	trust  *mux.Trust
	runs   sync.WaitGroup // the broker's Run, and watching the files of trust
	end    context.CancelFunc
}

// Open starts a node and returns when its doors are bound; it serves clients once it has a leader and its origin is open. On an error nothing stays open.
func Open(cfg Config) (n *Node, err error) {
	n = &Node{cfg: cfg, budget: budgetOf(memory.Open("/").Read().LimitBytes), log: logger(cfg.LogLevel), end: func() {}}
	secrets, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}
	if n.trust, err = cfg.trust(); err != nil {
		return nil, err
	}
	n.log.Info("starting", append([]any{"version", Version, "pid", os.Getpid()}, cfg.Settings()...)...)
	if cfg.guestIsShutOut() {
		n.log.Warn("the first user of a new cluster is guest, who may log in from this machine only: set --default-user and --default-pass before its first start")
	}
	cfg.warnOfOpenFiles(n.log)
	defer func() {
		if err != nil {
			n.Close(context.Background())
			n = nil
		}
	}()
	if n.budget.messageBytesMax < amqp.Default().MessageBytesMax {
		n.log.Warn("memory is small: large messages are refused; give every node 512 MiB or more for messages of 16 MiB", "message_bytes_max", n.budget.messageBytesMax)
	}
	// 1. The broker's state machine: the log replays into it as soon as the group opens.
	if n.broker, err = broker.New(n.brokerConfig()); err != nil {
		return n, err
	}
	// 2. HTTP, so that probes see a node that is still replaying its log.
	n.http = http.New(n.httpConfig(), n.broker)
	if _, err = n.http.Open(cfg.HTTPAddr); err != nil {
		n.http = nil
		return n, fmt.Errorf("--http-addr: %w", err)
	}
	// The addresses for clients are taken, and nobody served: a node that cannot have them ends before it has touched its data.
	n.amqp = amqp.New(n.amqpConfig(), amqp.ForNode(n.broker))
	if err = n.amqp.Bind(cfg.AMQPAddr, nil); err != nil {
		return n, fmt.Errorf("--amqp-addr: %w", err)
	}
	if secrets != nil {
		if err = n.amqp.Bind(cfg.AMQPSAddr, secrets); err != nil {
			return n, fmt.Errorf("--amqps-addr: %w", err)
		}
	}
	// 3. The log: data folder, peer port, gossip, raft. From here on entries are applied.
	if n.group, err = cluster.Open(n.clusterConfig(), machine{n.broker}); err != nil {
		return n, err
	}
	// 4. The broker's side of the log: origin, pipeline, duties.
	ctx, cancel := context.WithCancel(context.Background())
	n.end = cancel
	n.runs.Go(func() {
		if err := n.broker.Run(ctx, replicatedLog{n.group}); err != nil && !errors.Is(err, context.Canceled) {
			n.fatal(err)
		}
	})
	n.runs.Go(func() { cfg.watchTrust(ctx, n.trust, n.log.Named("trust")) })
	// 5. Clients.
	n.amqp.Serve()
	n.log.Info("started", "amqp", cfg.AMQPAddr, "amqps", cfg.AMQPSAddr, "http", cfg.HTTPAddr, "node", n.group.Self())
	return n, nil
}

// Departed is closed once this node is no member of its cluster any more, or stopped to leave it and could not; the process should then end.
func (n *Node) Departed() <-chan struct{} { return n.group.Departed() }

// Why a node departs otherwise than by leaving.
var (
	ErrRemoved = errors.New("this node was removed from its cluster")
	ErrNotLeft = errors.New("this node stopped to leave its cluster and could not: start it again, and it is a member as before")
)

// Departure is nil where the node left by its own wish, once Departed is closed.
func (n *Node) Departure() error {
	switch n.group.How() {
	case cluster.DepartedLeft:
		return nil
	case cluster.DepartedRemoved:
		return ErrRemoved
	}
	return ErrNotLeft
}

// Close stops the node in an orderly way: clients see their confirms and then a forced close, another node leads before this one is gone. ctx bounds it.
func (n *Node) Close(ctx context.Context) error {
	var errs []error
	if n.amqp != nil { // 5: clients are told, their last outcomes delivered
		if err := n.broker.Stop(ctx); err != nil {
			n.log.Warn("the stop was not clean; nothing confirmed depends on it", "error", err)
		}
		n.amqp.Close(ctx)
	}
	n.end() // 4
	n.runs.Wait()
	if n.group != nil { // 3
		errs = append(errs, n.group.Close(ctx))
	}
	if n.http != nil { // 2
		errs = append(errs, n.http.Close(ctx))
	}
	n.log.Info("stopped")
	return errors.Join(errs...)
}

// fatal ends the process at once: what this node's disk or state says can no longer be trusted, and every further answer might be wrong.
func (n *Node) fatal(err error) {
	hangUp()
	// What this process logs may go to the disk that hangs: the line is tried, and not waited for.
	time.AfterFunc(lastWords, func() { os.Exit(fatalStatus) })
	n.log.Error("this node cannot go on", "error", err)
	os.Exit(fatalStatus)
}

const (
	fatalStatus = 3
	lastWords   = 500 * time.Millisecond
)

func (n *Node) brokerConfig() broker.Config {
	c := broker.Default()
	c.Name, c.Version, c.DataDir = n.cfg.NodeID, Version, n.cfg.DataDir
	c.AMQPAddr, c.HTTPAddr, c.PeerAddr = n.cfg.advertised(n.cfg.AMQPAddr), n.cfg.advertised(n.cfg.HTTPAddr), n.cfg.advertised(n.cfg.PeerAddr)
	c.AMQPSAddr = n.cfg.advertised(n.cfg.AMQPSAddr)
	c.DefaultUser, c.DefaultPass = n.cfg.DefaultUser, n.cfg.DefaultPass
	c.MemoryWatermark, c.DiskFreeLowBytes = n.cfg.MemoryWatermark, n.cfg.DiskFreeLow
	c.PendingBytesTotal = n.budget.pendingBytes
	c.PendingBytesPerConn = min(c.PendingBytesPerConn, c.PendingBytesTotal/4)
	c.Chunks, c.Heap = arena.New(), memory.OpenHeap()
	c.Logger, c.Fatal = n.log.Named("broker"), n.fatal
	return c
}

func (n *Node) clusterConfig() cluster.Config {
	c := cluster.Default()
	c.DataDir, c.NodeID, c.Version = n.cfg.DataDir, n.cfg.NodeID, Version
	c.PeerAddr, c.GossipAddr, c.AdvertiseHost = n.cfg.PeerAddr, n.cfg.GossipAddr, n.cfg.AdvertiseHost
	c.AMQPAddr, c.HTTPAddr = n.cfg.advertised(n.cfg.AMQPAddr), n.cfg.advertised(n.cfg.HTTPAddr)
	c.Join, c.BootstrapExpect, c.Trust = n.cfg.Join, n.cfg.BootstrapExpect, n.trust
	if len(c.Join) > 0 && c.BootstrapExpect == 1 {
		c.BootstrapExpect = 0 // --join alone never forms a cluster
	}
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaseTimeout = n.cfg.HeartbeatTimeout, n.cfg.ElectionTimeout, n.cfg.LeaseTimeout
	c.DeadServerAfter = n.cfg.DeadServerAfter
	c.LogCacheBytes, c.AppendEntriesMax = n.budget.logCacheBytes, n.budget.appendEntriesMax
	c.LogWriteBound, c.LogStore = n.cfg.LogWriteBound, cluster.LogKind(n.cfg.LogStore)
	c.FeatureLevel = fsm.FeatureLevelMax
	c.OnDamage, c.DiskFreeLowBytes = cluster.DamagePolicy(n.cfg.OnDamage), n.cfg.DiskFreeLow
	c.Logger, c.Fatal = n.log.Named("cluster"), n.fatal
	return c
}

func (n *Node) amqpConfig() amqp.Config {
	c := amqp.Default()
	c.Version = Version
	c.MessageBytesMax = min(c.MessageBytesMax, n.budget.messageBytesMax)
	c.IntakeBytesMax, c.TxBytesMax = n.budget.intakeBytes, n.budget.transactionBytes
	c.ConnectionsMax = min(c.ConnectionsMax, n.budget.connectionsMax)
	c.CertificateName, c.AnonymousUser = amqp.CertificateName(n.cfg.TLSLoginFrom), n.cfg.AnonymousUser
	c.Logger = n.log.Named("amqp")
	return c
}

func (n *Node) httpConfig() http.Config {
	c := http.Default()
	c.MessageBytesMax = min(c.MessageBytesMax, n.budget.messageBytesMax)
	c.BodyBytesMax = n.budget.httpBytes
	c.Logger = n.log.Named("http")
	return c
}

// logger writes to standard error; the packages name theirs below it.
func logger(level string) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "triagemq", Level: hclog.LevelFromString(level), Output: os.Stderr})
}
