package fsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
	"pgregory.net/rapid"
)

// Three replicas apply random entries: one plainly, one that is replaced by its own snapshot after every entry, one from which a snapshot is written while
// it goes on. They must agree in everything that can be seen, and Check must find nothing on any of them.

func TestReplicasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newEntryGenerator(t, rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		replicas := []*testReplica{newTestReplica(g.origins[0]), newTestReplica(g.origins[0]), newTestReplica(g.origins[0])}
		bulkMoves := g.n("bulk moves", 1, 6)
		for _, r := range replicas {
			r.limit(bulkMoves)
		}
		var history []string
		defer func() {
			if fault := recover(); fault != nil {
				t.Fatalf("%v\nafter:\n%s", fault, strings.Join(history, "\n"))
			}
		}()
		for index := uint64(1); index <= 60; index++ {
			g.state = replicas[0].state
			entry, text := g.entry()
			history = append(history, fmt.Sprintf("%d: %s", index, text))
			frozen := replicas[2].state.Freeze()
			before := snapshotBytes(t, replicas[1].state)
			for _, r := range replicas {
				r.effects = nil
				r.state.Apply(index, entry)
			}
			if !bytes.Equal(writeSnapshot(t, frozen), before) {
				t.Fatalf("a snapshot shows what was applied after it")
			}
			replicas[2].state.Thaw(frozen)
			compareReplicas(t, replicas)
			replicas[1].restore(t)
		}
	})
}

// What a Probe answers is what applying the command would: the same reply, and no change.
func TestProbesAgreeWithApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newEntryGenerator(t, rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		r := newTestReplica(g.origins[0])
		for index := uint64(1); index <= 40; index++ {
			g.state = r.state
			entry, _ := g.entry()
			r.state.Apply(index, entry)
			if due, ok := r.state.NextDeadline(); index > 2 && (!ok || due > r.state.nowMillis) {
				compareProbes(t, g, r, index+1)
			}
		}
	})
}

func compareProbes(t fataler, g *entryGenerator, r *testReplica, index uint64) {
	record := r.state.origins[r.local.Node]
	if record == nil || !record.open || record.boot != r.local.Boot {
		return
	}
	for range 4 {
		c := g.probed(r.local)
		before := snapshotBytes(t, r.state)
		reply, ok := r.state.Probe(r.local, c.Append(nil))
		if !bytes.Equal(snapshotBytes(t, r.state), before) {
			t.Fatalf("the probe of %T%+v changes the state", c, c)
		}
		if !ok {
			continue
		}
		idle := (&Grant{Ref: reply.Ref, Tag: "nobody's"}).Append(nil)
		with, without := *r, *r
		with.restore(t)
		without.restore(t)
		with.effects, without.effects = nil, nil
		now := r.state.nowMillis
		with.state.Apply(index, AppendEntry(nil, now, [][]byte{AppendBatch(nil, r.local, record.last+1, c.Append(idle))}))
		without.state.Apply(index, AppendEntry(nil, now, [][]byte{AppendBatch(nil, r.local, record.last+1, idle)}))
		if !bytes.Equal(snapshotBytes(t, with.state), snapshotBytes(t, without.state)) {
			t.Fatalf("%T%+v changes what its probe said it would not", c, c)
		}
		want := append([]string{fmt.Sprintf("%+v", reply)}, without.effects...)
		if noWait := len(with.effects) == len(without.effects); !noWait && !slices.Equal(with.effects, want) {
			t.Fatalf("%T%+v has the effects\n%s\nits probe says\n%s", c, c, strings.Join(with.effects, "\n"), want[0])
		}
	}
}

// probed draws a command that a probe may answer.
func (g *entryGenerator) probed(o Origin) Command {
	ref := g.ref(o)
	switch g.n("probed", 1, 4) {
	case 1:
		return &Get{Ref: ref, Queue: g.queueName(), NoAck: g.flag("no-ack")}
	case 2:
		return &Bind{Ref: ref, Source: oneOf(g, []string{"amq.fanout", "amq.topic", "e"}), Destination: oneOf(g, []string{"a", "b"}), Key: g.key()}
	case 3:
		return &DeclareExchange{Ref: ref, Name: g.exchangeName(), Type: "direct", Durable: true, Passive: g.flag("passive")}
	}
	name := g.queueName()
	c := &DeclareQueue{Ref: ref, Name: name, Durable: true, Passive: g.flag("passive"), ServerNamed: true}
	for _, q := range g.state.gather().queues {
		if q.name == name {
			c.Arguments, c.AutoDelete = q.arguments, q.autoDelete
		}
	}
	return c
}

