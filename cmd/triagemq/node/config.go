package node

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/triagemq/triagemq/broker/memory"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/amqp"
)

// Version is the product's version, as server-properties, gossip and `triagemq version` show it.
const Version = "0.1.0"

// Config is everything that one node is told. Default is runnable; a zero field never means "default".
type Config struct {
	NodeID            string        // --node-id: name for people; the raft server id adds a random suffix
	DataDir           string        // --data-dir: log, snapshots, identity; one process at a time
	AMQPAddr          string        // --amqp-addr host:port
	AMQPSAddr         string        // --amqps-addr host:port; "" = no TLS door
	TLSCert           string        // --tls-cert: PEM file of the certificate chain
	TLSKey            string        // --tls-key: PEM file of its key
	TLSCA             string        // --tls-ca: PEM file of authorities; clients must then show a certificate of theirs; "" = none is asked for
	TLSLoginFrom      string        // --tls-login-from common_name|distinguished_name|subject_alternative_name: which name of a client's certificate is its user's (SASL EXTERNAL)
	AnonymousUser     string        // --anonymous-user: who clients are that log in with SASL ANONYMOUS; "" = nobody may
	HTTPAddr          string        // --http-addr host:port
	PeerAddr          string        // --peer-addr host:port, raft and forwarding
	GossipAddr        string        // --gossip-addr host:port, TCP and UDP
	AdvertiseHost     string        // --advertise-host: what others dial; "" = the host of each address
	Join              []string      // --join: gossip addresses
	BootstrapExpect   int           // --bootstrap-expect 1..9
	ClusterSecretFile string        // --cluster-secret-file; "" = none, loopback only
	ClusterSecrets    [][]byte      // lines of that file or of TRIAGEMQ_CLUSTER_SECRET: the first is proved with, all are accepted
	PeerTLSCert       string        // --peer-tls-cert: PEM file; with the next two, nodes speak mutual TLS 1.3 to each other
	PeerTLSKey        string        // --peer-tls-key: PEM file of its key
	PeerTLSCA         string        // --peer-tls-ca: PEM file of the authorities of peers
	PeerTLSName       string        // --peer-tls-name: DNS name that the certificate of every node carries; "" = the authority is enough
	DefaultUser       string        // --default-user
	DefaultPass       string        // --default-pass
	LogLevel          string        // --log-level trace|debug|info|warn|error
	LogStore          string        // --log-store wal|boltdb
	DeadServerAfter   time.Duration // --dead-server-after 1m.., 0 = never
	DiskFreeLow       int64         // --disk-free-low bytes of free disk, beside a snapshot, below which publishers are blocked; 0 = never
	OnDamage          string        // --on-damage rejoin|refuse: what to do with a data folder that is damaged
	HeartbeatTimeout  time.Duration // --heartbeat-timeout 50ms..10s
	ElectionTimeout   time.Duration // --election-timeout, at least the heartbeat time-out
	LeaseTimeout      time.Duration // --lease-timeout, at most the heartbeat time-out
	LogWriteBound     time.Duration // --log-write-bound: a log write or fsync that takes longer ends the process

	MemoryWatermark memory.Watermark // --memory-watermark: share of the cgroup's or machine's memory, or bytes, above which publishers are blocked
}

// Default returns the configuration of a whole broker on its own, on the standard ports of loopback.
func Default() Config {
	return Config{
		NodeID: "n1", DataDir: "triagemq-data",
		AMQPAddr: "127.0.0.1:5672", HTTPAddr: "127.0.0.1:15672", PeerAddr: "127.0.0.1:7672", GossipAddr: "127.0.0.1:7946",
		TLSLoginFrom: string(amqp.CommonName), BootstrapExpect: 1, DefaultUser: "guest", DefaultPass: "guest", LogLevel: "info", LogStore: "wal", DeadServerAfter: 24 * time.Hour,
		OnDamage: "rejoin", DiskFreeLow: 512 << 20,
		HeartbeatTimeout: 500 * time.Millisecond, ElectionTimeout: 500 * time.Millisecond, LeaseTimeout: 250 * time.Millisecond,
		LogWriteBound: 5 * time.Second, MemoryWatermark: memory.Watermark{Share: 0.6},
	}
}

