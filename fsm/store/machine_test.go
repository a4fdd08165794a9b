package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// machine does the same to a model and to two stores, and compares. The second store has another history: in between it is restored from
// snapshots, compacted, and filled with things that go again, so that its slots and chunks never lie as the first one's do.
type machine struct {
	t         fataler
	choose    func(n int) int // 0..n-1
	chunks    *strictChunks
	model     *model
	plain     *replica
	noisy     *replica
	frozen    *frozenCase
	numbers   int // contents put
	lastID    ID
	delivery  uint64
	nowMillis int64
	tags      map[uint64]uint64 // by channel
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// replica knows a store's slots by what they stand for.
type replica struct {
	s        *Store
	messages map[int]Message // by number of the content
	entries  map[key]Entry
	junk     []Message
}

type key struct {
	queue uint64
	id    ID
}

// frozenCase is a view, and what it must still be when it is written out.
type frozenCase struct {
	view   *Frozen
	bytes  []byte
	model  *model
	digest Digest
}

const (
	queuesMax  = 4
	noiseQueue = 99
)

func newReplica(c Chunks) *replica {
	s := New(c)
	s.contents.deadMin = 0 // or there would be too little to compact
	return &replica{s: s, messages: make(map[int]Message), entries: make(map[key]Entry)}
}

func newMachine(t fataler, choose func(n int) int) *machine {
	c := newStrictChunks(t)
	return &machine{t: t, choose: choose, chunks: c, model: &model{}, plain: newReplica(c), noisy: newReplica(c), tags: make(map[uint64]uint64)}
}

// end checks that all memory goes back, and that a view survives its store.
func (m *machine) end() {
	m.both(func(r *replica) { r.s.Discard() })
	if m.frozen != nil {
		m.thaw()
	}
	m.chunks.checkEmpty()
}

func (m *machine) both(f func(r *replica)) {
	f(m.plain)
	f(m.noisy)
}

func (m *machine) queue() uint64 { return uint64(m.choose(queuesMax)) * 10 }

func (m *machine) content(bodyBytes int) *modelContent {
	m.numbers++
	fill := func(n int) []byte { return bytes.Repeat([]byte{byte(m.numbers)}, n) }
	c := &modelContent{number: m.numbers, Content: Content{
		Exchange: fill(m.choose(3)), RoutingKey: fill(m.choose(2) * m.choose(256)), Properties: fill(m.choose(20)), Body: fill(bodyBytes),
	}}
	m.both(func(r *replica) { r.messages[c.number] = r.s.Put(c.Content) })
	m.model.puts = append(m.model.puts, c)
	return c
}

func (m *machine) bodyBytes() int {
	switch m.choose(12) {
	case 0:
		return 0
	case 1:
		return m.choose(300_000) // across what has a chunk of its own
	case 2, 3:
		return m.choose(60_000)
	default:
		return m.choose(200)
	}
}

func (m *machine) priority() uint8 {
	return []uint8{0, 0, 0, 1, 63, 64, 255, uint8(m.choose(256))}[m.choose(8)]
}

func (m *machine) release(c *modelContent) {
	used := false
	for _, e := range m.model.entries {
		used = used || e.content == c
	}
	m.both(func(r *replica) {
		r.s.Release(r.messages[c.number])
		if !used {
			delete(r.messages, c.number)
		}
	})
	for i, p := range m.model.puts {
		if p == c {
			m.model.puts = append(m.model.puts[:i:i], m.model.puts[i+1:]...)
			return
		}
	}
}

func (m *machine) push(c *modelContent, queue uint64) {
	id := m.nextID()
	p := m.placement()
	m.model.push(queue, c, id, p)
	m.both(func(r *replica) {
		r.entries[key{queue, id}] = r.s.Queue(queue).Push(r.messages[c.number], id, p)
	})
}

// placement has no times as a rule.
func (m *machine) placement() Placement {
	p := Placement{Priority: m.priority()}
	if m.choose(3) == 0 {
		p.ExpiresMillis = m.time()
	}
	if m.choose(6) == 0 {
		p.Delay = m.delay()
	}
	return p
}

// time is often the same, sometimes in the past, never 0.
func (m *machine) time() int64 {
	return []int64{-1, m.nowMillis + 1, m.nowMillis + 1 + int64(m.choose(10)), m.nowMillis + int64(1+m.choose(1000))}[m.choose(4)]
}

func (m *machine) delay() Delay {
	m.delivery += 1 + uint64(m.choose(2))
	return Delay{DueMillis: m.time(), Delivery: m.delivery}
}

func (m *machine) delayHeld(e *modelEntry, cause ReturnCause) {
	d := m.delay()
	m.both(func(r *replica) { r.s.Queue(e.Queue).Delay(r.entries[key{e.Queue, e.ID}], cause, d) })
	m.model.delay(e, cause, d)
}

func (m *machine) promote(e *modelEntry) {
	m.both(func(r *replica) { r.s.Queue(e.Queue).Promote(r.entries[key{e.Queue, e.ID}]) })
	m.model.promote(e)
}

// pass lets time go on, and does what is due, or some of it.
func (m *machine) pass() {
	m.nowMillis += int64(m.choose(50))
	for budget := m.choose(40); budget > 0; budget-- {
		due := m.model.waiting()
		if len(due) == 0 || due[0].deadline() > m.nowMillis {
			m.both(func(r *replica) {
				if _, _, ok := r.s.Due(m.nowMillis); ok {
					m.t.Fatalf("something is due at %d, and should not be", m.nowMillis)
				}
			})
			return
		}
		e, want := due[0], Expired
		if e.Delayed && e.deadline() != e.ExpiresMillis {
			want = Matured
		}
		m.both(func(r *replica) {
			slot, what, ok := r.s.Due(m.nowMillis)
			if !ok || what != want || slot != r.entries[key{e.Queue, e.ID}] {
				m.t.Fatalf("due is %d of kind %d, %t; want %+v of kind %d", slot, what, ok, e.Info, want)
			}
		})
		if want == Matured && m.choose(2) == 0 {
			m.promote(e)
		} else {
			m.remove(e)
		}
	}
}

func (m *machine) nextID() ID {
	if m.choose(2) == 0 {
		m.lastID = ID{m.lastID.Index + uint64(m.choose(300)), m.lastID.Ordinal + 1}
	} else {
		m.lastID = ID{m.lastID.Index + 1, 0}
	}
	return m.lastID
}

// publish puts one content into up to three queues.
func (m *machine) publish(bodyBytes int) {
	c := m.content(bodyBytes)
	for range 1 + m.choose(3) {
		m.push(c, m.queue())
	}
	m.release(c)
}

func (m *machine) take(queue uint64) {
	m.delivery += 1 + uint64(m.choose(3))
	channel := uint64(1 + m.choose(3))
	m.tags[channel]++
	h := Hold{Channel: channel, Consumer: uint64(m.choose(3)), Tag: m.tags[channel], Delivery: m.delivery, SinceMillis: int64(m.choose(100) - 50)}
	ready := m.model.ready(queue)
	m.both(func(r *replica) {
		e, ok := r.s.Queue(queue).Take(h)
		if ok != (len(ready) > 0) {
			m.t.Fatalf("Take of %d ready: %t", len(ready), ok)
		}
		if ok && e != r.entries[key{queue, ready[0].ID}] {
			m.t.Fatalf("Take returned %v, not %v", r.s.Info(e), ready[0].Info)
		}
	})
	if len(ready) > 0 {
		ready[0].Held, ready[0].Hold = true, h
	}
}

func (m *machine) giveBack(e *modelEntry, cause ReturnCause) {
	m.both(func(r *replica) { r.s.Queue(e.Queue).Return(r.entries[key{e.Queue, e.ID}], cause) })
	m.model.giveBack(e, cause)
}

func (m *machine) remove(e *modelEntry) {
	m.model.remove(e)
	alive := false
	for _, o := range m.model.entries {
		alive = alive || o.content == e.content
	}
	for _, c := range m.model.puts {
		alive = alive || c == e.content
	}
	m.both(func(r *replica) {
		k := key{e.Queue, e.ID}
		r.s.Queue(e.Queue).Remove(r.entries[k])
		delete(r.entries, k)
		if !alive {
			delete(r.messages, e.content.number)
		}
	})
}

func (m *machine) dropEmptyQueues() {
	for i := range queuesMax {
		queue := uint64(i) * 10
		if len(m.model.ready(queue))+len(m.model.heldOf(queue))+len(m.model.delayedOf(queue)) == 0 {
			m.both(func(r *replica) { r.s.DropQueue(queue) })
		}
	}
}

// noise changes how the noisy store's memory lies, and nothing else: junk that no entry refers to stays between the contents for a while,
// and entries come and go.
func (m *machine) noise() {
	r := m.noisy
	for range m.choose(20) {
		r.junk = append(r.junk, r.s.Put(Content{Body: make([]byte, m.choose(20_000))}))
	}
	q := r.s.Queue(noiseQueue)
	for _, junk := range r.junk {
		q.Push(junk, m.nextID(), m.placement())
		if m.choose(3) == 0 {
			m.delivery++
			e, ok := q.Take(Hold{Channel: 1000, Tag: m.delivery, Delivery: m.delivery})
			if ok && m.choose(2) == 0 {
				q.Return(e, ReturnFailed)
			}
		}
	}
	for e, ok := q.Front(); ok; e, ok = q.Front() {
		q.Remove(e)
	}
	for e, ok := q.FirstHeld(); ok; e, ok = q.FirstHeld() {
		q.Remove(e)
	}
	for e, ok := q.FirstDelayed(); ok; e, ok = q.FirstDelayed() {
		q.Remove(e)
	}
	r.s.DropQueue(noiseQueue)
	for range m.choose(len(r.junk) + 1) {
		i := m.choose(len(r.junk))
		r.s.Release(r.junk[i])
		r.junk = append(r.junk[:i:i], r.junk[i+1:]...)
	}
	r.s.Compact(m.choose(1 << 20))
}

func (m *machine) freeze() {
	if m.frozen != nil {
		m.thaw()
	}
	view := m.plain.s.Freeze()
	m.frozen = &frozenCase{view: view, bytes: m.written(view), model: m.model.clone(), digest: m.plain.s.Digest()}
	other := m.noisy.s.Freeze()
	if !bytes.Equal(m.written(other), m.frozen.bytes) {
		m.t.Fatalf("two stores of the same content write different bytes")
	}
	m.noisy.s.Thaw(other)
}

// thaw writes the view again, after whatever happened meanwhile.
func (m *machine) thaw() {
	f := m.frozen
	m.frozen = nil
	if !bytes.Equal(m.written(f.view), f.bytes) {
		m.t.Fatalf("a frozen view has changed")
	}
	m.plain.s.Thaw(f.view)
	r := m.restored(f.bytes, f.model)
	if r.s.Digest() != f.digest {
		m.t.Fatalf("the digest after Restore is %x, not %x", r.s.Digest(), f.digest)
	}
	m.compare(r, f.model)
	r.s.Discard()
}

// restoreNoisy replaces the noisy store by its own snapshot. Contents that are put and not released are not in it.
func (m *machine) restoreNoisy() {
	if len(m.model.puts) > 0 {
		return
	}
	view := m.noisy.s.Freeze()
	b := m.written(view)
	m.noisy.s.Thaw(view)
	m.noisy.s.Discard()
	m.noisy = m.restored(b, m.model)
}

func (m *machine) written(view *Frozen) []byte {
	var b bytes.Buffer
	n, err := view.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		m.t.Fatalf("WriteTo returned %d, %v for %d bytes", n, err, b.Len())
	}
	return b.Bytes()
}