// testLimits are so low that random entries reach them.
var testLimits = limits{bulkMoves: 2, deadQueueMessages: 2}

type testReplica struct {
	state   *State
	local   Origin
	limits  limits
	effects []string
}

func newTestReplica(local Origin) *testReplica {
	r := &testReplica{local: local}
	r.state = New(Options{Sink: r, Check: true})
	r.limits = testLimits
	r.state.limits = r.limits
	r.state.SetLocal(local)
	return r
}

// limit sets what one entry may move.
func (r *testReplica) limit(bulkMoves int) {
	r.limits.bulkMoves = bulkMoves
	r.state.limits = r.limits
}

// Emit implements Sink.
func (r *testReplica) Emit(e *Effect) {
	c := *e
	r.effects = append(r.effects, fmt.Sprintf("%+v", c))
}

func (r *testReplica) restore(t fataler) {
	restored, err := Restore(Options{Sink: r, Check: true}, bytes.NewReader(snapshotBytes(t, r.state)))
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	restored.limits = r.limits
	restored.SetLocal(r.local)
	restored.marked = r.state.marked
	r.state = restored
}

func snapshotBytes(t fataler, s *State) []byte {
	sn := s.Freeze()
	defer s.Thaw(sn)
	return writeSnapshot(t, sn)
}

