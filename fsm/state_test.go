package fsm

import (
	"fmt"
	"math"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

// driver applies commands of one origin, each call one entry.
type driver struct {
	t         testing.TB
	state     *State
	index     uint64
	seq       uint64
	nowMillis int64
	effects   []Effect
}

var (
	driverOrigin  = Origin{Node: "n1", Boot: 1}
	driverChannel = Ref{Conn: 1, Channel: 1, Incarnation: 1}
)

// newDriver has a session with channel 1 open, and no checks: they would make tests with many messages slow.
func newDriver(t testing.TB) *driver {
	d := &driver{t: t, nowMillis: 1_000_000}
	d.state = New(Options{Sink: d})
	d.state.SetLocal(driverOrigin)
	d.items(AppendOriginOpen(nil, driverOrigin))
	d.apply(&OpenSession{Ref: Ref{Conn: 1}, VHost: "/", CancelNotify: true}, &OpenChannel{Ref: driverChannel})
	return d
}

// Emit implements Sink.
func (d *driver) Emit(e *Effect) {
	c := *e
	c.Body = append([]byte(nil), e.Body...)
	c.Properties = append([]byte(nil), e.Properties...)
	d.effects = append(d.effects, c)
}

func (d *driver) items(items ...[]byte) {
	d.index++
	d.effects = d.effects[:0]
	d.state.Apply(d.index, AppendEntry(nil, d.nowMillis, items))
}

func (d *driver) apply(commands ...Command) {
	var b []byte
	for _, c := range commands {
		b = c.Append(b)
	}
	d.seq++
	d.items(AppendBatch(nil, driverOrigin, d.seq, b))
}

func (d *driver) tick() { d.items(AppendTick(nil)) }

// tickAll ticks as the leader does and returns how often that was.
func (d *driver) tickAll() (ticks int) {
	for ; ticks < 10_000; ticks++ {
		due, ok := d.state.NextDeadline()
		if !ok || due > d.state.NowMillis() {
			return ticks
		}
		d.tick()
	}
	d.t.Fatal("ticks do not end")
	return 0
}

func (d *driver) check() {
	d.t.Helper()
	if err := d.state.Check(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *driver) count(kind EffectKind) (n int) {
	for _, e := range d.effects {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (d *driver) declare(name string, arguments content.Table) {
	c := &DeclareQueue{Ref: driverChannel, Name: name, Durable: true}
	if arguments != nil {
		c.Arguments = arguments.Append(nil)
	}
	d.apply(c)
	if d.count(Replied) != 1 {
		d.t.Fatalf("declare %s: %+v", name, d.effects)
	}
}

func publishTo(queue string, priority uint8, body string) *Publish {
	p := content.Properties{Has: content.HasPriority, Priority: priority}
	return &Publish{Ref: driverChannel, RoutingKey: []byte(queue), Priority: priority, Properties: p.Append(nil), Body: []byte(body)}
}

func (d *driver) publishMany(queue string, n int) {
	for i := 0; i < n; {
		var batch []Command
		for ; i < n && len(batch) < 5000; i++ {
			batch = append(batch, publishTo(queue, uint8(i), ""))
		}
		d.apply(batch...)
	}
}

func (d *driver) queue(name string) QueueView {
	d.t.Helper()
	q, ok := d.state.Queue("/", name)
	if !ok {
		d.t.Fatalf("no queue %s", name)
	}
	return q
}

func consumeAll(queue string) *Consume {
	return &Consume{Ref: driverChannel, Queue: queue, Tag: "c", GrantMessages: math.MaxUint32, GrantBytes: math.MaxUint32}
}

// Each of these moves 25,000 messages; the effect must be complete at once, the work in pieces, and nothing else touched.

const many = 25_000

func TestBigPurge(t *testing.T) {
	d := newDriver(t)
	d.declare("q", nil)
	d.publishMany("q", many)
	d.apply(&Get{Ref: driverChannel, Queue: "q"}, &Get{Ref: driverChannel, Queue: "q"})
	d.apply(&PurgeQueue{Ref: driverChannel, Name: "q"}, publishTo("q", 0, "new"))
	if e := d.effects[0]; e.Count != many-2 {
		t.Fatalf("purged %d", e.Count)
	}
	if q := d.queue("q"); q.Ready != 1 || q.Held != 2 {
		t.Fatalf("after the purge: %+v", q)
	}
	if c := d.state.Counts(); c.Ready != 1 || c.Held != 2 {
		t.Fatalf("counts after the purge: %+v", c)
	}
	d.check()
	// What was held survives a purge, also when it comes back while the purge goes on.
	d.apply(&Nack{Ref: driverChannel, Tag: 1, Requeue: true})
	d.check()
	d.apply(&Get{Ref: driverChannel, Queue: "q", NoAck: true})
	if e := d.effects[0]; e.Kind != Delivered || string(e.Body) != "new" {
		t.Fatalf("a new message is not delivered while the purge goes on: %+v", e)
	}
	if ticks := d.tickAll(); ticks != 2 {
		t.Fatalf("%d ticks", ticks)
	}
	d.check()
	if q := d.queue("q"); q.Ready != 1 || q.Held != 1 {
		t.Fatalf("in the end: %+v", q)
	}
	d.apply(&Get{Ref: driverChannel, Queue: "q", NoAck: true}, &Ack{Ref: driverChannel, Tag: 2})
	if n := d.state.Stats().Entries; n != 0 || d.count(Delivered) != 1 {
		t.Fatalf("%d messages left, effects %+v", n, d.effects)
	}
	d.check()
}

func TestBigDelete(t *testing.T) {
	d := newDriver(t)
	d.declare("q", nil)
	d.publishMany("q", many)
	d.apply(&Get{Ref: driverChannel, Queue: "q"})
	d.apply(&DeleteQueue{Ref: driverChannel, Name: "q"})
	d.check()
	// The name is free; the old queue's tag does nothing to the new queue.
	d.declare("q", nil)
	d.apply(publishTo("q", 0, "new"), &Ack{Ref: driverChannel, Tag: 1})
	if d.count(ChannelFailed) != 0 || d.queue("q").Ready != 1 {
		t.Fatalf("stale ack: %+v, queue %+v", d.effects, d.queue("q"))
	}
	d.tickAll()
	d.check()
	if n := d.state.Stats().Entries; n != 1 {
		t.Fatalf("%d messages left", n)
	}
}

func TestBigMultipleAckAndEnds(t *testing.T) {
	ways := map[string]Command{
		"ack":     &Ack{Ref: driverChannel, Tag: many, Multiple: true},
		"requeue": &Nack{Ref: driverChannel, Tag: many, Multiple: true, Requeue: true},
		"recover": &Recover{Ref: driverChannel},
		"channel": &CloseChannel{Ref: driverChannel},
		"session": &CloseSession{Ref: Ref{Conn: 1}},
		"failure": &Ack{Ref: driverChannel, Tag: 1 << 40},
	}
	for name, command := range ways {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t)
			d.declare("q", nil)
			d.publishMany("q", many)
			d.apply(consumeAll("q"))
			if d.count(Delivered) != many {
				t.Fatalf("%d delivered", d.count(Delivered))
			}
			d.apply(&Cancel{Ref: driverChannel, Tag: "c"})
			d.apply(command)
			d.check()
			if ticks := d.tickAll(); ticks != 2 {
				t.Fatalf("%d ticks", ticks)
			}
			d.check()
			want := many
			if name == "ack" {
				want = 0
			}
			if q := d.queue("q"); q.Ready != want || q.Held != 0 {
				t.Fatalf("in the end: %+v", q)
			}
		})
	}
}

func TestBigTimeout(t *testing.T) {
	d := newDriver(t)
	d.declare("q", content.Table{{Name: argDeliveryLimit, Value: int32(0)}, {Name: argConsumerTimeout, Value: int32(60_000)}})
	d.publishMany("q", many)
	d.apply(consumeAll("q"))
	d.nowMillis += 60_000
	d.tick()
	if d.count(ConsumerCancelled) != 1 {
		t.Fatalf("effects: %+v", d.effects)
	}
	d.check()
	d.tickAll()
	d.check()
	// Only the message whose time ran out failed, and its limit is 0.
	if q := d.queue("q"); q.Ready != many-1 || d.queue(deadQueueName).Ready != 1 {
		t.Fatalf("in the end: %+v", q)
	}
	// Late acks are no error and do nothing.
	d.apply(&Ack{Ref: driverChannel, Tag: 7}, &Ack{Ref: driverChannel, Multiple: true, Tag: 20_000})
	if d.count(ChannelFailed) != 0 || d.queue("q").Ready != many-1 {
		t.Fatalf("late acks: %+v", d.effects)
	}
	if _, ok := d.state.NextDeadline(); ok {
		t.Fatal("nothing is held, yet a deadline is left")
	}
}

func TestDeadQueueDropsTheOldest(t *testing.T) {
	d := newDriver(t)
	d.state.limits.deadQueueMessages = 3
	d.declare("q", content.Table{{Name: argDeliveryLimit, Value: int32(0)}})
	for i := range uint64(5) {
		d.apply(publishTo("q", uint8(i), fmt.Sprint(i)), &Get{Ref: driverChannel, Queue: "q"}, &Nack{Ref: driverChannel, Tag: i + 1, Requeue: true})
	}
	d.check()
	for _, want := range []string{"2", "3", "4"} {
		d.apply(&Get{Ref: driverChannel, Queue: deadQueueName, NoAck: true})
		if got := string(d.effects[0].Body); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// A clock that jumps to 2099 and back moves the state's time once, and lets each time-out happen once.
func TestClockJumps(t *testing.T) {
	const in2099 = 4_070_908_800_000
	d := newDriver(t)
	d.declare("q", nil)
	d.apply(publishTo("q", 0, "m"), consumeAll("q"))
	start := d.nowMillis
	d.nowMillis = in2099
	d.tick()
	if d.count(ConsumerCancelled) != 1 {
		t.Fatalf("effects of the jump: %+v", d.effects)
	}
	for _, d.nowMillis = range []int64{start, start + 10, math.MinInt64} {
		d.apply(publishTo("q", 0, "later"))
		if d.state.NowMillis() != in2099 {
			t.Fatalf("time went to %d", d.state.NowMillis())
		}
	}
	d.apply(consumeAll("q"))
	d.tick()
	if d.count(ConsumerCancelled) != 0 {
		t.Fatal("a second time-out without time passing")
	}
	d.nowMillis = math.MaxInt64
	d.tick()
	d.tickAll()
	d.apply(consumeAll("q"))
	if ticks := d.tickAll(); ticks > 1 {
		t.Fatalf("%d ticks at the end of time", ticks)
	}
	d.check()
}

func TestEveryPriorityKeepsItsPlaceAfterRequeue(t *testing.T) {
	d := newDriver(t)
	d.declare("q", nil)
	for _, half := range []string{"first", "second"} {
		for p := 255; p >= 0; p-- {
			d.apply(publishTo("q", uint8((p*37)%256), half))
		}
	}
	d.apply(consumeAll("q"), &Cancel{Ref: driverChannel, Tag: "c"})
	d.apply(&Nack{Ref: driverChannel, Multiple: true, Requeue: true})
	d.apply(consumeAll("q"))
	for i := range 512 {
		want := "first"
		if i%2 == 1 {
			want = "second"
		}
		e := d.effects[i+1]
		p, err := content.DecodeProperties(e.Properties)
		if err != nil || int(p.Priority) != 255-i/2 || string(e.Body) != want || !e.Redelivered {
			t.Fatalf("delivery %d has priority %d, body %q, redelivered %v", i, p.Priority, e.Body, e.Redelivered)
		}
	}
}

// nothing drops effects without looking at them.
type nothing struct{}

func (nothing) Emit(*Effect) {}

func TestHotPathDoesNotAllocate(t *testing.T) {
	if invariants {
		t.Skip("checks allocate")
	}
	d := newDriver(t)
	d.declare("q", nil)
	d.apply(&Bind{Ref: driverChannel, Source: "amq.topic", Destination: "q", Key: "#"})
	d.apply(consumeAll("q"))
	d.state.options.Sink = nothing{}
	const messages = 200
	entry := func(seq uint64) []byte {
		var b []byte
		for i := range uint64(messages) {
			p := publishTo("q", 3, "body")
			if i%2 == 0 {
				p.Exchange, p.RoutingKey = []byte("amq.topic"), []byte("a.routing.key.longer.than.thirty.two.bytes")
			}
			b = p.Append(b)
			b = (&Ack{Ref: driverChannel, Tag: (seq-d.seq-1)*messages + i + 1}).Append(b)
		}
		return AppendEntry(nil, d.nowMillis, [][]byte{AppendBatch(nil, driverOrigin, seq, b)})
	}
	var entries [][]byte
	for seq := d.seq + 1; seq <= d.seq+120; seq++ {
		entries = append(entries, entry(seq))
	}
	next := 0
	apply := func() {
		d.index++
		d.state.Apply(d.index, entries[next])
		next++
	}
	for range 15 {
		apply()
	}
	if perEntry := testing.AllocsPerRun(100, apply); perEntry > messages/10 {
		t.Errorf("%.0f allocations for %d messages", perEntry, messages)
	}
	if d.state.Stats().Entries != 0 {
		t.Errorf("%d messages left", d.state.Stats().Entries)
	}
}

func TestUnbindForgetsCachedRoutes(t *testing.T) {
	d := newDriver(t)
	d.declare("q", nil)
	bind := Bind{Ref: driverChannel, Source: "amq.topic", Destination: "q", Key: "a.#"}
	unbind := Unbind(bind)
	p := publishTo("q", 0, "m")
	p.Exchange, p.RoutingKey = []byte("amq.topic"), []byte("a.b")
	d.apply(p, &bind, p, p, &unbind, p)
	if n := d.queue("q").Ready; n != 2 {
		t.Fatalf("%d messages, 2 were published while the binding was there", n)
	}
	d.apply(&bind, p, &DeleteQueue{Ref: driverChannel, Name: "q"}, p, &DeclareQueue{Ref: driverChannel, Name: "q"}, p)
	if n := d.queue("q").Ready; n != 0 {
		t.Fatalf("%d messages reached a queue of the same name without a binding", n)
	}
	d.check()
}

// With one message at a time for the whole channel, consumers of several queues take turns, also across a snapshot.
func TestSharedLimitTakesTurns(t *testing.T) {
	d := newDriver(t)
	for _, name := range []string{"a", "b", "c"} {
		d.declare(name, nil)
		d.apply(publishTo(name, 0, name), publishTo(name, 0, name))
	}
	d.apply(&SetQos{Ref: driverChannel, Count: 1, Global: true})
	var order string
	note := func() {
		for _, e := range d.effects {
			if e.Kind == Delivered {
				order += string(e.Body)
			}
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		c := consumeAll(name)
		c.Tag = name
		d.apply(c)
		note()
	}
	for tag := uint64(1); tag <= 6; tag++ {
		d.apply(&Ack{Ref: driverChannel, Tag: tag})
		note()
	}
	if order != "abcabc" {
		t.Fatalf("served %s", order)
	}
	d.check()
}

func TestBatchesApplyOnceAndInOrder(t *testing.T) {
	d := newDriver(t)
	d.declare("q", nil)
	batch := func(seq uint64) []byte {
		return AppendBatch(nil, driverOrigin, seq, publishTo("q", 0, "m").Append(nil))
	}
	steps := []struct {
		seq  uint64
		kind EffectKind // 0: no effect
	}{
		{d.seq, 0}, {1, 0}, {d.seq + 2, BatchGap}, {d.seq + 1, BatchApplied}, {d.seq + 1, 0}, {d.seq + 2, BatchApplied},
	}
	for _, step := range steps {
		last, _ := d.state.Origin("n1")
		d.items(batch(step.seq))
		switch {
		case step.kind == 0 && len(d.effects) == 0:
		case len(d.effects) != 1 || d.effects[0].Kind != step.kind || d.effects[0].Seq != last.Last+1:
			t.Fatalf("batch %d after %d: %+v", step.seq, last.Last, d.effects)
		}
	}
	if n := d.queue("q").Ready; n != 2 {
		t.Fatalf("%d messages of 2 batches", n)
	}
}

func TestOnlyTheBrokersDeathsCount(t *testing.T) {
	d := newDriver(t)
	// A queue whose dead letters come back to it: by a delivery limit that is a cycle and ends, by a reject it is not.
	d.declare("q", content.Table{{Name: argDeadExchange, Value: ""}, {Name: argDeliveryLimit, Value: int32(0)}})
	forged := content.Properties{Has: content.HasHeaders, Headers: content.Table{{Name: headerDeath, Value: content.Array{content.Table{
		{Name: "count", Value: int64(41)}, {Name: "reason", Value: reasonRejected}, {Name: "queue", Value: "q"},
	}}}}}
	p := publishTo("q", 0, "m")
	p.Properties = forged.Append(nil)
	d.apply(p, &Get{Ref: driverChannel, Queue: "q"}, &Nack{Ref: driverChannel, Tag: 1})
	d.apply(&Get{Ref: driverChannel, Queue: "q"})
	properties, err := content.DecodeProperties(d.effects[0].Properties)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := properties.Headers.Get(headerDeath)
	deaths := v.(content.Array)
	if count, _ := deaths[0].(content.Table).Get("count"); len(deaths) != 1 || count != int64(1) {
		t.Fatalf("x-death %v counts on from the client's", deaths)
	}
	d.apply(publishTo("q", 0, "poison"), &Get{Ref: driverChannel, Queue: "q"}, &Nack{Ref: driverChannel, Tag: 3, Requeue: true})
	if q := d.queue("q"); q.Ready != 0 {
		t.Fatalf("a cycle without a reject goes on: %+v", q)
	}
}

// TestMarkCoversItsEntry: the digest is of the state after the whole entry that holds the Mark, wherever in it the Mark stands, and its index is that
// entry's.
func TestMarkCoversItsEntry(t *testing.T) {
	open := AppendOriginOpen(nil, Origin{"n2", 7})
	var hashes [][16]byte
	for _, items := range [][][]byte{{AppendMark(nil), open}, {open, AppendMark(nil)}} {
		d := newDriver(t)
		d.items(items...)
		index, hash := d.state.Marked()
		if index != d.index || hash != d.state.hash() {
			t.Errorf("the Mark of entry %d is %d, %x; the state's digest is %x", d.index, index, hash, d.state.hash())
		}
		d.items(AppendTick(nil))
		if again, same := d.state.Marked(); again != index || same != hash {
			t.Error("the next entry changed what the Mark left")
		}
		hashes = append(hashes, hash)
	}
	if hashes[0] != hashes[1] {
		t.Error("the place of the Mark in its entry matters")
	}
}

// TestPurgeOverParts: a purge may find ready messages in an older part too. What that one costs of the entry's budget must not leave the part that takes new
// messages half purged: they would go with the rest.
func TestPurgeOverParts(t *testing.T) {
	d := newDriver(t)
	d.state.limits.bulkMoves = 4
	publish := &Publish{Ref: driverChannel, RoutingKey: []byte("q"), Properties: []byte{0, 0}, Body: []byte("old")}
	publishes := func(n int) (commands []Command) {
		for range n {
			commands = append(commands, publish)
		}
		return commands
	}
	d.apply(append([]Command{&DeclareQueue{Ref: driverChannel, Name: "q"}}, publishes(9)...)...)
	for range 3 {
		d.apply(&Get{Ref: driverChannel, Queue: "q"})
	}
	d.apply(&PurgeQueue{Ref: driverChannel, Name: "q"}) // seals the part, which keeps what is held
	d.tickAll()
	d.apply(publishes(3)...)
	d.apply(&Nack{Ref: driverChannel, Multiple: true, Requeue: true})
	d.check()
	if q, _ := d.state.Queue("/", "q"); q.Ready != 6 {
		t.Fatalf("%d messages are ready, want 3 returned ones and 3 new ones", q.Ready)
	}
	d.apply(&PurgeQueue{Ref: driverChannel, Name: "q"})
	if d.effects[0].Count != 6 {
		t.Errorf("the purge counts %d", d.effects[0].Count)
	}
	d.check()
	d.apply(publish)
	d.tickAll()
	d.check()
	if q, _ := d.state.Queue("/", "q"); q.Ready != 1 {
		t.Errorf("%d messages are ready after a purge and one publish", q.Ready)
	}
}

// TestDigestNotesEveryChange: objects that come and go between two Marks fill the list of what must be hashed again, and whatever keeps that list short must
// not hash an object in the middle of its change.
func TestDigestNotesEveryChange(t *testing.T) {
	for come := 1024; come < 1100; come++ {
		d := newDriver(t)
		d.items(AppendMark(nil))
		var commands []Command
		for i := range come {
			ref := Ref{Conn: 1, Channel: 2, Incarnation: uint32(i + 1)}
			commands = append(commands, &OpenChannel{Ref: ref}, &CloseChannel{Ref: ref})
		}
		d.apply(append(commands, &SetQos{Ref: driverChannel, Count: 7})...)
		if err := d.state.Check(); err != nil {
			t.Fatalf("after %d channels that came and went: %v", come, err)
		}
	}
}

// TestDigestNotesUnparking: what a purge parked comes back in several entries, each of which changes the queue.
func TestDigestNotesUnparking(t *testing.T) {
	d := newDriver(t)
	commands := []Command{&DeclareQueue{Ref: driverChannel, Name: "q"}}
	for range 20 {
		commands = append(commands, &Publish{Ref: driverChannel, RoutingKey: []byte("q"), Properties: []byte{0, 0}})
	}
	for range 7 {
		commands = append(commands, &Get{Ref: driverChannel, Queue: "q"})
	}
	d.apply(commands...)
	d.state.limits.bulkMoves = 2
	d.apply(&PurgeQueue{Ref: driverChannel, Name: "q"})
	for tag := uint64(1); tag <= 7; tag++ {
		d.apply(&Nack{Ref: driverChannel, Tag: tag, Requeue: true})
	}
	for d.tick(); len(d.state.remainders) > 0; d.tick() {
		d.check()
	}
	d.check()
	if q, _ := d.state.Queue("/", "q"); q.Ready != 7 || q.Held != 0 {
		t.Errorf("the queue is %+v, want the 7 that came back after the purge", q)
	}
}

// TestPurgeTwice: what came back from consumers during a purge too big for one entry stays, unless another purge came after it.
func TestPurgeTwice(t *testing.T) {
	for ticks := range 20 { // when the second purge comes: while the first one removes, while what it parked returns, or later
		d := newDriver(t)
		commands := []Command{&DeclareQueue{Ref: driverChannel, Name: "q"}}
		for range 20 {
			commands = append(commands, &Publish{Ref: driverChannel, RoutingKey: []byte("q"), Properties: []byte{0, 0}})
		}
		for range 8 {
			commands = append(commands, &Get{Ref: driverChannel, Queue: "q"})
		}
		d.apply(commands...)
		d.state.limits.bulkMoves = 2
		d.apply(&PurgeQueue{Ref: driverChannel, Name: "q"})
		for tag := uint64(1); tag <= 5; tag++ {
			d.apply(&Nack{Ref: driverChannel, Tag: tag, Requeue: true})
		}
		for range ticks {
			d.tick()
			d.check()
		}
		d.apply(&PurgeQueue{Ref: driverChannel, Name: "q"})
		if d.effects[0].Count != 5 {
			t.Errorf("after %d ticks the second purge counts %d, want the 5 that had come back", ticks, d.effects[0].Count)
		}
		d.check()
		for tag := uint64(6); tag <= 8; tag++ {
			d.apply(&Nack{Ref: driverChannel, Tag: tag, Requeue: true})
			d.check()
		}
		for d.tick(); len(d.state.remainders) > 0; d.tick() {
			d.check()
		}
		d.check()
		if q, _ := d.state.Queue("/", "q"); q.Ready != 3 || q.Held != 0 {
			t.Errorf("after %d ticks and the second purge the queue is %+v, want the 3 that came back after it", ticks, q)
		}
	}
}