// restored reads a snapshot and finds out which slots stand for what.
func (m *machine) restored(b []byte, want *model) *replica {
	in := bytes.NewReader(append(b[:len(b):len(b)], "more"...))
	s, err := Restore(m.chunks, in)
	if err != nil {
		m.t.Fatalf("Restore: %v", err)
	}
	if in.Len() != 4 {
		m.t.Fatalf("Restore left %d bytes, not 4", in.Len())
	}
	s.contents.deadMin = 0
	r := &replica{s: s, messages: make(map[int]Message), entries: make(map[key]Entry)}
	note := func(e Entry, i Info) bool {
		r.entries[key{i.Queue, i.ID}] = e
		return true
	}
	for i := range queuesMax {
		s.Queue(uint64(i) * 10).Each(note)
		s.Queue(uint64(i) * 10).EachDelayed(note)
	}
	s.EachHeld(func(e Entry, i Info) { note(e, i) })
	for _, e := range want.entries {
		slot, ok := r.entries[key{e.Queue, e.ID}]
		if !ok {
			m.t.Fatalf("entry %v was not restored", e.Info)
		}
		r.messages[e.content.number] = s.Info(slot).Message
	}
	return r
}

func (m *machine) check() {
	m.t.Helper()
	m.both(func(r *replica) {
		if err := r.s.Check(); err != nil {
			m.t.Fatalf("Check: %v", err)
		}
		m.compare(r, m.model)
		messages, contentBytes := m.model.contents()
		st := r.s.Stats()
		for _, junk := range r.junk {
			messages++
			contentBytes += int64(len(r.s.Content(junk).Body))
		}
		if st.Messages != messages || st.ContentBytes != contentBytes || st.Entries != len(m.model.entries) || st.Held != len(m.model.held()) || st.Delayed != len(m.model.delayed()) {
			m.t.Fatalf("Stats are %+v, there are %d messages of %d bytes and %d entries", st, messages, contentBytes, len(m.model.entries))
		}
	})
	if m.plain.s.Digest() != m.noisy.s.Digest() {
		m.t.Fatalf("digests differ: %x, %x", m.plain.s.Digest(), m.noisy.s.Digest())
	}
}

