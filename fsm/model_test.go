package fsm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/store"
)

// queueModel is a queue as its users think of it: every operation is complete at once. It knows bodies alone, each of which is published once.
type queueModel struct {
	ready    map[string]bool
	dead     map[string]bool // what was dead-lettered
	held     map[uint64]modelHold
	failures map[string]int
	limit    int // of failures; rejects, what exceeds it and what expires are dead-lettered. -1: they drop

	nowMillis   int64
	expires     map[string]int64 // of messages with a time to live
	retryMillis int64            // times failures: the wait before a failed message is ready again
	notBefore   map[string]int64 // of messages that wait, or did

	consumers    []modelConsumer // in order of age
	prefetch     int
	singleActive bool
	active       string // tag of the one that is served, with singleActive
}

type modelConsumer struct {
	tag      string
	priority int
}

// pass lets what has expired go, which is what nobody holds.
func (m *queueModel) pass() {
	for body := range m.ready {
		if expires := m.expires[body]; expires != 0 && expires <= m.nowMillis {
			delete(m.ready, body)
			m.rejected(body)
		}
	}
}

// modelHold is a delivery. What a queue that was deleted since left held is no body's.
type modelHold struct {
	body     string
	consumer string // its tag; "" for what was got, and for what a consumer left that was cancelled
}

// settled takes the tags that an ack or nack names out of what is held.
func (m *queueModel) settled(tag uint64, multiple bool) (bodies []string) {
	for _, t := range slices.Sorted(maps.Keys(m.held)) {
		if t == tag || multiple && (t < tag || tag == 0) {
			if body := m.held[t].body; body != "" {
				bodies = append(bodies, body)
			}
			delete(m.held, t)
		}
	}
	return bodies
}

func (m *queueModel) rejected(body string) {
	if m.limit >= 0 {
		m.dead[body] = true
	}
}

func (m *queueModel) failed(body string) {
	if m.failures[body]++; m.limit >= 0 && m.failures[body] > m.limit {
		m.dead[body] = true
		return
	}
	m.ready[body] = true
	m.notBefore[body] = m.nowMillis + m.retryMillis*int64(m.failures[body])
}

// timedOut is a consumer's cancellation: what it held is returned, and counts as a failure for the message that was held longest.
func (m *queueModel) timedOut(consumer string) {
	m.leave(consumer)
	first := true
	for _, tag := range slices.Sorted(maps.Keys(m.held)) {
		h := m.held[tag]
		if h.consumer != consumer {
			continue
		}
		delete(m.held, tag)
		switch {
		case h.body == "":
		case first:
			m.failed(h.body)
		default:
			m.ready[h.body] = true
		}
		first = false
	}
}

// leave removes a consumer.
func (m *queueModel) leave(consumer string) {
	m.consumers = slices.DeleteFunc(m.consumers, func(c modelConsumer) bool { return c.tag == consumer })
	if m.active == consumer {
		m.active = ""
	}
}

// firstInLine is the oldest consumer of the highest priority.
func (m *queueModel) firstInLine() string {
	return slices.MaxFunc(m.consumers, func(a, b modelConsumer) int { return a.priority - b.priority }).tag
}

func (m *queueModel) hasRoom(consumer string) bool {
	held := 0
	for _, h := range m.held {
		if h.consumer == consumer {
			held++
		}
	}
	return held < m.prefetch
}

// holdsNothing tells whether an active consumer may be replaced.
func (m *queueModel) holdsNothing(consumer string) bool {
	for _, h := range m.held {
		if h.consumer == consumer {
			return false
		}
	}
	return true
}

// wrongTurn says why a message that is ready must not go to a consumer; "" when it may.
func (m *queueModel) wrongTurn(tag string) string {
	at := slices.IndexFunc(m.consumers, func(c modelConsumer) bool { return c.tag == tag })
	switch {
	case at < 0:
		return "is no more"
	case !m.hasRoom(tag):
		return "holds as much as it may"
	case m.singleActive && m.active != tag:
		return fmt.Sprintf("stands by for %s", m.active)
	case m.singleActive && m.firstInLine() != tag:
		return fmt.Sprintf("is to make way for %s", m.firstInLine())
	case m.singleActive:
		return ""
	}
	for _, c := range m.consumers {
		if c.priority > m.consumers[at].priority && m.hasRoom(c.tag) {
			return fmt.Sprintf("comes after %s", c.tag)
		}
	}
	return ""
}

