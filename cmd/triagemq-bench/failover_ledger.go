package main

import (
	"fmt"
	"sync"
	"time"
)

// failoverLedger is what became of each message; ids count from 0. Times are since epoch, 0 is never.
type failoverLedger struct {
	mu       sync.Mutex // guards what follows
	messages []failoverMessage
	again    [][2]*connection // that a message came to, one after the other
	ended    []string         // connections of nodes that were not ended
}

type failoverMessage struct {
	scheduled, confirmed, delivered time.Duration
	from, to                        int         // homes of the clients that published and took it
	ackedBy                         *connection // on which it was acknowledged last
	lost                            bool        // its connection ended before the confirm: its outcome is unknown
}

// plan notes a message of a client that is at home on a node.
func (l *failoverLedger) plan(at time.Duration, home int) (id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = append(l.messages, failoverMessage{scheduled: at, from: home, to: -1})
	return uint64(len(l.messages) - 1)
}

func (l *failoverLedger) confirm(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages[id].confirmed = time.Since(epoch)
}

// abandon notes that the connection of messages ended before their confirms.
func (l *failoverLedger) abandon(ids []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.messages[id].lost = true
	}
}

// deliver notes a delivery and, as the client does both at once, its acknowledgement. A message that comes to two connections that both live on is a duplicate.
// Where either has ended, the acknowledgement may never have arrived; the client may notice that later than another one gets the message, and takes what it
// has read before it does. So duplicates are counted once the dust has settled.
func (l *failoverLedger) deliver(id uint64, home int, on *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id >= uint64(len(l.messages)) {
		return
	}
	m := &l.messages[id]
	if m.ackedBy != nil {
		l.again = append(l.again, [2]*connection{m.ackedBy, on})
	}
	m.delivered, m.to, m.ackedBy = time.Since(epoch), home, on
}

func (l *failoverLedger) disconnected(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, why)
}

// settled is nil once all messages that were scheduled in a span of time, the victim's aside, are confirmed and delivered.
func (l *failoverLedger) settled(from, until time.Duration, victim int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.messages {
		if m := &l.messages[i]; m.from != victim && m.scheduled >= from && m.scheduled < until && !m.lost && (m.confirmed == 0 || m.delivered == 0) {
			return fmt.Errorf("message %d is confirmed at %v and delivered at %v", i, m.confirmed, m.delivered)
		}
	}
	return nil
}

// gaps are the longest times that messages scheduled in a span took.
func (l *failoverLedger) gaps(from, until time.Duration, victim int) (publish, deliver, reconnect time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.messages {
		m := &l.messages[i]
		switch {
		case m.scheduled < from || m.scheduled >= until:
		case m.from != victim && m.confirmed > 0:
			publish = max(publish, m.confirmed-m.scheduled)
			if m.to != victim {
				deliver = max(deliver, m.delivered-m.scheduled)
			}
		case m.confirmed > 0:
			reconnect = max(reconnect, m.confirmed-m.scheduled)
		}
	}
	return publish, deliver, reconnect
}

// missing counts messages that were confirmed and never delivered.
func (l *failoverLedger) missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.messages {
		if m := &l.messages[i]; m.confirmed > 0 && m.delivered == 0 {
			n++
		}
	}
	return n
}

func (l *failoverLedger) counts() (sent, confirmed, unknown int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.messages {
		switch m := &l.messages[i]; {
		case m.confirmed > 0:
			confirmed++
		case m.lost:
			unknown++
		}
	}
	return len(l.messages), confirmed, unknown
}

// duplicates counts them; it is asked before connections are ended on purpose.
func (l *failoverLedger) duplicates() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, pair := range l.again {
		if !pair[0].isOver() && !pair[1].isOver() {
			n++
		}
	}
	l.again = nil
	return n
}

func (l *failoverLedger) disconnects() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.ended...)
}
