package broker

import (
	"strings"
	"sync"
	"time"
)

// alarms is a set of reasons to hold publishers.
type alarms uint8

const (
	alarmMemory alarms = 1 << iota // memory above the watermark
	alarmDisk                      // free disk below the low-water mark
	alarmState                     // replicas disagree and none has a majority
)

var alarmTexts = []struct {
	alarm alarms
	text  string
	name  string // in /api/cluster
}{{alarmMemory, "low on memory", "memory"}, {alarmDisk, "low on disk", "disk"}, {alarmState, "replicas disagree", "state"}}

// String is the reason for connection.blocked; "" when nothing is wrong.
func (a alarms) String() string {
	var parts []string
	for _, t := range alarmTexts {
		if a&t.alarm != 0 {
			parts = append(parts, t.text)
		}
	}
	return strings.Join(parts, " & ")
}

// names are the single words for what is wrong; empty, not nil, when nothing is.
func (a alarms) names() []string {
	names := []string{}
	for _, t := range alarmTexts {
		if a&t.alarm != 0 {
			names = append(names, t.name)
		}
	}
	return names
}

// reportAgeMax is how long a leader believes another node's last word on its alarms.
const reportAgeMax = 15 * time.Second

// inheritFor is how long it believes its predecessor's.
const inheritFor = 2 * time.Second

// flow decides whether publishers are held: an alarm of any node holds those of all. They are held before batching, so whatever is in a batch flows, acks above
// all. The gate changes at once; handlers are told by keepOrigin's goroutine.
type flow struct {
	gate    *gate         // open while publishers may go on
	changed chan struct{} // capacity 1: the reason changed
	spread  chan struct{} // capacity 1: other nodes may want to know

	mu        sync.Mutex
	own       alarms
	cluster   alarms                 // the leader's last word
	reported  map[string]alarmReport // what nodes told this node, for when it leads
	undecided uint64                 // Mark at which no hash had a majority; 0 = none
	verified  uint64                 // highest Mark at which a majority is known to agree
	told      alarms
}

type alarmReport struct {
	alarms alarms
	at     time.Time
}

func newFlow() *flow {
	return &flow{gate: newGate(true), changed: make(chan struct{}, 1), spread: make(chan struct{}, 1), reported: map[string]alarmReport{}}
}

// present is what holds publishers here. Called with mu held.
func (f *flow) present() alarms {
	a := f.own | f.cluster
	if f.undecided > 0 && f.undecided >= f.verified {
		a |= alarmState
	}
	return a
}

// settle acts on a change. Called with mu held.
func (f *flow) settle() {
	if a := f.present(); a != f.told {
		f.told = a
		f.gate.set(a == 0)
		notify(f.changed)
	}
}

func (f *flow) reason() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.present().String()
}

// sampled takes this node's own alarms and reports whether they changed.
func (f *flow) sampled(a alarms) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := f.own != a
	f.own = a
	f.settle()
	if changed {
		notify(f.spread)
	}
	return changed
}

func (f *flow) ownAlarms() alarms {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.own
}

// heardNode takes another node's alarms.
func (f *flow) heardNode(node string, a alarms) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reported[node].alarms != a {
		notify(f.spread)
	}
	f.reported[node] = alarmReport{alarms: a, at: time.Now()}
}

// inherit keeps the predecessor's word for a new leader until every node has had the time to report to it: publishers that were held must not be let go for the
// moment in which it knows of nobody's alarms but its own.
func (f *flow) inherit() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reported[""] = alarmReport{alarms: f.cluster, at: time.Now().Add(inheritFor - reportAgeMax)}
}

// heardLeader takes the leader's word on all nodes' alarms, and on the last Mark that a majority agrees on.
func (f *flow) heardLeader(a alarms, verified uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cluster = a
	f.verified = max(f.verified, verified)
	f.settle()
}

// leaderAlarms is this node's word as the leader: its own alarms and those of every node heard of lately.
func (f *flow) leaderAlarms() (a alarms, verified uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a = f.own
	for node, r := range f.reported {
		if time.Since(r.at) > reportAgeMax {
			delete(f.reported, node)
			continue
		}
		a |= r.alarms
	}
	return a, f.verified
}

// undecidedAt holds publishers until a later Mark finds a majority.
func (f *flow) undecidedAt(markIndex uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.undecided = max(f.undecided, markIndex)
	f.settle()
}

// agreedAt says that a majority agrees at a Mark.
func (f *flow) agreedAt(markIndex uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.verified = max(f.verified, markIndex)
	f.settle()
}