// modelRun compares a queue whose bulk work takes many entries with its model: whatever is left over at any moment, nothing is lost, comes twice, or comes
// back from a purge or a deletion.
type modelRun struct {
	*driver
	random    *rand.Rand
	model     queueModel
	published int
	channel   Ref
	arguments []byte

	quiet  bool // nothing is left over from before, or by, the present entry: whose turn it is can be told
	coming modelConsumer
}

func newModelRun(t *testing.T, seed uint64) *modelRun {
	r := &modelRun{driver: newDriver(t), random: rand.New(rand.NewPCG(seed, 1)), channel: driverChannel}
	r.model = queueModel{
		ready: map[string]bool{}, dead: map[string]bool{}, held: map[uint64]modelHold{}, failures: map[string]int{}, limit: int(seed%3) - 1,
		expires: map[string]int64{}, notBefore: map[string]int64{}, retryMillis: int64(seed/3%3) * 50,
	}
	arguments := content.Table{{Name: argConsumerTimeout, Value: int32(0)}, {Name: argDelayedRetry, Value: "failed"},
		{Name: argDelayedRetryMin, Value: r.model.retryMillis}}
	if r.model.limit >= 0 {
		arguments = append(arguments, content.Field{Name: argDeadExchange, Value: ""}, content.Field{Name: argDeadKey, Value: "dead"},
			content.Field{Name: argDeliveryLimit, Value: int32(r.model.limit)})
	}
	if r.model.singleActive = seed/9%2 == 1; r.model.singleActive {
		arguments = append(arguments, content.Field{Name: argSingleActive, Value: true})
	}
	r.arguments = arguments.Append(nil)
	r.state.limits.bulkMoves = 1 + int(seed%4)
	r.do(&DeclareQueue{Ref: r.channel, Name: "dead"}, &DeclareQueue{Ref: r.channel, Name: "q", Arguments: r.arguments})
	return r
}

func TestQueueAgainstModel(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runAgainstModel(t, seed) })
	}
}

func runAgainstModel(t *testing.T, seed uint64) {
	r := newModelRun(t, seed)
	for step := range 150 {
		r.step()
		if err := r.state.Check(); err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, step, err)
		}
	}
	r.nextIncarnation()
	for range 2 { // what a remainder gives back in the first round may wait for the second
		r.tickOnce(10_000)
		for r.isDue() {
			r.tickOnce(0)
		}
	}
	r.drainAndCompare(seed, "q", r.model.ready)
	r.drainAndCompare(seed, "dead", r.model.dead)
}

// isDue tells whether a Tick would do something now.
func (r *modelRun) isDue() bool {
	millis, ok := r.state.NextDeadline()
	return ok && millis <= r.nowMillis
}

// do applies commands and follows what they deliver.
func (r *modelRun) do(commands ...Command) {
	r.t.Helper()
	r.model.pass()
	quiet := !r.isDue() && len(r.state.remainders) == 0
	r.apply(commands...)
	r.follow(quiet)
}

func (r *modelRun) tickOnce(laterMillis int64) {
	r.nowMillis += laterMillis
	r.model.nowMillis = r.nowMillis
	r.model.pass()
	quiet := len(r.state.remainders) == 0
	r.tick()
	r.follow(quiet)
}

func (r *modelRun) follow(quiet bool) {
	r.t.Helper()
	r.quiet = quiet && len(r.state.remainders) == 0
	r.followAll(r.effects)
	r.quiet = false
	r.model.pass()
}