// Parse reads the configuration of `triagemq server`: flags win over TRIAGEMQ_… variables, those over the TOML file that --config names, that over
// Default. Unknown flags and keys are errors. It returns flag.ErrHelp where help was asked for.
func Parse(args []string, environ []string) (Config, error) {
	c := Default()
	fs, file := c.flags()
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q: triagemq server takes flags only", fs.Arg(0))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	env := environment(environ)
	if v, ok := env["config"]; ok && !given["config"] {
		*file = v
	}
	if err := overlay(fs, given, env, *file); err != nil {
		return c, err
	}
	var err error
	if c.ClusterSecrets, err = c.readSecrets(env["cluster-secret"]); err != nil {
		return c, err
	}
	return c, c.Validate()
}

// Flags are those of `triagemq server`, with the values of Default, for its --help.
func Flags() *flag.FlagSet {
	c := Default()
	fs, _ := c.flags()
	return fs
}

// flags are the settings of c and the name of the file that holds more. Nothing is printed by them: errors are the caller's to show, once.
func (c *Config) flags() (fs *flag.FlagSet, file *string) {
	fs = flag.NewFlagSet("triagemq server", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	file = fs.String("config", "", "TOML `file` whose keys are the names of these flags")
	c.register(fs)
	return fs, file
}

func (c *Config) register(fs *flag.FlagSet) {
	fs.StringVar(&c.NodeID, "node-id", c.NodeID, "`name` of this node, unique in the cluster")
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "`folder` of the log, snapshots and identity")
	fs.StringVar(&c.AMQPAddr, "amqp-addr", c.AMQPAddr, "AMQP 0-9-1 `host:port`")
	fs.StringVar(&c.AMQPSAddr, "amqps-addr", c.AMQPSAddr, "AMQP 0-9-1 over TLS `host:port` (5671 by custom), needs --tls-cert and --tls-key; none by default")
	fs.StringVar(&c.TLSCert, "tls-cert", c.TLSCert, "PEM `file` with the certificate, and those between it and its authority, for --amqps-addr")
	fs.StringVar(&c.TLSKey, "tls-key", c.TLSKey, "PEM `file` with the key of --tls-cert")
	fs.StringVar(&c.TLSCA, "tls-ca", c.TLSCA, "PEM `file` with authorities: clients of --amqps-addr must show a certificate that one of them signed")
	fs.StringVar(&c.TLSLoginFrom, "tls-login-from", c.TLSLoginFrom, "which `name` of a client's certificate is its user's, for SASL EXTERNAL: common_name,\ndistinguished_name or subject_alternative_name (the first DNS name)")
	fs.StringVar(&c.AnonymousUser, "anonymous-user", c.AnonymousUser, "`name` of the user that clients are who log in with SASL ANONYMOUS; without it they are refused")
	fs.StringVar(&c.HTTPAddr, "http-addr", c.HTTPAddr, "HTTP `host:port`: health, API")
	fs.StringVar(&c.PeerAddr, "peer-addr", c.PeerAddr, "`host:port` for the other nodes: raft and forwarding")
	fs.StringVar(&c.GossipAddr, "gossip-addr", c.GossipAddr, "`host:port` of membership gossip, TCP and UDP")
	fs.StringVar(&c.AdvertiseHost, "advertise-host", c.AdvertiseHost, "`host` that others dial, where the bind addresses are not it")
	fs.Var((*addresses)(&c.Join), "join", "gossip `host:port,…` of other nodes")
	fs.IntVar(&c.BootstrapExpect, "bootstrap-expect", c.BootstrapExpect, "`number` of servers that form a new cluster")
	fs.StringVar(&c.ClusterSecretFile, "cluster-secret-file", c.ClusterSecretFile, "`file` with the secret that all nodes share (or TRIAGEMQ_CLUSTER_SECRET), read again when it changes; several\nlines while a secret is replaced: the first is used, all are accepted. Without a secret or certificates the peer\nand gossip ports stay on loopback")
	fs.StringVar(&c.PeerTLSCert, "peer-tls-cert", c.PeerTLSCert, "PEM `file` with this node's certificate, and those between it and its authority: the nodes then speak mutual\nTLS 1.3 to each other, gossip included (TCP alone). Read again when it changes, like the next two")
	fs.StringVar(&c.PeerTLSKey, "peer-tls-key", c.PeerTLSKey, "PEM `file` with the key of --peer-tls-cert")
	fs.StringVar(&c.PeerTLSCA, "peer-tls-ca", c.PeerTLSCA, "PEM `file` with authorities: whoever shows a certificate of theirs is a node")
	fs.StringVar(&c.PeerTLSName, "peer-tls-name", c.PeerTLSName, "DNS `name` that the certificates of nodes must carry, where the authority signs for others too")
	fs.StringVar(&c.DefaultUser, "default-user", c.DefaultUser, "`name` of the first user of a new cluster, an administrator; guest may log in from loopback only")
	fs.StringVar(&c.DefaultPass, "default-pass", c.DefaultPass, "`password` of the first user; once the cluster has users, this and --default-user change nothing")
	fs.StringVar(&c.LogLevel, "log-level", c.LogLevel, "trace, debug, info, warn or error")
	fs.StringVar(&c.LogStore, "log-store", c.LogStore, "store of the replicated log: wal or boltdb (fixed once the data folder exists)")
	fs.DurationVar(&c.DeadServerAfter, "dead-server-after", c.DeadServerAfter, "a server that the leader has not heard of for this long is removed where more than three voters are left,\nat least 1m; 0 = never")
	fs.Var((*size)(&c.DiskFreeLow), "disk-free-low", "free `bytes` on the disk of --data-dir, beside those of a snapshot, below which publishers are blocked: 512MiB; 0 for never")
	fs.StringVar(&c.OnDamage, "on-damage", c.OnDamage, "what to do when the data folder is damaged: rejoin (set it aside and join the others anew, where --join\nnames any that can be reached) or refuse (do not start)")
	fs.DurationVar(&c.HeartbeatTimeout, "heartbeat-timeout", c.HeartbeatTimeout, "raft: silence of the leader after which a follower suspects it, 50ms to 10s")
	fs.DurationVar(&c.ElectionTimeout, "election-timeout", c.ElectionTimeout, "raft: how long a candidate waits for votes, at least --heartbeat-timeout")
	fs.DurationVar(&c.LeaseTimeout, "lease-timeout", c.LeaseTimeout, "raft: a leader that reached no majority for this long steps down, at most --heartbeat-timeout")
	fs.DurationVar(&c.LogWriteBound, "log-write-bound", c.LogWriteBound, "a log write or fsync that takes longer ends the process, 500ms to 5m")
	fs.Var(&c.MemoryWatermark, "memory-watermark", "`share` of the cgroup's or machine's memory above which publishers are blocked, 0.05 to 0.95, or bytes: 512MiB")
}

