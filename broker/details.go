package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

// askDetails asks a node for NodeDetails as JSON.
const askDetails = "details"

// NodeDetails is what a node says of its process and machine. A node that does not answer has Running false and little else.
type NodeDetails struct {
	Name         string // --node-id
	Node         string // id in the log: the Node of its origins
	Running      bool
	Leader       bool
	Voter        bool
	Version      string
	PID          int
	UptimeMillis int64
	Processors   int
	Goroutines   int
	FDUsed       int // -1 unknown
	FDTotal      int
	MemUsed      int64 // bytes of anonymous memory that are resident, -1 unknown
	MemLimit     int64 // bytes above which publishers are held
	MemAlarm     bool
	DiskFree     int64 // bytes, -1 unknown
	DiskLimit    int64 // bytes below which publishers are held
	DiskAlarm    bool
	Sessions     int // connections of clients
	AMQPAddr     string
	AMQPSAddr    string // "" = none
	HTTPAddr     string
	PeerAddr     string
}

// details is this node's word about itself.
func (n *Node) details() NodeDetails {
	now := n.meter.last.Load()
	held := n.flow.ownAlarms()
	leadership, _ := n.log.Leadership()
	d := NodeDetails{
		Name: n.cfg.Name, Node: n.self, Running: true, Leader: leadership.Self, Version: n.cfg.Version,
		PID: os.Getpid(), UptimeMillis: time.Since(n.started).Milliseconds(), Processors: runtime.NumCPU(), Goroutines: runtime.NumGoroutine(),
		FDUsed: openFiles(), FDTotal: openFilesMax(),
		MemUsed: now.memory.OwnBytes, MemLimit: now.watermarkBytes, MemAlarm: held&alarmMemory != 0,
		DiskFree: now.freeBytes, DiskLimit: n.cfg.DiskFreeLowBytes + n.LiveBytes(), DiskAlarm: held&alarmDisk != 0,
		AMQPAddr: n.cfg.AMQPAddr, AMQPSAddr: n.cfg.AMQPSAddr, HTTPAddr: n.cfg.HTTPAddr, PeerAddr: n.cfg.PeerAddr,
	}
	n.replica.view(func(s *fsm.State) { d.Sessions = s.OriginSessions(n.self) })
	return d
}

// openFiles counts this process's descriptors, -1 if unknown.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

// OwnDetails is this node's word about itself; the zero value before Run. Any goroutine.
func (n *Node) OwnDetails() NodeDetails {
	if !n.isAttached() {
		return NodeDetails{Name: n.cfg.Name, AMQPAddr: n.cfg.AMQPAddr, HTTPAddr: n.cfg.HTTPAddr, PeerAddr: n.cfg.PeerAddr}
	}
	d := n.details()
	for _, m := range n.log.Members() {
		if m.Node == n.self {
			d.Voter = m.Voter
		}
	}
	return d
}

// Details asks all members at once, by name; one that does not answer within 500 ms is not running. Any goroutine.
func (n *Node) Details(ctx context.Context) []NodeDetails {
	if !n.isAttached() {
		return []NodeDetails{n.OwnDetails()}
	}
	members := n.log.Members()
	out := make([]NodeDetails, len(members))
	ctx, cancel := context.WithTimeout(ctx, statusBound)
	defer cancel()
	var calls sync.WaitGroup
	for i, m := range members {
		calls.Go(func() { out[i] = n.askDetails(ctx, m) })
	}
	calls.Wait()
	slices.SortFunc(out, func(a, b NodeDetails) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (n *Node) askDetails(ctx context.Context, m Member) NodeDetails {
	var d NodeDetails
	if m.Node == n.self {
		d = n.details()
	} else if answer, err := n.log.Call(ctx, m.Node, []byte(askDetails)); err != nil || json.Unmarshal(answer, &d) != nil {
		d = NodeDetails{AMQPAddr: m.AMQP, HTTPAddr: m.HTTP, PeerAddr: m.Peer}
	}
	d.Name, d.Node, d.Voter = m.Name, m.Node, m.Voter
	return d
}