func (r *modelRun) followAll(effects []Effect) {
	r.t.Helper()
	for _, e := range effects {
		switch e.Kind {
		case Delivered:
			if e.Ref != r.channel {
				continue // before the channel was closed, which gave it back
			}
			body := string(e.Body)
			if !r.model.ready[body] {
				r.t.Fatalf("message %s is delivered and should not be there", body)
			}
			if r.model.notBefore[body] > r.nowMillis {
				r.t.Fatalf("message %s is delivered %d ms early", body, r.model.notBefore[body]-r.nowMillis)
			}
			r.checkTurn(&e)
			delete(r.model.ready, body)
			r.model.held[e.Tag] = modelHold{body, e.Consumer}
		case ConsumerCancelled:
			r.model.timedOut(e.Consumer)
		case Replied:
			switch e.Command {
			case KindConsume:
				r.model.consumers = append(r.model.consumers, r.coming)
			case KindCancel:
				r.model.leave(e.Consumer)
			}
		case ChannelFailed, SessionFailed:
			r.t.Fatalf("%v failed: %s", e.Command, e.Text)
		}
	}
}

// checkTurn looks at whom a message is delivered to.
func (r *modelRun) checkTurn(e *Effect) {
	r.t.Helper()
	m := &r.model
	if e.Get {
		return
	}
	if len(m.consumers) > 0 && (m.active == "" || m.holdsNothing(m.active)) {
		m.active = m.firstInLine()
	}
	if why := m.wrongTurn(e.Consumer); r.quiet && why != "" {
		r.t.Fatalf("message %s is delivered to %s, which %s; consumers %v, held %v", e.Body, e.Consumer, why, m.consumers, m.held)
	}
}

// reply finds the reply to the only command of an entry. What is due when the entry begins may have made room for deliveries before it.
func (r *modelRun) reply(command CommandKind) (at int, reply Effect) {
	r.t.Helper()
	for i, e := range r.effects {
		if e.Command == command {
			return i, e
		}
	}
	r.t.Fatalf("%v has no reply: %+v", command, r.effects)
	return 0, Effect{}
}

func (r *modelRun) step() {
	switch roll := r.random.IntN(100); {
	case roll < 25:
		r.publish(1 + r.random.IntN(6))
	case roll < 40:
		for range 1 + r.random.IntN(5) {
			r.get()
		}
	case roll < 66:
		r.settle()
	case roll < 69:
		r.transaction()
	case roll < 71:
		r.purge()
	case roll < 73:
		r.replaceQueue()
	case roll < 75:
		r.nextIncarnation()
	case roll < 81:
		r.consume()
	case roll < 83:
		r.cancel()
	default:
		r.tickOnce(int64(r.random.IntN(200)))
	}
}

func (r *modelRun) publish(n int) {
	var commands []Command
	for range n {
		r.published++
		body := fmt.Sprint(r.published)
		r.model.ready[body] = true
		properties := content.Properties{}
		if r.random.IntN(3) == 0 {
			ttlMillis := int64(1 + r.random.IntN(300))
			properties.Has, properties.Expiration = content.HasExpiration, fmt.Sprint(ttlMillis)
			r.model.expires[body] = r.nowMillis + ttlMillis
		}
		priority := uint8(r.random.IntN(3))
		commands = append(commands,
			&Publish{Ref: r.channel, RoutingKey: []byte("q"), Priority: priority, Properties: properties.Append(nil), Body: []byte(body)})
	}
	r.do(commands...)
}

// transaction publishes and acknowledges in one, or does neither: one in three has an unknown tag at a random place.
func (r *modelRun) transaction() {
	var commands [][]byte
	add := func(c Command) { commands = append(commands, c.Append(nil)) }
	ready := maps.Clone(r.model.ready)
	for range 1 + r.random.IntN(4) {
		r.published++
		body := fmt.Sprint(r.published)
		ready[body] = true
		add(&Publish{Ref: r.channel, RoutingKey: []byte("q"), Properties: []byte{0, 0}, Body: []byte(body)})
	}
	held := maps.Clone(r.model.held)
	for _, tag := range slices.Sorted(maps.Keys(held)) {
		if r.random.IntN(2) == 0 {
			add(&Ack{Ref: r.channel, Tag: tag})
			delete(held, tag)
		}
	}
	r.random.Shuffle(len(commands), func(i, j int) { commands[i], commands[j] = commands[j], commands[i] })
	if r.random.IntN(3) > 0 {
		r.model.ready, r.model.held = ready, held
		r.do(&Tx{Ref: r.channel, Commands: slices.Concat(commands...)})
		return
	}
	add(&Ack{Ref: r.channel, Tag: 1 << 40})
	at := r.random.IntN(len(commands))
	commands[at], commands[len(commands)-1] = commands[len(commands)-1], commands[at]
	r.apply(&Tx{Ref: r.channel, Commands: slices.Concat(commands...)})
	if _, reply := r.reply(KindTx); reply.Kind != ChannelFailed {
		r.t.Fatalf("a transaction with an unknown tag has the effects %+v", r.effects)
	}
	r.nextIncarnation()
}

