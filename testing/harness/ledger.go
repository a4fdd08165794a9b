package harness

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ledger records what clients saw, per message id.
type Ledger struct {
	queues []string
	began  time.Time

	mu          sync.Mutex // guards what follows
	messages    map[string]*fate
	finished    []finished        // confirmed and acknowledged, oldest first: to be forgotten
	forgotten   map[uint64]uint64 // bit n%64 of the value under n/64: message n is no longer among messages
	forgot      tally             // what the forgotten ones add to the summary
	disconnects []Disconnect
	lastConfirm time.Time
	longestGap  time.Duration
	confirmed   int
	confirmedBy map[string]int // per node
	ackedBy     map[string]int
	problems    []string
}

// Disconnect is a connection that ended before the load did, and not because the load ended it.
type Disconnect struct {
	Node, Role, Reason string
	At                 time.Time
}

// fate is what became of a message.
type fate struct {
	confirmed, refused bool
	finished           bool       // will be forgotten
	copies             []fateCopy // one a queue
	history            []string   // what happened to it, for reports
}

type fateCopy struct {
	deliveries int
	first      int // deliveries without the redelivered flag
	acked      bool
}

// finished is a message that was confirmed and acknowledged in each queue. It is remembered in full for a while, for legal redeliveries (an acknowledgement may
// be lost with its connection), and then as one bit, so that a load of hours fits into memory.
type finished struct {
	id string
	at time.Time
}

// rememberFor is longer than any strike keeps an acknowledgement from the broker.
const rememberFor = 2 * time.Minute

type tally struct{ attempted, acked, again int }

const (
	historyMax  = 24  // of a message
	problemsMax = 100 // further ones are not kept
)

func newLedger(queues []string) *Ledger {
	return &Ledger{queues: queues, began: time.Now(), messages: map[string]*fate{}, forgotten: map[uint64]uint64{}, confirmedBy: map[string]int{}, ackedBy: map[string]int{}}
}

// note writes to a message's history.
func (g *Ledger) note(f *fate, format string, a ...any) {
	if len(f.history) < historyMax {
		f.history = append(f.history, fmt.Sprintf("%.3fs ", time.Since(g.began).Seconds())+fmt.Sprintf(format, a...))
	}
}

func (g *Ledger) problemLocked(id string, f *fate, format string, a ...any) {
	if len(g.problems) < problemsMax {
		g.problems = append(g.problems, fmt.Sprintf("message %s %s [%s]", id, fmt.Sprintf(format, a...), strings.Join(f.history, "; ")))
	}
}

func (g *Ledger) problem(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.problems = append(g.problems, text)
}

func (g *Ledger) attempted(id, node string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgetOldLocked()
	f := &fate{copies: make([]fateCopy, len(g.queues))}
	g.messages[id] = f
	g.note(f, "published on %s", node)
}

func (g *Ledger) settled(id, node string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.messages[id]
	f.confirmed, f.refused = ok, !ok
	if !ok {
		g.note(f, "refused")
		if slices.ContainsFunc(f.copies, func(c fateCopy) bool { return c.deliveries > 0 }) {
			g.problemLocked(id, f, "was delivered and then refused")
		}
		return
	}
	g.note(f, "confirmed")
	g.finishLocked(id, f)
	g.confirmed++
	g.confirmedBy[node]++
	now := time.Now()
	if !g.lastConfirm.IsZero() {
		g.longestGap = max(g.longestGap, now.Sub(g.lastConfirm))
	}
	g.lastConfirm = now
}

func (g *Ledger) delivered(id, node string, queue int, redelivered bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.messages[id]
	switch {
	case f == nil && g.isForgottenLocked(id):
		g.problemLocked(id, &fate{}, "was delivered on %s more than %v after its acknowledgement", node, rememberFor)
		return
	case f == nil:
		g.problemLocked(id, &fate{}, "is a phantom: it was never published")
		return
	}
	g.note(f, "delivered on %s from %s, redelivered %v", node, g.queues[queue], redelivered)
	if f.refused {
		g.problemLocked(id, f, "was refused and yet delivered")
	}
	c := &f.copies[queue]
	// The first delivery may be seen after the second: a node that was paused hands over what the log gave it before the others took over.
	if c.deliveries++; !redelivered {
		c.first++
	}
	if !redelivered && c.first > 1 {
		g.problemLocked(id, f, "was delivered %d times without the redelivered flag", c.first)
	}
}

