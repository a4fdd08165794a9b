package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/testing/harness"
)

// The topology.
const (
	exchange     = "app.events"
	deadExchange = "app.failed"
	deadQueue    = "failed-mail"
	signedUp     = "user.signed_up"
	reset        = "user.password_reset"
	urgent       = 9 // priority of password resets
	retryLimit   = 3 // deliveries that may fail before a message is dead-lettered
)

// queueSpec is one queue of the story and the keys that feed it.
type queueSpec struct {
	name    string
	keys    []string
	workers int
	strict  bool // refuses malformed addresses
}

var queues = [...]queueSpec{
	{name: "welcome-email", keys: []string{signedUp}, workers: 4, strict: true},
	{name: "verification-email", keys: []string{"user.*"}, workers: 2, strict: true},
	{name: "analytics", keys: []string{"#"}, workers: 2},
}

// event is what the web application publishes.
type event struct {
	ID    string    `json:"id"`
	Kind  string    `json:"kind"`
	Name  string    `json:"name"`
	Email string    `json:"email"`
	At    time.Time `json:"at"`
}

func (e *event) malformed() bool { return !strings.Contains(e.Email, "@") }

// story is the script and the ledger: what was published and what became of it in each queue.
type story struct {
	events []event

	mu          sync.Mutex // guards what follows
	byID        map[string]*event
	confirmed   map[string]bool
	lastConfirm time.Time
	longestGap  time.Duration
	queues      map[string]*account
	lastEvent   time.Time // when a worker last reported anything
	lose        string    // queue of which the next event is to be forgotten, see --lose
}

// account is what happened in one queue.
type account struct {
	handled, dead          map[string]bool
	failed                 map[string]int // attempts per event
	redelivered, copies    int            // duplicates, by cause: see take
	overtaking, urgentSeen int            // routine messages published earlier and still waiting when an urgent one was handled
}

// newStory draws the events from a fixed seed: about one address in a hundred is malformed, and one event in fifty is a password reset.
func newStory(count int) *story {
	first := []string{"Ada", "Grace", "Barbara", "Edsger", "Alan", "Radia", "Leslie", "Frances", "Tony", "Margaret"}
	last := []string{"Lovelace", "Hopper", "Liskov", "Dijkstra", "Turing", "Perlman", "Lamport", "Allen", "Hoare", "Hamilton"}
	r := rand.New(rand.NewPCG(20, 26))
	s := &story{byID: map[string]*event{}, confirmed: map[string]bool{}, queues: map[string]*account{}}
	add := func(kind string) {
		f, l := first[r.IntN(len(first))], last[r.IntN(len(last))]
		e := event{ID: fmt.Sprintf("%s-%05d", kind, len(s.events)), Kind: kind, Name: f + " " + l, Email: strings.ToLower(f + "." + l + "@example.org")}
		if r.IntN(100) == 0 {
			e.Email = strings.Replace(e.Email, "@", " at ", 1)
		}
		s.events = append(s.events, e)
	}
	for k := range count {
		add(signedUp)
		if k%50 == 49 {
			add(reset)
		}
	}
	for i := range s.events {
		s.byID[s.events[i].ID] = &s.events[i]
	}
	for _, q := range queues {
		s.queues[q.name] = &account{handled: map[string]bool{}, dead: map[string]bool{}, failed: map[string]int{}}
	}
	return s
}

// declare makes the topology through one node; every node has it then.
func (s *story) declare(n *harness.Node) error {
	conn, err := amqp.Dial(n.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		return err
	}
	if err := ch.ExchangeDeclare(deadExchange, "fanout", true, false, false, false, nil); err != nil {
		return err
	}
	for _, q := range queues {
		args := amqp.Table{"x-dead-letter-exchange": deadExchange, "x-delivery-limit": retryLimit}
		if _, err := ch.QueueDeclare(q.name, true, false, false, false, args); err != nil {
			return err
		}
		for _, key := range q.keys {
			if err := ch.QueueBind(q.name, key, exchange, false, nil); err != nil {
				return err
			}
		}
	}
	if _, err := ch.QueueDeclare(deadQueue, true, false, false, false, nil); err != nil {
		return err
	}
	return ch.QueueBind(deadQueue, "", deadExchange, false, nil)
}

func (e *event) publishing() amqp.Publishing {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and a time always marshal
	}
	p := amqp.Publishing{MessageId: e.ID, DeliveryMode: amqp.Persistent, ContentType: "application/json", Body: body}
	if e.Kind == reset {
		p.Priority = urgent
	}
	return p
}

// wants tells whether a queue is bound to the event's key.
func (q *queueSpec) wants(e *event) bool { return q.name != "welcome-email" || e.Kind == signedUp }

func (s *story) confirm(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.lastConfirm.IsZero() {
		s.longestGap = max(s.longestGap, now.Sub(s.lastConfirm))
	}
	s.lastConfirm, s.confirmed[id] = now, true
}

func (s *story) confirmedCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.confirmed)
}

func (s *story) gap() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longestGap
}

// take records that a worker handled an event, and how many routine ones it overtook. An event that comes again is a duplicate, for one of two reasons: the
// broker hands out again what a worker had when its node died, before the ack (and says so: redelivered), or the publisher sent it again because its own node died before
// the confirm. Neither can be told from a loss at the time; so at least once is what a queue can promise, and the id of the event tells a worker.
func (s *story) take(queue, id string, redelivered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEvent = time.Now()
	if s.lose == queue {
		s.lose = ""
		return
	}
	a := s.queues[queue]
	if a.handled[id] {
		a.again(redelivered)
		return
	}
	a.handled[id] = true
	if e := s.byID[id]; e != nil && e.Kind == reset && s.confirmed[id] {
		a.urgentSeen++
		for i := range s.events {
			o := &s.events[i]
			if o == e {
				break
			}
			if o.Kind == signedUp && s.confirmed[o.ID] && !a.handled[o.ID] && !a.dead[o.ID] {
				a.overtaking++
			}
		}
	}
}

func (a *account) again(redelivered bool) {
	if redelivered {
		a.redelivered++
	} else {
		a.copies++
	}
}

// fail records an attempt that failed.
func (s *story) fail(queue, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEvent = time.Now()
	s.queues[queue].failed[id]++
}

// bury records a dead letter and the queue that it came from.
func (s *story) bury(queue, id string, redelivered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastEvent = time.Now()
	a := s.queues[queue]
	if a == nil {
		return
	}
	if a.dead[id] {
		a.again(redelivered)
	}
	a.dead[id] = true
}

// missing lists "queue: id" of confirmed events of which a queue has no trace.
func (s *story) missing() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range queues {
		a := s.queues[q.name]
		for i := range s.events {
			e := &s.events[i]
			if q.wants(e) && !a.handled[e.ID] && !a.dead[e.ID] {
				out = append(out, q.name+": "+e.ID)
			}
		}
	}
	return out
}

// quietBound is how long no worker may report anything before what is missing is taken to be lost.
const quietBound = 5 * time.Second

// awaitAccounted waits until every event has come out of every queue, or nothing comes any more.
func (s *story) awaitAccounted(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The verdict tells what is missing.
	_ = harness.Poll(ctx, func() error {
		m := s.missing()
		if len(m) == 0 {
			return nil
		}
		if s.quiet() {
			cancel()
		}
		return fmt.Errorf("%d events are missing", len(m))
	})
}

func (s *story) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.lastEvent) > quietBound
}