// compare asks a store everything that can be asked.
func (m *machine) compare(r *replica, want *model) {
	for i := range queuesMax {
		queue := uint64(i) * 10
		q := r.s.Queue(queue)
		ready, size := want.ready(queue), int64(0)
		n := 0
		q.Each(func(e Entry, i Info) bool {
			if n < len(ready) {
				m.same(r, e, i, ready[n])
			}
			n++
			return true
		})
		for _, e := range ready {
			size += int64(e.SizeBytes)
		}
		held := want.heldOf(queue)
		if n != len(ready) || q.Ready() != len(ready) || q.Held() != len(held) || q.Bytes() != size {
			m.t.Fatalf("queue %d has %d and counts %d ready of %d bytes, %d held; want %d of %d, %d", queue, n, q.Ready(), q.Bytes(), q.Held(), len(ready), size, len(held))
		}
		if front, ok := q.Front(); ok != (n > 0) || ok && front != r.entries[key{queue, ready[0].ID}] {
			m.t.Fatalf("Front of queue %d is %d, %t", queue, front, ok)
		}
		m.sameHeld(r, held, func(f func(Entry, Info)) {
			q.EachHeld(func(e Entry, i Info) bool { f(e, i); return true })
		})
		m.sameHeld(r, want.delayedOf(queue), func(f func(Entry, Info)) {
			q.EachDelayed(func(e Entry, i Info) bool { f(e, i); return true })
		})
		if n := len(want.delayedOf(queue)); q.Delayed() != n {
			m.t.Fatalf("queue %d counts %d delayed, not %d", queue, q.Delayed(), n)
		}
		if first, ok := q.FirstHeld(); ok != (len(held) > 0) || ok && r.s.Info(first).ID != held[0].ID {
			m.t.Fatalf("FirstHeld of queue %d is %d, %t", queue, first, ok)
		}
	}
	m.sameHeld(r, want.held(), r.s.EachHeld)
	waiting := want.waiting()
	if next, ok := r.s.NextDue(); ok != (len(waiting) > 0) || ok && next != waiting[0].deadline() {
		m.t.Fatalf("NextDue is %d, %t; %d wait", next, ok, len(waiting))
	}
}