func (g *Ledger) acked(id, node string, queue int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ackedBy[node]++
	if f := g.messages[id]; f != nil {
		f.copies[queue].acked = true
		g.note(f, "acknowledged")
		g.finishLocked(id, f)
	}
}

func (f *fate) acked() bool {
	return !slices.ContainsFunc(f.copies, func(c fateCopy) bool { return !c.acked })
}

// finishLocked plans to forget a message with which all is done.
func (g *Ledger) finishLocked(id string, f *fate) {
	if f.confirmed && f.acked() && !f.finished {
		f.finished = true
		g.finished = append(g.finished, finished{id, time.Now()})
	}
}

func (g *Ledger) forgetOldLocked() {
	for len(g.finished) > 0 && time.Since(g.finished[0].at) > rememberFor {
		id := g.finished[0].id
		g.finished = g.finished[1:]
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			continue
		}
		for _, c := range g.messages[id].copies {
			g.forgot.again += max(0, c.deliveries-1)
		}
		g.forgot.attempted++
		g.forgot.acked++
		g.forgotten[n/64] |= 1 << (n % 64)
		delete(g.messages, id)
	}
}

func (g *Ledger) isForgottenLocked(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	return err == nil && g.forgotten[n/64]&(1<<(n%64)) != 0
}

func (g *Ledger) disconnected(d Disconnect) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.disconnects = append(g.disconnects, d)
}

// Confirmed is the number of confirmed publishes so far.
func (g *Ledger) Confirmed() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.confirmed
}

// ByNode counts, per node, the publishes confirmed and the deliveries acknowledged by its clients so far.
func (g *Ledger) ByNode() (confirmed, acked map[string]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.confirmedBy), maps.Clone(g.ackedBy)
}

// Missing lists confirmed messages that the consumers of some queue have not acknowledged yet.
func (g *Ledger) Missing() (ids []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, f := range g.messages {
		if f.confirmed && !f.acked() {
			ids = append(ids, id)
		}
	}
	return ids
}

// Torn lists messages that reached some of their queues and not others. It is meaningful once all queues are empty.
func (g *Ledger) Torn() (out []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, f := range g.messages {
		reached := 0
		for _, c := range f.copies {
			if c.deliveries > 0 {
				reached++
			}
		}
		if reached > 0 && reached < len(f.copies) {
			out = append(out, fmt.Sprintf("message %s reached %d of %d queues [%s]", id, reached, len(f.copies), strings.Join(f.history, "; ")))
		}
	}
	return out
}

// Story is what happened to a message.
func (g *Ledger) Story(id string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.messages[id]
	if f == nil {
		return "never published"
	}
	return strings.Join(f.history, "; ")
}

// Problems lists what must never happen: phantoms, refused but delivered, duplicates without a mark, confirms that never come.
func (g *Ledger) Problems() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.problems...)
}

// Disconnects lists connections that ended before the load did, as "node: role: reason".
func (g *Ledger) Disconnects() (out []string) {
	for _, d := range g.Ended() {
		out = append(out, fmt.Sprintf("%s: %s: %s", d.Node, d.Role, d.Reason))
	}
	return out
}

// Ended lists the same with its times.
func (g *Ledger) Ended() []Disconnect {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.disconnects)
}

// TakeLongestGap returns the longest time between two confirms since the last call.
func (g *Ledger) TakeLongestGap() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	gap := g.longestGap
	g.longestGap = 0
	return gap
}

// Summary is one line for logs.
func (g *Ledger) Summary() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	acked, again := g.forgot.acked, g.forgot.again
	var unknown, refused int
	for _, f := range g.messages {
		switch {
		case f.refused:
			refused++
		case !f.confirmed:
			unknown++
		}
		if f.acked() {
			acked++
		}
		for _, c := range f.copies {
			again += max(0, c.deliveries-1)
		}
	}
	return fmt.Sprintf("%d attempted, %d confirmed, %d refused, %d unknown, %d acknowledged, %d redeliveries, %d disconnects",
		g.forgot.attempted+len(g.messages), g.confirmed, refused, unknown, acked, again, len(g.disconnects))
}