func (r *modelRun) get() {
	r.do(&Get{Ref: r.channel, Queue: "q"})
	if _, reply := r.reply(KindGet); reply.Empty {
		r.counted("an empty get", r.queue("q").Delayed)
	}
}

// consume adds one of up to three consumers.
func (r *modelRun) consume() {
	tag := fmt.Sprint("c", r.random.IntN(3))
	if slices.ContainsFunc(r.model.consumers, func(c modelConsumer) bool { return c.tag == tag }) {
		return
	}
	r.model.prefetch = 1 + r.random.IntN(5)
	r.do(&SetQos{Ref: r.channel, Count: uint16(r.model.prefetch)})
	r.coming = modelConsumer{tag, r.random.IntN(3) - 1}
	arguments := content.Table{{Name: argConsumerTimeout, Value: int32(1000)}, {Name: argPriority, Value: int32(r.coming.priority)}}
	r.do(&Consume{Ref: r.channel, Queue: "q", Tag: tag, Arguments: arguments.Append(nil), GrantMessages: 1000, GrantBytes: 100_000})
}

// cancel removes a consumer. What it holds is from then on as if got: the queue has no time-out.
func (r *modelRun) cancel() {
	if len(r.model.consumers) == 0 {
		return
	}
	gone := r.model.consumers[r.random.IntN(len(r.model.consumers))].tag
	r.do(&Cancel{Ref: r.channel, Tag: gone})
	for tag, h := range r.model.held {
		if h.consumer == gone {
			r.model.held[tag] = modelHold{h.body, ""}
		}
	}
}

// settle names one held tag; what comes of it must be known before what it makes room for is delivered.
func (r *modelRun) settle() {
	tags := slices.Sorted(maps.Keys(r.model.held))
	if len(tags) == 0 {
		return
	}
	tag, multiple := tags[r.random.IntN(len(tags))], r.random.IntN(3) == 0
	if slices.ContainsFunc(r.state.remainders, func(rest *remainder) bool { return rest.evicted != 0 }) {
		multiple = false // what is still being taken from a consumer that timed out would be settled too, which is as good
	}
	if multiple && r.random.IntN(3) == 0 {
		tag = 0
	}
	bodies := r.model.settled(tag, multiple)
	switch r.random.IntN(3) {
	case 0:
		r.do(&Ack{Ref: r.channel, Tag: tag, Multiple: multiple})
	case 1:
		for _, body := range bodies {
			r.model.rejected(body)
		}
		r.do(&Nack{Ref: r.channel, Tag: tag, Multiple: multiple})
	default:
		for _, body := range bodies {
			r.model.failed(body)
		}
		r.do(&Nack{Ref: r.channel, Tag: tag, Multiple: multiple, Requeue: true})
	}
}

func (r *modelRun) purge() {
	returning := r.returning()
	overdue := r.overdue()
	r.apply(&PurgeQueue{Ref: r.channel, Name: "q"})
	r.forget(overdue)
	at, reply := r.reply(KindPurgeQueue)
	r.followAll(r.effects[:at])
	r.counted("purge", int(reply.Count))
	maps.DeleteFunc(r.model.ready, func(body string, _ bool) bool { return !returning[body] })
	r.followAll(r.effects[at:])
}

