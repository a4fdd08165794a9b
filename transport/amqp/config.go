package amqp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// Config is what a Server needs to know. Default is complete.
type Config struct {
	Version     string // in server-properties
	ClusterName string // in server-properties

	FrameMaxBytes   uint32        // offered in tune, 4096 to 1 MiB; default 128 KiB
	ChannelMax      uint16        // offered in tune, 1 to 2047; default 2047
	Heartbeat       time.Duration // offered in tune, whole seconds; 0 offers none; default 60 s
	MessageBytesMax int           // largest body, at most 30 MiB; a larger one is a 406; default 16 MiB

	CertificateName CertificateName // of a client's certificate that names its user, for SASL EXTERNAL; default common_name
	AnonymousUser   string          // who clients are that log in with SASL ANONYMOUS; "" = it is not offered, the default

	HandshakeTimeout     time.Duration // from accept to connection.open, waiting for the node included; default 10 s
	OpenTimeout          time.Duration // for the session to open in the log, elections included; default 30 s
	CloseTimeout         time.Duration // for close-ok and for the last bytes to leave; default 5 s
	LoginDelay           time.Duration // before the socket of a refused login is closed; default 1 s
	HandshakesPerAddress int           // concurrent unauthenticated connections of one IP address; default 512
	ConnectionsMax       int           // all connections; one more is closed at once; default 80 % of the file descriptors

	OutputBytesMax  int           // unsent bytes at which a connection is not read any more; default 1 MiB
	PartialBytesMax int           // unfinished messages of one connection; beyond it is a 506; default 64 MiB
	IntakeBytesMax  int           // bodies above 64 KiB that are being received, over all connections; one is always; default 256 MiB
	TxBytesMax      int           // transactions that are not committed, over all connections; beyond it is a 506; default 256 MiB
	WindowMessages  uint32        // messages that a consumer may be sent ahead of the socket; default 1,000
	WindowBytes     uint32        // the same in body bytes, shared out when a connection has many consumers; default 1 MiB
	WriteStallMax   time.Duration // a peer that takes nothing for so long is dropped, without heartbeats; default 60 s
	Logger          hclog.Logger
}

// Default returns the configuration that RabbitMQ's users expect.
func Default() Config {
	return Config{
		Version:              "0.0.0",
		ClusterName:          "triagemq",
		FrameMaxBytes:        128 << 10,
		ChannelMax:           2047,
		Heartbeat:            60 * time.Second,
		MessageBytesMax:      16 << 20,
		CertificateName:      CommonName,
		HandshakeTimeout:     10 * time.Second,
		OpenTimeout:          30 * time.Second,
		CloseTimeout:         5 * time.Second,
		LoginDelay:           time.Second,
		HandshakesPerAddress: 512,
		ConnectionsMax:       descriptorLimit() * 8 / 10,
		OutputBytesMax:       1 << 20,
		PartialBytesMax:      64 << 20,
		IntakeBytesMax:       256 << 20,
		TxBytesMax:           256 << 20,
		WindowMessages:       1000,
		WindowBytes:          1 << 20,
		WriteStallMax:        60 * time.Second,
		Logger:               hclog.NewNullLogger(),
	}
}

// messageBytesLimit leaves room for properties and names in a command.
const messageBytesLimit = fsm.CommandBytesMax - 2<<20

// Validate reports every fault at once.
func (c *Config) Validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("amqp: "+format, args...))
		}
	}
	check(c.FrameMaxBytes >= wire.FrameMinMax && c.FrameMaxBytes <= 1<<20, "frame_max %d is not within %d and 1 MiB", c.FrameMaxBytes, wire.FrameMinMax)
	check(c.ChannelMax >= 1 && c.ChannelMax <= 2047, "channel_max %d is not within 1 and 2047", c.ChannelMax)
	check(c.Heartbeat >= 0 && c.Heartbeat%time.Second == 0 && c.Heartbeat <= 65535*time.Second, "heartbeat %v is not a number of seconds up to 65535", c.Heartbeat)
	check(c.MessageBytesMax >= 1 && c.MessageBytesMax <= messageBytesLimit, "message limit %d is not within 1 and %d", c.MessageBytesMax, messageBytesLimit)
	check(c.PartialBytesMax >= c.MessageBytesMax, "%d bytes of unfinished messages cannot hold one of %d", c.PartialBytesMax, c.MessageBytesMax)
	check(slices.Contains([]CertificateName{CommonName, DistinguishedName, SubjectAlternativeName}, c.CertificateName), "certificate name %q is not common_name, distinguished_name or subject_alternative_name", c.CertificateName)
	for name, d := range map[string]time.Duration{"handshake time-out": c.HandshakeTimeout, "open time-out": c.OpenTimeout,
		"close time-out": c.CloseTimeout, "write stall limit": c.WriteStallMax} {
		check(d > 0, "%s %v is not positive", name, d)
	}
	check(c.LoginDelay >= 0, "login delay %v is negative", c.LoginDelay)
	for name, n := range map[string]int{"handshakes per address": c.HandshakesPerAddress, "connections": c.ConnectionsMax,
		"output bytes": c.OutputBytesMax, "intake bytes": c.IntakeBytesMax, "transaction bytes": c.TxBytesMax, "window messages": int(c.WindowMessages), "window bytes": int(c.WindowBytes)} {
		check(n >= 1, "%s: %d is not positive", name, n)
	}
	check(c.Logger != nil, "no logger")
	return errors.Join(faults...)
}