// size is a number of bytes as a flag: 512MiB, 2GB, 1000.
type size int64

func (s *size) String() string {
	if *s == 0 {
		return "0"
	}
	return (&memory.Watermark{Bytes: int64(*s)}).String()
}

func (s *size) Set(text string) error {
	if text == "0" {
		*s = 0
		return nil
	}
	var w memory.Watermark
	if err := w.Set(text); err != nil || w.Bytes == 0 {
		return fmt.Errorf("%q is no number of bytes (512MiB), 1MiB at least", text)
	}
	*s = size(w.Bytes)
	return nil
}

// addresses is a comma-separated list as a flag.
type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

func (a *addresses) Set(s string) error {
	*a = nil
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*a = append(*a, part)
		}
	}
	return nil
}

// environment picks the TRIAGEMQ_… variables and names them as the flags are.
func environment(environ []string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "TRIAGEMQ_") {
			env[strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(k, "TRIAGEMQ_")), "_", "-")] = v
		}
	}
	return env
}

// overlay sets what the command line left open. Variables that name no flag are ignored: orchestrators inject TRIAGEMQ_PORT and the like.
func overlay(fs *flag.FlagSet, given map[string]bool, env map[string]string, file string) error {
	keys := map[string]any{}
	if file != "" {
		if _, err := toml.DecodeFile(file, &keys); err != nil {
			return fmt.Errorf("config file %s: %w", file, err)
		}
	}
	var errs []error
	for k := range keys {
		if fs.Lookup(k) == nil || k == "config" {
			errs = append(errs, fmt.Errorf("config file %s: unknown key %q", file, k))
		}
	}
	fs.VisitAll(func(f *flag.Flag) {
		if given[f.Name] || f.Name == "config" {
			return
		}
		if v, ok := env[f.Name]; ok {
			if err := fs.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("environment variable for --%s: %w", f.Name, err))
			}
		} else if v, ok := keys[f.Name]; ok {
			if err := fs.Set(f.Name, tomlText(v)); err != nil {
				errs = append(errs, fmt.Errorf("config file %s: %s: %w", file, f.Name, err))
			}
		}
	})
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// tomlText writes a TOML value as its flag would be written; an array is a comma-separated list.
func tomlText(v any) string {
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	parts := make([]string, len(list))
	for i := range list {
		parts[i] = fmt.Sprint(list[i])
	}
	return strings.Join(parts, ",")
}