func (m *machine) sameHeld(r *replica, want []*modelEntry, each func(f func(Entry, Info))) {
	n := 0
	each(func(e Entry, i Info) {
		if n < len(want) {
			m.same(r, e, i, want[n])
		}
		n++
	})
	if n != len(want) {
		m.t.Fatalf("%d are held, want %d", n, len(want))
	}
}

func (m *machine) same(r *replica, e Entry, i Info, want *modelEntry) {
	message := i.Message
	i.Message = 0
	if i != want.Info {
		m.t.Fatalf("entry is %+v, want %+v", i, want.Info)
	}
	if r.entries[key{i.Queue, i.ID}] != e || r.messages[want.content.number] != message {
		m.t.Fatalf("entry %v has slot %d with message %d", i, e, message)
	}
	c, w := r.s.Content(message), want.content.Content
	if !bytes.Equal(c.Exchange, w.Exchange) || !bytes.Equal(c.RoutingKey, w.RoutingKey) ||
		!bytes.Equal(c.Properties, w.Properties) || !bytes.Equal(c.Body, w.Body) {
		m.t.Fatalf("content of %v is not what was put", i)
	}
}

// actions are what rapid and the long run choose from.
func (m *machine) actions() map[string]func() {
	pick := func(list []*modelEntry, f func(*modelEntry)) {
		if len(list) > 0 {
			f(list[m.choose(len(list))])
		}
	}
	return map[string]func(){
		"publish": func() { m.publish(m.bodyBytes()) },
		"put":     func() { m.content(m.bodyBytes()) },
		"push": func() {
			if n := len(m.model.puts); n > 0 {
				m.push(m.model.puts[m.choose(n)], m.queue())
			}
		},
		"release": func() {
			if n := len(m.model.puts); n > 0 {
				m.release(m.model.puts[m.choose(n)])
			}
		},
		"take": func() {
			for queue, n := m.queue(), m.choose(5); n >= 0; n-- {
				m.take(queue)
			}
		},
		"return": func() {
			for n := m.choose(5); n >= 0; n-- {
				pick(m.model.held(), func(e *modelEntry) { m.giveBack(e, ReturnCause(1+m.choose(3))) })
			}
		},
		"delay": func() {
			for n := m.choose(5); n >= 0; n-- {
				pick(m.model.held(), func(e *modelEntry) { m.delayHeld(e, ReturnCause(1+m.choose(3))) })
			}
		},
		"promote":    func() { pick(m.model.delayed(), m.promote) },
		"pass":       m.pass,
		"remove":     func() { pick(m.model.entries, m.remove) },
		"ack":        func() { pick(m.model.held(), m.remove) },
		"dropQueues": m.dropEmptyQueues,
		"compact":    func() { m.plain.s.Compact(m.choose(1 << 20)) },
		"noise":      m.noise,
		"restore":    m.restoreNoisy,
		"freeze":     m.freeze,
		"thaw": func() {
			if m.frozen != nil {
				m.thaw()
			}
		},
	}
}

func TestStoreIsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") })
		actions := map[string]func(*rapid.T){"": func(*rapid.T) { m.check() }}
		for name, f := range m.actions() {
			actions[name] = func(*rapid.T) { f() }
		}
		t.Repeat(actions)
		m.end()
	})
}

// TestStoreIsItsModelAtLength goes through slab pages and chunks in numbers: fills, drains, and everything between, from fixed seeds.
func TestStoreIsItsModelAtLength(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			m := newMachine(t, random.IntN)
			run := m.actions()
			names := []string{"take", "take", "return", "delay", "promote", "pass", "remove", "ack", "ack", "compact", "noise", "restore", "freeze", "thaw", "dropQueues"}
			for wave := range 6 {
				for range 600 * (wave % 3) {
					m.publish(m.choose(1500))
				}
				for range 150 {
					run[names[m.choose(len(names))]]()
				}
				m.check()
				for len(m.model.entries) > 300*(wave%2) {
					m.remove(m.model.entries[m.choose(len(m.model.entries))])
				}
				m.check()
			}
			m.end()
		})
	}
}
