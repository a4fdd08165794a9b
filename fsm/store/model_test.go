package store

import (
	"cmp"
	"slices"
)

// model is what a Store should be, as simply as it can be said: a list of entries that is searched and sorted whenever something is asked.
type model struct {
	entries []*modelEntry
	puts    []*modelContent // not released yet
}

type modelContent struct {
	number int // of the Put
	Content
}

type modelEntry struct {
	Info    // Message is not used
	content *modelContent
}

func (m *model) push(queue uint64, c *modelContent, id ID, p Placement) *modelEntry {
	e := &modelEntry{Info: Info{
		ID: id, Queue: queue, Priority: p.Priority, SizeBytes: len(c.Body), ExpiresMillis: p.ExpiresMillis,
		Delayed: p.Delay.DueMillis != 0, Delay: p.Delay,
	}, content: c}
	m.entries = append(m.entries, e)
	return e
}

func (m *model) remove(e *modelEntry) {
	m.entries = slices.DeleteFunc(m.entries, func(o *modelEntry) bool { return o == e })
}

func (m *model) giveBack(e *modelEntry, cause ReturnCause) {
	e.Held, e.Hold, e.Redelivered = false, Hold{}, true
	switch cause {
	case ReturnFailed:
		e.Failures++
		e.Deliveries++
	case ReturnConnection:
		e.Deliveries++
	}
}

func (m *model) delay(e *modelEntry, cause ReturnCause, d Delay) {
	m.giveBack(e, cause)
	e.Delayed, e.Delay = true, d
}

func (m *model) promote(e *modelEntry) { e.Delayed, e.Delay = false, Delay{} }

// waiting lists all that waits for a time, in the order in which it is due.
func (m *model) waiting() []*modelEntry {
	return m.sorted(
		func(e *modelEntry) bool { return e.deadline() != 0 },
		func(a, b *modelEntry) int {
			return cmp.Or(cmp.Compare(a.deadline(), b.deadline()), cmp.Compare(a.ID.Index, b.ID.Index), cmp.Compare(a.ID.Ordinal, b.ID.Ordinal))
		})
}

func (e *modelEntry) deadline() int64 {
	switch {
	case e.Held:
		return 0
	case e.Delayed && (e.ExpiresMillis == 0 || e.Delay.DueMillis < e.ExpiresMillis):
		return e.Delay.DueMillis
	}
	return e.ExpiresMillis
}

// delayed lists all that is delayed, delayedOf a queue's, in the order in which that happened.
func (m *model) delayed() []*modelEntry {
	return m.sorted(
		func(e *modelEntry) bool { return e.Delayed },
		func(a, b *modelEntry) int { return cmp.Compare(a.Delay.Delivery, b.Delay.Delivery) })
}

func (m *model) delayedOf(queue uint64) []*modelEntry {
	return slices.DeleteFunc(m.delayed(), func(e *modelEntry) bool { return e.Queue != queue })
}

// ready lists a queue in order of delivery.
func (m *model) ready(queue uint64) []*modelEntry {
	return m.sorted(
		func(e *modelEntry) bool { return e.Queue == queue && !e.Held && !e.Delayed },
		func(a, b *modelEntry) int {
			return cmp.Or(-cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID.Index, b.ID.Index), cmp.Compare(a.ID.Ordinal, b.ID.Ordinal))
		})
}

// held lists all that is held by (channel, tag), heldOf a queue's by delivery.
func (m *model) held() []*modelEntry {
	return m.sorted(
		func(e *modelEntry) bool { return e.Held },
		func(a, b *modelEntry) int {
			return cmp.Or(cmp.Compare(a.Hold.Channel, b.Hold.Channel), cmp.Compare(a.Hold.Tag, b.Hold.Tag))
		})
}

func (m *model) heldOf(queue uint64) []*modelEntry {
	return m.sorted(
		func(e *modelEntry) bool { return e.Queue == queue && e.Held },
		func(a, b *modelEntry) int { return cmp.Compare(a.Hold.Delivery, b.Hold.Delivery) })
}

func (m *model) sorted(want func(*modelEntry) bool, compare func(a, b *modelEntry) int) []*modelEntry {
	var list []*modelEntry
	for _, e := range m.entries {
		if want(e) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, compare)
	return list
}

// clone copies what changes.
func (m *model) clone() *model {
	c := &model{}
	for _, e := range m.entries {
		o := *e
		c.entries = append(c.entries, &o)
	}
	return c
}

// contents counts the messages alive and their bytes.
func (m *model) contents() (messages int, bytes int64) {
	alive := make(map[*modelContent]bool)
	for _, e := range m.entries {
		alive[e.content] = true
	}
	for _, c := range m.puts {
		alive[c] = true
	}
	for c := range alive {
		bytes += int64(len(c.Exchange) + len(c.RoutingKey) + len(c.Properties) + len(c.Body))
	}
	return len(alive), bytes
}
