package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/triagemq/triagemq/broker/memory"
)

const (
	sampleEvery     = time.Second
	sampleEveryNear = 100 * time.Millisecond // while memory is above half of the watermark, or an alarm stands

	// Between two samples the state may grow by that part of the limit before it asks for another one: what a flood adds to memory it adds to the state.
	sampleGrowthPart = 128

	// An alarm ends only when there is some way back to its limit, so that it does not flutter.
	memoryClearPercent = 95
	diskClearPercent   = 110

	// Above groupFullPercent of the group's limit this node holds publishers whoever uses the memory: another process of the group, the kernel for sockets, or
	// this process with pages that are not its own. The next who asks for memory may be the one that is killed.
	groupFullPercent  = 85
	groupClearPercent = 80
)

// measurement is what a look at memory and disk found.
type measurement struct {
	memory         memory.Usage
	watermarkBytes int64
	freeBytes      int64 // of the data folder's file system; -1 unknown
}

// meter measures. The sampler reads; others see what it read last.
type meter struct {
	read func() measurement // a test has its own
	heap *memory.Heap
	last atomic.Pointer[measurement]

	stateBytes  atomic.Int64  // of the state, after the last entry
	sampledWith atomic.Int64  // stateBytes when the sampler last looked
	grown       chan struct{} // capacity 1: look again
}

func (m *meter) open(c *Config) {
	source, watermark, folder := memory.Open("/"), c.MemoryWatermark, c.DataDir
	m.heap, m.grown = c.Heap, make(chan struct{}, 1)
	m.read = func() measurement {
		u := source.Read()
		return measurement{memory: u, watermarkBytes: watermark.Of(u.LimitBytes), freeBytes: diskFreeBytes(folder)}
	}
	m.sample()
}

// sample measures, and steers the heap.
func (m *meter) sample() *measurement {
	m.sampledWith.Store(m.stateBytes.Load())
	now := m.read()
	m.heap.Steer(now.memory, now.watermarkBytes)
	m.last.Store(&now)
	return &now
}

// stateHas is told how large the state is, after each entry.
func (m *meter) stateHas(sizeBytes int64) {
	m.stateBytes.Store(sizeBytes)
	if sizeBytes-m.sampledWith.Load() > m.last.Load().memory.LimitBytes/sampleGrowthPart {
		notify(m.grown)
	}
}

// near says that memory may be short soon.
func (m *measurement) near() bool {
	return m.memory.OwnBytes > m.watermarkBytes/2 || m.memory.GroupUsedBytes > m.memory.GroupLimitBytes/2
}

// sample looks at memory and disk, more often the less there is left, and raises this node's alarms.
func (n *Node) sample(ctx context.Context) {
	var short shortage
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-n.meter.grown:
		}
		now := n.meter.sample()
		a := n.judge(n.flow.ownAlarms(), now, n.LiveBytes())
		if n.flow.sampled(a) {
			n.logAlarms(a, now)
		}
		n.judgeShortage(&short, now)
		if a&alarmMemory != 0 {
			n.meter.heap.Collect()
		}
		if a != 0 || now.near() {
			timer.Reset(sampleEveryNear)
		} else {
			timer.Reset(sampleEvery)
		}
	}
}

func (n *Node) logAlarms(a alarms, m *measurement) {
	u := &m.memory
	n.logger.Warn("alarms changed: publishers are held on all nodes while one stands", "alarms", a.String(),
		"memory_bytes", u.OwnBytes, "memory_watermark_bytes", m.watermarkBytes, "memory_limit_bytes", u.LimitBytes, "group_used_bytes", u.GroupUsedBytes,
		"data_dir", n.cfg.DataDir, "free_bytes", m.freeBytes, "free_needed_bytes", n.cfg.DiskFreeLowBytes+n.LiveBytes())
}

// judge applies the limits with their hysteresis; -1 stands for an unknown figure, which leaves its alarm as it is. The disk has to have room for a snapshot of
// the live state beside what the log needs.
func (n *Node) judge(before alarms, m *measurement, liveBytes int64) alarms {
	a := before
	u := &m.memory
	groupFull := func(percent int64) bool { return u.GroupUsedBytes > u.GroupLimitBytes/100*percent }
	switch {
	case u.OwnBytes < 0:
	case u.OwnBytes > m.watermarkBytes || groupFull(groupFullPercent):
		a |= alarmMemory
	case u.OwnBytes <= m.watermarkBytes/100*memoryClearPercent && !groupFull(groupClearPercent):
		a &^= alarmMemory
	}
	limit := n.cfg.DiskFreeLowBytes + liveBytes
	switch {
	case n.cfg.DiskFreeLowBytes == 0 || m.freeBytes < 0:
	case m.freeBytes < limit:
		a |= alarmDisk
	case m.freeBytes >= limit/100*diskClearPercent:
		a &^= alarmDisk
	}
	return a
}

// spreadBound is how long a node may take to hear of alarms; if it does not, the next keep-alive tells it.
const spreadBound = time.Second

// spreadAlarms tells the leader of this node's alarms, and all nodes where this one leads, as soon as they change. Keep-alives carry the same, but a flood of
// publishers on other nodes would go on for up to two of their intervals.
func (n *Node) spreadAlarms(ctx context.Context) {
	var told alarms
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.flow.spread:
		}
		leadership, _ := n.log.Leadership()
		word := n.flow.ownAlarms()
		var to []string
		if leadership.Self {
			all, verified := n.flow.leaderAlarms()
			n.flow.heardLeader(all, verified) // the leader heeds its own word
			word = all
			for _, m := range n.log.Members() {
				to = append(to, m.Node)
			}
		} else if leadership.Node != "" {
			to = append(to, leadership.Node)
		}
		if word != told {
			told = word
			n.tellHeard(ctx, to)
		}
	}
}

func (n *Node) tellHeard(ctx context.Context, nodes []string) {
	ctx, cancel := context.WithTimeout(ctx, spreadBound)
	defer cancel()
	request := append([]byte(tellHeard), n.Beacon()...)
	var calls sync.WaitGroup
	for _, node := range nodes {
		if node != n.self {
			calls.Go(func() { _, _ = n.log.Call(ctx, node, request) })
		}
	}
	calls.Wait()
}
