package guard

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// AppendEntriesMax bounds the entries that raft reads at once. Raft counts entries, not bytes: its default of 64 may mean 2 GiB of our largest commands in
	// memory per follower. Transport fills requests up by bytes, and cuts them by bytes.
	AppendEntriesMax = 8
	// TrailingLogsMin is the least number of entries that stay in the log behind a snapshot. A follower verifies a request against an entry of its log,
	// never against its snapshot unless the log is empty behind it: without trailing entries, one conflicting entry right behind the snapshot makes
	// it reject every request and ask for snapshots for ever.
	TrailingLogsMin = 16

	rpcTimeoutDefault = 10 * time.Second
	protocolVersion   = 3
)

// Configure sets what safety rests on, and the default time-outs: heartbeat and election 500 ms, lease 250 ms. Set identity, logger, snapshot policy and
// other time-outs afterwards, then call Validate.
func Configure(c *raft.Config) {
	c.ProtocolVersion = protocolVersion
	c.HeartbeatTimeout = 500 * time.Millisecond
	c.ElectionTimeout = 500 * time.Millisecond
	c.LeaderLeaseTimeout = 250 * time.Millisecond
	c.MaxAppendEntries = AppendEntriesMax
	c.PreVoteDisabled = false
	c.NoSnapshotRestoreOnStart = false
	c.ShutdownOnRemove = false
}

// TransportLimits sets what safety rests on in the configuration of raft's network transport.
func TransportLimits(c *raft.NetworkTransportConfig) {
	// Pipelining moves requests and responses over two unbuffered channels. When the follower's log store fails once, both ends wait for each other and
	// replication to that follower stops for ever, while heartbeats go on and nothing looks wrong. Without it throughput on a real disk is the same.
	c.MaxRPCsInFlight = 1
	c.Timeout = rpcTimeoutDefault
}

// Validate reports every setting that is unsafe, beside those that raft.ValidateConfig refuses.
func Validate(c *raft.Config) error {
	errs := []error{raft.ValidateConfig(c)}
	refuse := func(unsafe bool, format string, args ...any) {
		if unsafe {
			errs = append(errs, fmt.Errorf("guard: "+format, args...))
		}
	}
	refuse(c.ProtocolVersion != protocolVersion, "ProtocolVersion is %d; only %d has ids, votes and commit notices as this package knows them", c.ProtocolVersion, protocolVersion)
	refuse(c.MaxAppendEntries > AppendEntriesMax, "MaxAppendEntries is %d; more than %d entries may not fit in memory", c.MaxAppendEntries, AppendEntriesMax)
	refuse(c.TrailingLogs < TrailingLogsMin, "TrailingLogs is %d; with less than %d a follower may never catch up", c.TrailingLogs, TrailingLogsMin)
	refuse(c.PreVoteDisabled, "PreVoteDisabled lets a node that was cut off depose a healthy leader")
	refuse(c.NoSnapshotRestoreOnStart, "NoSnapshotRestoreOnStart skips state that only the snapshot has")
	return errors.Join(errs...)
}

// ValidateTransport reports every setting of a network transport that is unsafe.
func ValidateTransport(c *raft.NetworkTransportConfig) error {
	var errs []error
	if c.MaxRPCsInFlight != 1 {
		errs = append(errs, fmt.Errorf("guard: MaxRPCsInFlight is %d; anything but 1 allows pipelining, which can stop replication for ever", c.MaxRPCsInFlight))
	}
	if c.Timeout <= 0 {
		errs = append(errs, fmt.Errorf("guard: Timeout is %v; without one a request to a silent peer never ends", c.Timeout))
	}
	return errors.Join(errs...)
}