// Validate reports every fault at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(validName(c.NodeID), "--node-id %q: want 1 to 40 of a-z A-Z 0-9 . _ -", c.NodeID)
	bad(c.DataDir != "", "--data-dir is empty")
	for _, a := range []struct{ flag, addr string }{{"amqp-addr", c.AMQPAddr}, {"http-addr", c.HTTPAddr}, {"peer-addr", c.PeerAddr}, {"gossip-addr", c.GossipAddr}} {
		_, _, err := net.SplitHostPort(a.addr)
		bad(err == nil, "--%s %q: want host:port", a.flag, a.addr)
	}
	errs = append(errs, c.validateTLS(), c.validatePeerTLS())
	bad(slices.Contains([]string{string(amqp.CommonName), string(amqp.DistinguishedName), string(amqp.SubjectAlternativeName)}, c.TLSLoginFrom),
		"--tls-login-from %q: want common_name, distinguished_name or subject_alternative_name", c.TLSLoginFrom)
	for _, j := range c.Join {
		_, _, err := net.SplitHostPort(j)
		bad(err == nil, "--join %q: want host:port,…", j)
	}
	bad(c.BootstrapExpect >= 1 && c.BootstrapExpect <= 9, "--bootstrap-expect %d: want 1 to 9", c.BootstrapExpect)
	bad(c.BootstrapExpect == 1 || len(c.Join) > 0, "--bootstrap-expect %d needs --join", c.BootstrapExpect)
	bad(c.DefaultUser != "" && c.DefaultPass != "", "--default-user and --default-pass must not be empty")
	bad(len(c.DefaultUser) <= fsm.ShortStringBytesMax, "--default-user: want at most %d bytes", fsm.ShortStringBytesMax)
	bad(slices.Contains([]string{"trace", "debug", "info", "warn", "error"}, c.LogLevel), "--log-level %q: want trace, debug, info, warn or error", c.LogLevel)
	bad(c.LogStore == "wal" || c.LogStore == "boltdb", "--log-store %q: want wal or boltdb", c.LogStore)
	bad(c.DeadServerAfter == 0 || c.DeadServerAfter >= time.Minute, "--dead-server-after %v: want 0 or at least 1m", c.DeadServerAfter)
	bad(c.OnDamage == "rejoin" || c.OnDamage == "refuse", "--on-damage %q: want rejoin or refuse", c.OnDamage)
	bad(c.HeartbeatTimeout >= 50*time.Millisecond && c.HeartbeatTimeout <= 10*time.Second, "--heartbeat-timeout %v: want 50ms to 10s", c.HeartbeatTimeout)
	bad(c.ElectionTimeout >= c.HeartbeatTimeout && c.ElectionTimeout <= 30*time.Second, "--election-timeout %v: want --heartbeat-timeout to 30s", c.ElectionTimeout)
	bad(c.LeaseTimeout >= 25*time.Millisecond && c.LeaseTimeout <= c.HeartbeatTimeout, "--lease-timeout %v: want 25ms to --heartbeat-timeout", c.LeaseTimeout)
	bad(c.LogWriteBound >= 500*time.Millisecond && c.LogWriteBound <= 5*time.Minute, "--log-write-bound %v: want 500ms to 5m", c.LogWriteBound)
	if err := c.MemoryWatermark.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("--memory-watermark: %w", err))
	}
	return errors.Join(errs...)
}

func validName(s string) bool {
	ok := len(s) >= 1 && len(s) <= 40
	for _, r := range s {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}
	return ok
}

// guestIsShutOut tells that clients from elsewhere can reach this node and that the first user may not come from there.
func (c *Config) guestIsShutOut() bool {
	host, _, err := net.SplitHostPort(c.AMQPAddr)
	ip := net.ParseIP(host)
	return err == nil && c.DefaultUser == "guest" && host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// Settings lists the effective configuration for the log, secrets hidden.
func (c *Config) Settings() []any {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	shown := *c
	shown.DefaultPass = "(hidden)"
	shown.register(fs)
	var kv []any
	fs.VisitAll(func(f *flag.Flag) { kv = append(kv, strings.ReplaceAll(f.Name, "-", "_"), f.Value.String()) })
	return append(kv, "cluster_secret", map[bool]string{true: "(hidden)", false: "none"}[len(c.ClusterSecrets) > 0])
}

// advertised replaces the host of an address by --advertise-host, where that is set.
func (c *Config) advertised(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || c.AdvertiseHost == "" {
		return addr
	}
	return net.JoinHostPort(c.AdvertiseHost, port)
}