func writeSnapshot(t fataler, sn *Snapshot) []byte {
	var b bytes.Buffer
	if n, err := sn.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo: %d of %d bytes, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func compareReplicas(t fataler, replicas []*testReplica) {
	first := replicas[0]
	want := snapshotBytes(t, first.state)
	for i, r := range replicas[1:] {
		if !slices.Equal(r.effects, first.effects) {
			t.Fatalf("replica %d has effects\n%s\nthe first\n%s", i+1, strings.Join(r.effects, "\n"), strings.Join(first.effects, "\n"))
		}
		if !bytes.Equal(snapshotBytes(t, r.state), want) {
			t.Fatalf("replica %d has another snapshot", i+1)
		}
		if r.state.hash() != first.state.hash() {
			t.Fatalf("replica %d has another digest", i+1)
		}
		if a, b := fmt.Sprint(r.state.NextDeadline()), fmt.Sprint(first.state.NextDeadline()); a != b {
			t.Fatalf("replica %d is due at %s, the first at %s", i+1, a, b)
		}
		if a, b := fmt.Sprint(r.state.Queues("")), fmt.Sprint(first.state.Queues("")); a != b {
			t.Fatalf("replica %d has queues %s, the first %s", i+1, a, b)
		}
		if r.state.Counts() != first.state.Counts() {
			t.Fatalf("replica %d counts %+v, the first %+v", i+1, r.state.Counts(), first.state.Counts())
		}
	}
}

// entryGenerator draws entries that are mostly meaningful: it follows which origins are open and which channels they have opened, and otherwise takes small
// numbers and few names so that commands meet.
type entryGenerator struct {
	t         fataler
	rand      *rand.Rand
	state     *State // as it is before the entry that is being drawn
	origins   []Origin
	seqs      map[Origin]uint64
	open      map[string]uint64 // highest boot opened
	nowMillis int64
	last      map[channelOf]uint32
	often     int // what there is much of in this run
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface {
	Fatalf(format string, args ...any)
}

func newEntryGenerator(t fataler, source rand.Source) *entryGenerator {
	g := &entryGenerator{
		t: t, rand: rand.New(source), origins: []Origin{{"n1", 1}, {"n2", 1}, {"n2", 2}}, seqs: make(map[Origin]uint64), open: make(map[string]uint64),
		nowMillis: 1000, last: make(map[channelOf]uint32),
	}
	g.often = g.n("often", 0, 6)
	return g
}

// emphasised is a command of which there is much in this run, or nil.
func (g *entryGenerator) emphasised(ref Ref) Command {
	if !g.chance("emphasised", 15) {
		return nil
	}
	switch g.often {
	case 1:
		return g.userCommand()
	case 2:
		return g.policyCommand()
	case 3:
		return g.transaction(ref)
	case 4:
		return &PurgeQueue{Ref: ref, Name: oneOf(g, []string{"a", "b"})}
	case 5:
		return &DeleteQueue{Ref: ref, Name: oneOf(g, []string{"a", "b"})}
	}
	return nil
}

// n draws evenly: rapid's own integers prefer small ones, and a channel would hardly ever be opened.
func (g *entryGenerator) n(_ string, low, high int) int { return low + g.rand.IntN(high-low+1) }

func oneOf[T any](g *entryGenerator, values []T) T { return values[g.rand.IntN(len(values))] }

func (g *entryGenerator) chance(label string, percent int) bool {
	return g.n(label, 1, 100) > 100-percent
}

func (g *entryGenerator) entry() (entry []byte, text string) {
	if g.chance("time passes", 40) {
		g.nowMillis += int64(g.n("millis", 0, 1500))
	}
	if g.chance("a long time passes", 2) {
		g.nowMillis += 40 * 60 * 1000 // the default time-out of consumers, too
	}
	if len(g.seqs) == 0 {
		item := AppendOriginOpen(nil, g.origins[0])
		g.seqs[g.origins[0]] = 0
		return AppendEntry(nil, g.nowMillis, [][]byte{item}), "open n1"
	}
	if len(g.seqs) == 1 && g.seqs[g.origins[0]] == 0 {
		return g.preamble()
	}
	var items [][]byte
	var texts []string
	for n := g.n("items", 1, 3); n > 0; n-- {
		item, text := g.item()
		if err := CheckItem(item); err != nil {
			g.t.Fatalf("%s: %v", text, err)
		}
		items, texts = append(items, item), append(texts, text)
	}
	return AppendEntry(nil, g.nowMillis, items), fmt.Sprintf("time %d, %s", g.nowMillis, strings.Join(texts, "; "))
}

// preamble opens what most other commands need.
func (g *entryGenerator) preamble() (entry []byte, text string) {
	o := g.origins[0]
	g.seqs[o]++
	var b []byte
	if g.flag("no users yet") { // then nothing is checked
		b = (&PutUser{Name: "w"}).Append(b)
	} else {
		b = (&InitUsers{Name: "u"}).Append(b)
	}
	if g.flag("another vhost") {
		b = (&PutVHost{Name: "v", Creator: "u"}).Append(b)
	}
	for conn := uint32(1); conn <= 2; conn++ {
		b = (&OpenSession{Ref: Ref{Conn: conn}, VHost: "/", User: "u", CancelNotify: conn == 1}).Append(b)
		for number := uint16(1); number <= 2; number++ {
			ref := Ref{Conn: conn, Channel: number, Incarnation: 1}
			g.last[channelOf{o, conn, number}] = 1
			b = (&OpenChannel{Ref: ref}).Append(b)
		}
	}
	ref := Ref{Conn: 1, Channel: 1, Incarnation: 1}
	b = (&DeclareQueue{Ref: ref, Name: "dlq", Durable: true}).Append(b)
	b = (&DeclareQueue{Ref: ref, Name: "a", Durable: true, Arguments: g.queueArguments()}).Append(b)
	b = (&DeclareQueue{Ref: ref, Name: "b", Durable: true, Arguments: g.queueArguments()}).Append(b)
	if g.flag("fanned out") { // what overflows multiplies
		for _, name := range []string{"a", "b", "dlq"} {
			b = (&Bind{Ref: ref, Source: "amq.fanout", Destination: name}).Append(b)
		}
	}
	return AppendEntry(nil, g.nowMillis, [][]byte{AppendBatch(nil, o, g.seqs[o], b)}), "preamble"
}

func (g *entryGenerator) item() (item []byte, text string) {
	o := g.origins[g.n("origin", 0, len(g.origins)-1)]
	switch roll := g.n("item", 1, 100); {
	case roll <= 5:
		if o.Boot >= g.open[o.Node] {
			g.seqs[o] = 0
		}
		return AppendOriginOpen(nil, o), fmt.Sprintf("open %v", o)
	case roll <= 7:
		return AppendOriginDown(nil, o), fmt.Sprintf("down %v", o)
	case roll <= 17:
		return AppendTick(nil), "tick"
	case roll <= 20:
		return AppendMark(nil), "mark"
	case roll <= 21:
		return AppendVerify(nil, uint64(g.n("mark", 0, 40)), 3, []DigestReport{{Node: "n1"}, {Node: "n2"}}), "verify"
	}
	if g.chance("n1", 60) {
		o = g.origins[0]
	}
	seq := g.seqs[o] + 1
	if g.chance("wrong number", 3) {
		seq += uint64(g.n("off by", 0, 2))
	} else {
		g.seqs[o] = seq
	}
	var commands []byte
	var texts []string
	for n := g.n("commands", 1, 8); n > 0; n-- {
		c := g.command(o)
		commands = c.Append(commands)
		texts = append(texts, fmt.Sprintf("%T%+v", c, c))
	}
	return AppendBatch(nil, o, seq, commands), fmt.Sprintf("batch %d of %v: %s", seq, o, strings.Join(texts, ", "))
}

func (g *entryGenerator) ref(o Origin) Ref {
	ref := Ref{Conn: uint32(g.n("conn", 1, 2)), Channel: uint16(g.n("channel", 1, 2))}
	ref.Incarnation = g.last[channelOf{o, ref.Conn, ref.Channel}]
	if g.chance("old incarnation", 2) && ref.Incarnation > 0 {
		ref.Incarnation--
	}
	return ref
}

func (g *entryGenerator) queueName() string {
	return oneOf(g, []string{"a", "a", "a", "b", "b", "dlq", "x1", "", "amq.gen-1", deadQueueName})
}

func (g *entryGenerator) exchangeName() string {
	return oneOf(g, []string{"e", "f", "amq.direct", "amq.topic", "amq.headers", "amq.fanout", "", "none"})
}

func (g *entryGenerator) key() string {
	return oneOf(g, []string{"a", "a", "b", "b", "dlq", "x1", "k.l", "k.*", "#"})
}

func (g *entryGenerator) flag(label string) bool { return g.chance(label, 25) }

func (g *entryGenerator) queueArguments() []byte {
	var t content.Table
	add := func(name string, values ...any) {
		if g.chance(name, 20) {
			t = append(t, content.Field{Name: name, Value: oneOf(g, values)})
		}
	}
	add(argMaxPriority, int32(2), int64(2), int32(300))
	add(argDeadExchange, "", "e", "none", "amq.fanout")
	add(argDeadKey, "a", "dlq")
	add(argDeliveryLimit, int32(0), int32(1), int32(2), "many")
	add(argConsumerTimeout, int32(0), int32(700), int32(3000), int32(-1))
	add(argQueueType, "classic", "quorum", "stream")
	add(argSingleActive, true, true, false, "yes")
	add(argMessageTTL, int32(0), int32(5), int32(800), int32(-1))
	add(argExpires, int32(1), int32(700), int32(3000), int32(0))
	add(argDelayedRetry, "all", "failed", "returned", "disabled", "sometimes")
	add(argDelayedRetryMin, int32(1), int32(500))
	add(argDelayedRetryMax, int32(800))
	add(argMaxLength, int32(0), int32(1), int32(2), int64(5), int32(-1))
	add(argMaxLengthBytes, int32(0), int32(10), int32(30))
	add(argOverflow, "drop-head", "reject-publish", "reject-publish-dlx", "reject")
	if t == nil {
		return nil
	}
	return t.Append(nil)
}

func (g *entryGenerator) exchangeArguments() []byte {
	var t content.Table
	if g.chance("delayed type", 60) {
		t = append(t, content.Field{Name: argDelayedType, Value: oneOf(g, []any{"direct", "fanout", "fanout", "topic", "odd", int32(1)})})
	}
	if g.chance("alternate", 20) {
		t = append(t, content.Field{Name: argAlternate, Value: oneOf(g, []any{"e", "f", "amq.fanout", ""})})
	}
	return t.Append(nil)
}

func (g *entryGenerator) bindingArguments() []byte {
	switch g.n("binding arguments", 1, 4) {
	case 1:
		return content.Table{{Name: "h", Value: "1"}}.Append(nil)
	case 2:
		return content.Table{{Name: "x-match", Value: "any"}, {Name: "h", Value: "1"}, {Name: "i", Value: int32(1)}}.Append(nil)
	}
	return nil
}

func (g *entryGenerator) command(o Origin) Command {
	ref := g.ref(o)
	if g.chance("session command", 5) {
		return g.sessionCommand(o, ref)
	}
	if g.chance("policy command", 5) {
		return g.policyCommand()
	}
	if c := g.opening(o, ref); c != nil {
		return c
	}
	if c := g.emphasised(ref); c != nil {
		return c
	}
	switch roll := g.n("command", 1, 100); {
	case roll <= 25:
		return g.publish(ref)
	case roll <= 40:
		return &Consume{
			Ref: ref, Queue: g.queueName(), Tag: oneOf(g, []string{"t", "u", "v", "w", ""}), NoAck: g.flag("no-ack"),
			Exclusive: g.chance("exclusive", 8), NoWait: g.flag("no-wait"), Arguments: g.consumeArguments(),
			GrantMessages: uint32(g.n("grant", 0, 12)), GrantBytes: uint32(g.n("bytes", 0, 100)),
		}
	case roll <= 55:
		return &Ack{Ref: ref, Tag: g.tag(ref), Multiple: g.flag("multiple")}
	case roll <= 67:
		return &Nack{Ref: ref, Tag: g.tag(ref), Multiple: g.flag("multiple"), Requeue: g.chance("requeue", 60)}
	case roll <= 73:
		return &Get{Ref: ref, Queue: g.queueName(), NoAck: g.flag("no-ack")}
	case roll <= 76:
		return &Grant{Ref: ref, Tag: "t", Messages: uint32(g.n("grant", 0, 6)), Bytes: uint32(g.n("bytes", 0, 40))}
	case roll <= 79:
		return &SetQos{Ref: ref, Count: uint16(g.n("count", 0, 3)), Global: g.flag("global")}
	case roll <= 81:
		return g.transaction(ref)
	case roll <= 82:
		return &Recover{Ref: ref}
	case roll <= 83:
		return &Cancel{Ref: ref, Tag: "t", NoWait: g.flag("no-wait")}
	}
	return g.topologyCommand(ref)
}

func (g *entryGenerator) transaction(ref Ref) Command {
	tx := &Tx{Ref: ref}
	for n := g.n("commands", 0, 4); n > 0; n-- {
		var c Command
		switch g.n("in transaction", 1, 5) {
		case 1:
			c = &Ack{Ref: ref, Tag: g.tag(ref), Multiple: g.flag("multiple")}
		case 2:
			c = &Nack{Ref: ref, Tag: g.tag(ref), Multiple: g.flag("multiple"), Requeue: g.chance("requeue", 60)}
		default:
			p := g.publish(ref)
			p.Confirm = 0
			c = p
		}
		tx.Commands = c.Append(tx.Commands)
	}
	return tx
}

// opening opens what is not there yet, or not any more, as a client that goes on after an error does.
func (g *entryGenerator) opening(o Origin, ref Ref) Command {
	record := g.state.origins[o.Node]
	if record == nil || record.boot != o.Boot || g.chance("as it is", 20) {
		return nil
	}
	if g.state.vhosts["/"] == nil {
		return &PutVHost{Name: "/"}
	}
	if record.sessions[ref.Conn] == nil {
		return &OpenSession{Ref: Ref{Conn: ref.Conn}, VHost: "/", User: "u", CancelNotify: ref.Conn == 1}
	}
	if record.channel(ref) == nil {
		at := channelOf{o, ref.Conn, ref.Channel}
		g.last[at]++
		ref.Incarnation = g.last[at]
		return &OpenChannel{Ref: ref}
	}
	for _, name := range []string{"a", "b", "dlq"} {
		if g.state.vhosts["/"].queues[name] == nil {
			return &DeclareQueue{Ref: ref, Name: name, Durable: true, Arguments: g.queueArguments()}
		}
	}
	return nil
}

func (g *entryGenerator) consumeArguments() []byte {
	switch g.n("consume arguments", 1, 8) {
	case 1:
		return content.Table{{Name: "x-priority", Value: int32(g.n("priority", -1, 1))}}.Append(nil)
	case 2:
		return content.Table{{Name: argConsumerTimeout, Value: int32(g.n("timeout", 0, 2000))}}.Append(nil)
	}
	return nil
}

// tag is mostly one that was delivered.
func (g *entryGenerator) tag(ref Ref) uint64 {
	for _, ch := range g.state.gather().channels {
		if ch.ref() == ref && ch.lastTag > 0 && g.chance("delivered", 95) {
			return uint64(g.n("tag", max(1, int(ch.lastTag)-3), int(ch.lastTag)))
		}
	}
	return uint64(g.n("tag", 0, 3))
}

func (g *entryGenerator) publish(ref Ref) *Publish {
	p := content.Properties{}
	if g.flag("headers") {
		p.Has |= content.HasHeaders
		p.Headers = content.Table{{Name: "h", Value: "1"}}
		if g.flag("delay") {
			p.Headers = append(p.Headers, content.Field{Name: headerDelay, Value: oneOf(g, []any{int32(1), int32(500), int64(2000), int32(-5), "700", "soon"})})
		}
		for _, name := range []string{headerCC, headerBCC} {
			if g.flag("copies") {
				p.Headers = append(p.Headers, content.Field{Name: name, Value: content.Array{g.key(), g.key()}[:g.n("keys", 0, 2)]})
			}
		}
		if g.flag("own x-death") {
			p.Headers = append(p.Headers, content.Field{Name: headerDeath, Value: "mine"})
		}
	}
	if g.flag("expiration") {
		p.Has |= content.HasExpiration
		p.Expiration = oneOf(g, []string{"0", "300", "1000"})
	}
	exchange := g.exchangeName()
	if g.chance("default exchange", 60) {
		exchange = ""
	}
	return &Publish{
		Ref: ref, Exchange: []byte(exchange), RoutingKey: []byte(g.key()), Mandatory: g.flag("mandatory"), Confirm: uint64(g.n("confirm", 0, 2)),
		Priority: uint8(g.n("priority", 0, 4)), Properties: p.Append(nil), Body: bytes.Repeat([]byte{'b'}, g.n("body", 0, 12)),
	}
}

func (g *entryGenerator) sessionCommand(o Origin, ref Ref) Command {
	switch roll := g.n("session command", 1, 20); {
	case roll <= 8:
		vhost := "/"
		if g.chance("other vhost", 20) {
			vhost = "v"
		}
		return &OpenSession{
			Ref: Ref{Conn: ref.Conn}, VHost: vhost, User: "u", Name: "c", CancelNotify: ref.Conn == 1,
			Details: content.Table{{Name: "channel_max", Value: int32(2047)}}.Append(nil),
		}
	case roll <= 16:
		at := channelOf{o, ref.Conn, ref.Channel}
		g.last[at]++
		ref.Incarnation = g.last[at]
		return &OpenChannel{Ref: ref}
	case roll <= 17:
		return &CloseChannel{Ref: ref}
	case roll <= 18:
		return &CloseSession{Ref: Ref{Conn: ref.Conn}}
	case roll <= 19:
		return g.userCommand()
	}
	return g.vhostCommand(o)
}

func (g *entryGenerator) vhostCommand(o Origin) Command {
	ref := Ref{Incarnation: 1}
	name := oneOf(g, []string{"v", "/", "w"})
	switch g.n("vhost command", 1, 8) {
	case 1:
		return &DeleteVHost{Ref: ref, Name: name}
	case 2:
		return &PutVHostLimits{Ref: ref, VHost: name, MaxConnections: int64(g.n("connections", -2, 2)), MaxQueues: int64(g.n("queues", -2, 5))}
	case 3:
		return &EndSession{Ref: ref, Node: o.Node, Boot: o.Boot, Conn: uint32(g.n("conn", 1, 3)), Reason: "enough"}
	}
	return &PutVHost{
		Ref: ref, Name: name, Description: oneOf(g, []string{"", "d"}), Creator: "u", Tags: []string{"t"},
		DefaultQueueType: oneOf(g, []string{"", "", queueTypeClassic, queueTypeQuorum, "odd"}),
	}
}

// userCommand leaves users most of what they need, or nothing else would be drawn any more.
func (g *entryGenerator) userCommand() Command {
	ref := Ref{Incarnation: 1}
	name, vhost := oneOf(g, []string{"u", "w"}), oneOf(g, []string{"/", "/", "v"})
	patterns := []string{".*", ".*", ".*", ".*", "^[^b]", "", "("}
	switch g.n("user command", 1, 16) {
	case 1, 2:
		return &InitUsers{Ref: ref, Name: "u", Hash: "h", Algorithm: "a"}
	case 3:
		return &DeleteUser{Ref: ref, Name: name}
	case 4:
		return &PutUserLimits{Ref: ref, User: name, MaxConnections: int64(g.n("connections", -3, 3)), MaxChannels: int64(g.n("channels", -3, 3))}
	case 5:
		return &DeletePermission{Ref: ref, VHost: vhost, User: "w"}
	case 6, 7:
		return &PutTopicPermission{Ref: ref, VHost: vhost, User: name, Exchange: oneOf(g, []string{"e", "amq.topic"}), Write: oneOf(g, patterns), Read: "{vhost}|k"}
	case 8:
		return &DeleteTopicPermission{Ref: ref, VHost: vhost, User: name, Exchange: "e", AllExchanges: g.flag("all")}
	case 9, 10, 11:
		return &PutUser{Ref: ref, Name: name, Tags: []string{"t"}}
	}
	return &PutPermission{Ref: ref, VHost: vhost, User: name, Configure: oneOf(g, patterns), Write: oneOf(g, patterns), Read: oneOf(g, patterns)}
}

func (g *entryGenerator) policyCommand() Command {
	ref, vhost := Ref{Incarnation: 1}, oneOf(g, []string{"/", "/", "/", "v", "w"})
	name, operator := oneOf(g, []string{"p", "q"}), g.flag("operator")
	switch g.n("policy command", 1, 10) {
	case 1, 2:
		return &DeletePolicy{Ref: ref, VHost: vhost, Name: name, Operator: operator}
	case 3:
		return &PutParameter{Ref: ref, VHost: vhost, Component: "shovel", Name: name, Value: []byte("{}")}
	case 4:
		return &DeleteParameter{Ref: ref, VHost: vhost, Component: "shovel", Name: name}
	}
	var t content.Table
	add := func(name string, values ...any) {
		if g.chance(name, 30) {
			t = append(t, content.Field{Name: name, Value: oneOf(g, values)})
		}
	}
	add("max-length", int32(0), int32(1), int64(3))
	add("max-length-bytes", int32(10))
	add("overflow", "drop-head", "reject-publish", "reject-publish-dlx")
	add("dead-letter-exchange", "", "e", "amq.fanout")
	add("dead-letter-routing-key", "a", "b")
	add("delivery-limit", int32(-1), int32(1))
	add("consumer-timeout", int32(0), int32(500), int32(5000))
	add("alternate-exchange", "amq.fanout", "f")
	add("ha-mode", "all")
	add("message-ttl", int32(0), int32(800))
	add("delayed-retry-type", "all", "failed", "disabled")
	add("delayed-retry-min", int32(0), int32(400))
	add("delayed-retry-max", int32(300))
	add("expires", int32(1), int32(3000))
	return &PutPolicy{
		Ref: ref, VHost: vhost, Name: name, Operator: operator, Pattern: oneOf(g, []string{"", "^a", "^(?!a)", "(", "b|dlq"}),
		ApplyTo:  oneOf(g, []string{"", "all", "queues", "classic_queues", "quorum_queues", "exchanges", "streams", "odd"}),
		Priority: int64(g.n("priority", -1, 1)), Definition: t.Append(nil),
	}
}

func (g *entryGenerator) topologyCommand(ref Ref) Command {
	switch g.n("topology command", 1, 10) {
	case 1, 2, 3:
		return &DeclareQueue{
			Ref: ref, Name: g.queueName(), Passive: g.chance("passive", 10), Durable: true, Exclusive: g.flag("exclusive"),
			AutoDelete: g.flag("auto-delete"), ServerNamed: g.flag("server named"), Arguments: g.queueArguments(),
		}
	case 4:
		return &DeleteQueue{Ref: ref, Name: g.queueName(), IfUnused: g.flag("if-unused"), IfEmpty: g.flag("if-empty")}
	case 5:
		return &PurgeQueue{Ref: ref, Name: g.queueName()}
	case 6:
		return &DeclareExchange{
			Ref: ref, Name: oneOf(g, []string{"e", "f"}), Passive: g.chance("passive", 10),
			Type:       oneOf(g, []string{"direct", "fanout", "topic", "headers", "odd", DelayedExchangeType, DelayedExchangeType}),
			Arguments:  g.exchangeArguments(),
			AutoDelete: g.flag("auto-delete"), Internal: g.chance("internal", 10),
		}
	case 7:
		return &DeleteExchange{Ref: ref, Name: g.exchangeName(), IfUnused: g.flag("if-unused")}
	case 8:
		return &Unbind{Ref: ref, Source: g.exchangeName(), Destination: g.queueName(), Key: g.key(), Arguments: g.bindingArguments()}
	}
	b := &Bind{Ref: ref, Source: g.exchangeName(), Destination: g.queueName(), Key: g.key(), Arguments: g.bindingArguments()}
	if g.flag("to exchange") {
		b.ToExchange, b.Destination = true, g.exchangeName()
	}
	return b
}
