package fsm

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

// limitModel is a queue with a length limit as its users think of it: a list in order of delivery, at most one consumer, and what it dead-letters.
type limitModel struct {
	ready    []modelMessage
	held     map[uint64]modelMessage
	dead     []modelMessage
	own      modelLimit // by argument
	policy   modelLimit
	prefetch int // of the consumer; 0: there is none
	taken    int // what the consumer holds

	delivered []string // in the present step
	outcome   string   // of the present publish
}

type modelMessage struct {
	body       string
	priority   uint8
	number     int
	byConsumer bool
}

// modelLimit has -1 and "" for what it leaves open.
type modelLimit struct {
	messages, bytes int
	overflow        string
}

func (m *limitModel) limit() modelLimit {
	least := func(a, b int) int {
		if a < 0 || b >= 0 && b < a {
			return b
		}
		return a
	}
	return modelLimit{least(m.own.messages, m.policy.messages), least(m.own.bytes, m.policy.bytes), cmp.Or(m.own.overflow, m.policy.overflow, "drop-head")}
}

func (m *limitModel) bytes() (n int) {
	for _, message := range m.ready {
		n += len(message.body)
	}
	return n
}

func (l modelLimit) exceeded(messages, bytes int) bool {
	return l.messages >= 0 && messages > l.messages || l.bytes >= 0 && bytes > l.bytes
}

func (m *limitModel) publish(message modelMessage) {
	l := m.limit()
	if l.overflow != "drop-head" && l.exceeded(len(m.ready)+1, m.bytes()+len(message.body)) {
		m.outcome = "nacked"
		if l.overflow == "reject-publish-dlx" {
			m.dead = append(m.dead, message)
		}
		return
	}
	m.outcome = "confirmed"
	m.ready = append(m.ready, message)
	m.settle()
}

// settle is what follows every step: the consumer takes what it may, then what is too much is dropped from the front.
func (m *limitModel) settle() {
	slices.SortFunc(m.ready, func(a, b modelMessage) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.number, b.number))
	})
	for ; m.taken < m.prefetch && len(m.ready) > 0; m.taken++ {
		m.delivered = append(m.delivered, m.ready[0].body)
		m.ready = m.ready[1:]
	}
	for l := m.limit(); l.overflow == "drop-head" && l.exceeded(len(m.ready), m.bytes()); m.ready = m.ready[1:] {
		m.dead = append(m.dead, m.ready[0])
	}
}

// end takes tags out of what is held, in their order.
func (m *limitModel) end(tag uint64, multiple bool) (ended []modelMessage) {
	for t := uint64(1); t <= tag; t++ {
		message, ok := m.held[t]
		if !ok || t < tag && !multiple {
			continue
		}
		delete(m.held, t)
		if message.byConsumer {
			m.taken--
		}
		message.byConsumer = false
		ended = append(ended, message)
	}
	return ended
}

// limitRun compares the two.
type limitRun struct {
	*driver
	random *rand.Rand
	model  limitModel
	known  map[string]modelMessage // by body
}

func TestLengthLimitAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		r := &limitRun{driver: newDriver(t), random: rand.New(rand.NewPCG(seed, 2)), known: map[string]modelMessage{}}
		r.model = limitModel{held: map[uint64]modelMessage{}, own: r.drawLimit(), policy: modelLimit{-1, -1, ""}}
		arguments := content.Table{{Name: argDeadExchange, Value: ""}, {Name: argDeadKey, Value: "dead"}}
		for _, field := range r.model.own.table() {
			arguments = append(arguments, content.Field{Name: "x-" + field.Name, Value: field.Value})
		}
		r.declare("dead", nil)
		r.declare("q", arguments)
		for step := range 120 {
			what := r.step()
			r.compare(fmt.Sprintf("seed %d, step %d, %s", seed, step, what))
		}
		r.compareDead(seed)
	}
}

func (r *limitRun) drawLimit() modelLimit {
	l := modelLimit{-1, -1, ""}
	if r.random.IntN(3) > 0 {
		l.messages = r.random.IntN(6)
	}
	if r.random.IntN(3) == 0 {
		l.bytes = r.random.IntN(40)
	}
	if r.random.IntN(2) == 0 {
		l.overflow = overflowNames[r.random.IntN(len(overflowNames))]
	}
	return l
}

func (l modelLimit) table() (t content.Table) {
	if l.messages >= 0 {
		t = append(t, content.Field{Name: "max-length", Value: int64(l.messages)})
	}
	if l.bytes >= 0 {
		t = append(t, content.Field{Name: "max-length-bytes", Value: int64(l.bytes)})
	}
	if l.overflow != "" {
		t = append(t, content.Field{Name: "overflow", Value: l.overflow})
	}
	return t
}

func (r *limitRun) step() (what string) {
	m := &r.model
	m.delivered, m.outcome, r.effects = nil, "", nil
	switch roll := r.random.IntN(100); {
	case roll < 50:
		return r.publish()
	case roll < 58:
		return r.get()
	case roll < 83:
		return r.end()
	case roll < 88:
		return r.consume()
	case roll < 91:
		m.ready = nil
		r.apply(&PurgeQueue{Ref: driverChannel, Name: "q"})
		return "purge"
	}
	return r.changePolicy()
}

