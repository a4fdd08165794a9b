package broker

import (
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/broker/memory"
	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/store"
)

// Config is everything that a Node is told. Default is runnable once DataDir is set; a zero field never means "default".
type Config struct {
	Name      string // --node-id, for people
	Version   string // of the product, for status
	DataDir   string // its file system's free space is watched; "" = none (tests)
	AMQPAddr  string // addresses for status, as others dial them
	AMQPSAddr string // "" = none
	HTTPAddr  string
	PeerAddr  string

	DefaultUser string // the first user of a new cluster, made by whichever node leads it first; "guest" may log in from loopback addresses only
	DefaultPass string

	MemoryWatermark     memory.Watermark // memory above which publishers are held on all nodes
	DiskFreeLowBytes    int64            // as that, for free bytes of DataDir's file system less the size of a snapshot; 0 = not watched
	WindowBytes         int              // batches sent or to be sent and not yet applied here; at least one batch
	PendingBytesPerConn int              // commands of one connection that wait for a batch; at least one Submit
	PendingBytesTotal   int              // the same over all connections: the share of each shrinks as more of them wait, and a command above 64 KiB waits for room, if need be until it is alone

	Chunks store.Chunks // memory for message bodies
	Heap   *memory.Heap // the process's, to be kept within the watermark; nil = left alone
	Clock  Clock
	Logger hclog.Logger
	// Fatal is told why this node must end: its state was outvoted, or its boot counter cannot be written. It may be called on the apply goroutine and
	// should end the process; the node serves nobody afterwards.
	Fatal func(error)

	firstUser      bool // the leader makes the first user; a test whose steps are all its own does without
	hashIterations int  // of the first user's password and of those that are compared with nothing

	CheckState bool // verify every invariant of the state after each entry; slow
}

// pendingShareMin is what a connection may always have waiting, however many others wait.
const pendingShareMin = 64 << 10

// Default returns the configuration of a node that is held by nobody but itself: 60 % of the cgroup's or machine's memory, 512 MiB of free disk beside a snapshot
// (two segments of the log, their successors being written, and the window, with something to spare).
func Default() Config {
	return Config{
		Name: "n1", Version: "0.0.0",
		DefaultUser: "guest", DefaultPass: "guest", firstUser: true, hashIterations: hashIterations,
		MemoryWatermark: memory.Watermark{Share: 0.6}, DiskFreeLowBytes: 512 << 20,
		WindowBytes: 4 << 20, PendingBytesPerConn: 1 << 20, PendingBytesTotal: 256 << 20,
		Chunks: store.HeapChunks{}, Clock: SystemClock{}, Logger: hclog.NewNullLogger(),
		Fatal: func(err error) { panic(err) },
	}
}

// Validate reports everything that is wrong at once.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, a ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	check(c.Name != "", "broker: a name is needed")
	check(c.DefaultUser != "" && len(c.DefaultUser) <= fsm.ShortStringBytesMax, "broker: a default user of 1 to 255 bytes is needed")
	if err := c.MemoryWatermark.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("broker: %w", err))
	}
	check(c.DiskFreeLowBytes >= 0, "broker: disk low-water mark %d bytes, want 0 or more", c.DiskFreeLowBytes)
	check(c.WindowBytes > 0, "broker: window of %d bytes, want more than 0", c.WindowBytes)
	check(c.PendingBytesPerConn >= pendingShareMin, "broker: %d pending bytes per connection, want %d or more", c.PendingBytesPerConn, pendingShareMin)
	check(c.PendingBytesTotal >= c.PendingBytesPerConn, "broker: %d pending bytes in all, want at least those of one connection", c.PendingBytesTotal)
	check(c.Chunks != nil && c.Clock != nil && c.Logger != nil && c.Fatal != nil, "broker: Chunks, Clock, Logger and Fatal are all needed")
	return errors.Join(errs...)
}