// replaceQueue deletes the queue and declares it again. What a remainder still had to give back to it goes with it, and is dead-lettered no more.
func (r *modelRun) replaceQueue() {
	for body := range r.returning() {
		delete(r.model.dead, body)
	}
	overdue := r.overdue()
	clear(r.model.ready)
	for tag, h := range r.model.held {
		r.model.held[tag] = modelHold{"", h.consumer}
	}
	r.model.consumers, r.model.active = nil, ""
	r.apply(&DeleteQueue{Ref: r.channel, Name: "q"}, &DeclareQueue{Ref: r.channel, Name: "q", Arguments: r.arguments})
	r.forget(overdue)
	for _, e := range r.effects {
		if e.Kind == Delivered {
			r.model.held[e.Tag] = modelHold{}
		}
	}
	for tag := range r.model.held {
		r.model.held[tag] = modelHold{}
	}
}

// overdue lists what has expired and is still there, because it is more than an entry removes or is still coming back.
func (r *modelRun) overdue() (bodies []string) {
	list := func(_ store.Entry, info store.Info) bool {
		if info.ExpiresMillis != 0 && info.ExpiresMillis <= r.nowMillis {
			bodies = append(bodies, string(r.state.store.Content(info.Message).Body))
		}
		return true
	}
	for _, p := range r.state.vhosts["/"].queues["q"].parts {
		if !p.draining {
			p.messages.Each(list)
			p.messages.EachDelayed(list)
		}
		for _, e := range p.parked {
			list(e.entry, r.state.store.Info(e.entry))
		}
	}
	return bodies
}

// forget follows the emptying of the queue: what was overdue and was not dead-lettered by then went with the rest.
func (r *modelRun) forget(overdue []string) {
	dead := map[string]bool{}
	r.state.vhosts["/"].queues["dead"].newest().messages.Each(func(_ store.Entry, info store.Info) bool {
		dead[string(r.state.store.Content(info.Message).Body)] = true
		return true
	})
	for _, body := range overdue {
		if !dead[body] {
			delete(r.model.dead, body)
		}
	}
}

// returning lists what a remainder still has to settle or give back: to other commands it is as if it were held.
func (r *modelRun) returning() map[string]bool {
	bodies := map[string]bool{}
	k := &checker{s: r.state}
	parked, _ := k.expectElsewhere()
	evicted := map[uint64]bool{}
	for _, rest := range r.state.remainders {
		evicted[rest.evicted] = true
	}
	r.state.store.EachHeld(func(_ store.Entry, info store.Info) {
		evicting := info.Hold.Consumer != 0 && evicted[info.Hold.Consumer]
		if (evicting || k.isSettling(&info.Hold)) && !parked[info.Hold.Delivery] {
			bodies[string(r.state.store.Content(info.Message).Body)] = true
		}
	})
	return bodies
}

// nextIncarnation closes the channel, which returns what it holds, and opens the next one.
func (r *modelRun) nextIncarnation() {
	closed := r.channel
	r.channel.Incarnation++
	for _, body := range r.model.settled(0, true) {
		r.model.ready[body] = true
	}
	r.model.consumers, r.model.active = nil, ""
	r.do(&CloseChannel{Ref: closed}, &OpenChannel{Ref: r.channel})
}

// counted compares a number of messages once no work is left over.
func (r *modelRun) counted(what string, n int) {
	r.t.Helper()
	if !r.isDue() && n != len(r.model.ready) {
		r.t.Fatalf("%s counts %d messages, %d should be there", what, n, len(r.model.ready))
	}
}

// drainAndCompare gets everything out of a queue.
func (r *modelRun) drainAndCompare(seed uint64, queue string, want map[string]bool) {
	got := map[string]bool{}
	for {
		r.apply(&Get{Ref: r.channel, Queue: queue, NoAck: true})
		if r.effects[0].Empty {
			break
		}
		body := string(r.effects[0].Body)
		if got[body] {
			r.t.Fatalf("seed %d: %s has message %s twice", seed, queue, body)
		}
		got[body] = true
	}
	if !maps.Equal(got, want) {
		r.t.Fatalf("seed %d: %s has %v, want %v", seed, queue, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}