func (r *limitRun) publish() string {
	n := len(r.known) + 1
	body := fmt.Sprintf("%d%s", n, "............"[:r.random.IntN(12)])
	message := modelMessage{body: body, priority: uint8(r.random.IntN(3)), number: n}
	r.known[body] = message
	r.model.publish(message)
	p := publishTo("q", message.priority, body)
	p.Confirm = uint64(n)
	if r.random.IntN(3) == 0 { // the queue that refuses is the only one: it makes no difference to it
		p.Confirm, r.model.outcome = 0, ""
	}
	r.apply(p)
	return fmt.Sprintf("publish %+v", message)
}

func (r *limitRun) get() string {
	if m := &r.model; len(m.ready) > 0 {
		m.delivered = append(m.delivered, m.ready[0].body)
		m.ready = m.ready[1:]
	}
	r.apply(&Get{Ref: driverChannel, Queue: "q"})
	return "get"
}

func (r *limitRun) end() string {
	m := &r.model
	var tags []uint64
	for tag := range m.held {
		tags = append(tags, tag)
	}
	if len(tags) == 0 {
		return "nothing"
	}
	slices.Sort(tags)
	tag, multiple, how := tags[r.random.IntN(len(tags))], r.random.IntN(3) == 0, r.random.IntN(3)
	ended := m.end(tag, multiple)
	switch how {
	case 1:
		m.dead = append(m.dead, ended...)
	case 2:
		m.ready = append(m.ready, ended...)
	}
	m.settle()
	if how == 0 {
		r.apply(&Ack{Ref: driverChannel, Tag: tag, Multiple: multiple})
	} else {
		r.apply(&Nack{Ref: driverChannel, Tag: tag, Multiple: multiple, Requeue: how == 2})
	}
	return fmt.Sprintf("end %d, multiple %v, how %d", tag, multiple, how)
}

func (r *limitRun) consume() string {
	m := &r.model
	if m.prefetch > 0 {
		m.prefetch, m.taken = 0, 0
		for tag, message := range m.held {
			message.byConsumer = false
			m.held[tag] = message
		}
		r.apply(&Cancel{Ref: driverChannel, Tag: "c"})
		return "cancel"
	}
	m.prefetch = 1 + r.random.IntN(4)
	m.settle()
	r.apply(&SetQos{Ref: driverChannel, Count: uint16(m.prefetch)},
		&Consume{Ref: driverChannel, Queue: "q", Tag: "c", GrantMessages: 1000, GrantBytes: 100_000})
	return "consume"
}

func (r *limitRun) changePolicy() string {
	m := &r.model
	m.policy = r.drawLimit()
	if definition := m.policy.table(); definition != nil {
		r.apply(&PutPolicy{VHost: "/", Name: "p", Pattern: "^q$", Definition: definition.Append(nil)})
	} else {
		r.apply(&DeletePolicy{VHost: "/", Name: "p"})
	}
	m.settle()
	return fmt.Sprintf("policy %+v", m.policy)
}

// compare looks at what the step's effects say and at the queue.
func (r *limitRun) compare(when string) {
	m := &r.model
	var delivered []string
	outcome := ""
	for _, e := range r.effects {
		switch e.Kind {
		case Delivered:
			delivered = append(delivered, string(e.Body))
			message := r.known[string(e.Body)]
			message.byConsumer = !e.Get
			m.held[e.Tag] = message
		case Published:
			outcome = "confirmed"
			if e.Code != OK {
				outcome = "nacked"
			}
		case ChannelFailed:
			r.t.Fatalf("%s: %s", when, e.Text)
		}
	}
	if !slices.Equal(delivered, m.delivered) || outcome != m.outcome {
		r.t.Fatalf("%s: delivered %q and %s, wanted %q and %s, limit %+v", when, delivered, outcome, m.delivered, m.outcome, m.limit())
	}
	if q := r.queue("q"); q.Ready != len(m.ready) || q.Bytes != int64(m.bytes()) || r.queue("dead").Ready != len(m.dead) {
		r.t.Fatalf("%s: %d ready of %d bytes and %d dead, wanted %d of %d and %d, limit %+v", when, q.Ready, q.Bytes, r.queue("dead").Ready,
			len(m.ready), m.bytes(), len(m.dead), m.limit())
	}
	if err := r.state.Check(); err != nil {
		r.t.Fatalf("%s: %v", when, err)
	}
}

// compareDead looks at what was dead-lettered, in order.
func (r *limitRun) compareDead(seed uint64) {
	slices.SortStableFunc(r.model.dead, func(a, b modelMessage) int { return cmp.Compare(b.priority, a.priority) })
	for i, want := range r.model.dead {
		r.apply(&Get{Ref: driverChannel, Queue: "dead", NoAck: true})
		if got := string(r.effects[0].Body); got != want.body {
			r.t.Fatalf("seed %d: dead letter %d is %q, wanted %q", seed, i, got, want.body)
		}
	}
}
