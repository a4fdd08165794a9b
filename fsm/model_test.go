package fsm

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/triagemq/triagemq/fsm/store"
)

// queueModel is a queue as its users think of it: every operation is complete at once. It knows bodies alone, each of which is published once.
type queueModel struct {
	ready map[string]bool
	held  map[uint64]string // by tag; what an earlier queue of the name left held is ""
}

// settled takes the tags that an ack or nack names out of what is held.
func (m *queueModel) settled(tag uint64, multiple bool) (bodies []string) {
	for _, t := range slices.Sorted(maps.Keys(m.held)) {
		if t == tag || multiple && (t < tag || tag == 0) {
			if m.held[t] != "" {
				bodies = append(bodies, m.held[t])
			}
			delete(m.held, t)
		}
	}
	return bodies
}

// modelRun compares a queue whose bulk work takes many entries with its model: whatever is left over at any moment, nothing is lost, comes twice, or comes
// back from a purge or a deletion.
type modelRun struct {
	*driver
	random    *rand.Rand
	model     queueModel
	published int
	channel   Ref
}

func TestQueueAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		r := &modelRun{driver: newDriver(t), random: rand.New(rand.NewPCG(seed, 1)), channel: driverChannel}
		r.model = queueModel{ready: map[string]bool{}, held: map[uint64]string{}}
		r.state.limits.bulkMoves = 1 + int(seed%4)
		r.apply(&DeclareQueue{Ref: r.channel, Name: "q"})
		for step := range 150 {
			r.step()
			if err := r.state.Check(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
		r.tickAll()
		r.nextIncarnation()
		r.tickAll()
		r.compare(seed)
	}
}

func (r *modelRun) step() {
	switch roll := r.random.IntN(100); {
	case roll < 25:
		r.publish(1 + r.random.IntN(6))
	case roll < 50:
		for range 1 + r.random.IntN(5) {
			r.get()
		}
	case roll < 72:
		r.settle()
	case roll < 78:
		returning := r.returning()
		r.apply(&PurgeQueue{Ref: r.channel, Name: "q"})
		r.counted("purge", int(r.effects[0].Count))
		maps.DeleteFunc(r.model.ready, func(body string, _ bool) bool { return !returning[body] })
	case roll < 80:
		r.apply(&DeleteQueue{Ref: r.channel, Name: "q"}, &DeclareQueue{Ref: r.channel, Name: "q"})
		clear(r.model.ready)
		for tag := range r.model.held {
			r.model.held[tag] = ""
		}
	case roll < 82:
		r.nextIncarnation()
	default:
		r.tick()
	}
}

// returning lists what a remainder still has to give back: to a purge it is as if it were held, and stays.
func (r *modelRun) returning() map[string]bool {
	bodies := map[string]bool{}
	k := &checker{s: r.state}
	parked, _ := k.expectElsewhere()
	r.state.store.EachHeld(func(_ store.Entry, info store.Info) {
		if k.isSettling(&info.Hold) && !parked[info.Hold.Delivery] {
			bodies[string(r.state.store.Content(info.Message).Body)] = true
		}
	})
	return bodies
}

func (r *modelRun) publish(n int) {
	var commands []Command
	for range n {
		r.published++
		body := fmt.Sprint(r.published)
		r.model.ready[body] = true
		priority := uint8(r.random.IntN(3))
		commands = append(commands, &Publish{Ref: r.channel, RoutingKey: []byte("q"), Priority: priority, Properties: []byte{0, 0}, Body: []byte(body)})
	}
	r.apply(commands...)
}

func (r *modelRun) get() {
	r.apply(&Get{Ref: r.channel, Queue: "q"})
	e := r.effects[0]
	if e.Empty {
		if len(r.state.remainders) == 0 {
			r.counted("an empty get", 0)
		}
		return
	}
	body := string(e.Body)
	if !r.model.ready[body] {
		r.t.Fatalf("message %s is delivered and should not be there", body)
	}
	delete(r.model.ready, body)
	r.model.held[e.Tag] = body
}

func (r *modelRun) settle() {
	tags := slices.Sorted(maps.Keys(r.model.held))
	if len(tags) == 0 {
		return
	}
	tag, multiple := tags[r.random.IntN(len(tags))], r.random.IntN(3) == 0
	if multiple && r.random.IntN(3) == 0 {
		tag = 0
	}
	bodies := r.model.settled(tag, multiple)
	switch r.random.IntN(3) {
	case 0:
		r.apply(&Ack{Ref: r.channel, Tag: tag, Multiple: multiple})
	case 1:
		r.apply(&Nack{Ref: r.channel, Tag: tag, Multiple: multiple})
	default:
		r.apply(&Nack{Ref: r.channel, Tag: tag, Multiple: multiple, Requeue: true})
		for _, body := range bodies {
			r.model.ready[body] = true
		}
	}
	for _, e := range r.effects {
		if e.Kind == ChannelFailed {
			r.t.Fatalf("settling tag %d: %s", tag, e.Text)
		}
	}
}

// nextIncarnation closes the channel, which returns what it holds, and opens the next one.
func (r *modelRun) nextIncarnation() {
	closed := r.channel
	r.channel.Incarnation++
	r.apply(&CloseChannel{Ref: closed}, &OpenChannel{Ref: r.channel})
	for _, body := range r.model.settled(0, true) {
		r.model.ready[body] = true
	}
}

// counted compares a number of messages once no work is left over.
func (r *modelRun) counted(what string, n int) {
	r.t.Helper()
	if len(r.state.remainders) == 0 && n != len(r.model.ready) {
		r.t.Fatalf("%s counts %d messages, %d should be there", what, n, len(r.model.ready))
	}
}

func (r *modelRun) compare(seed uint64) {
	for len(r.model.ready) > 0 {
		before := len(r.model.ready)
		r.get()
		if len(r.model.ready) == before {
			r.t.Fatalf("seed %d: messages %v are lost", seed, slices.Sorted(maps.Keys(r.model.ready)))
		}
	}
	r.get()
}
