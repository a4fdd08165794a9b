package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// line is what the table tells of one queue: events = handled + dead-lettered + missing, or the verdict is an error.
type line struct {
	queue                               string
	events, handled, dead, missing      int // events
	failedAttempts, redelivered, copies int // deliveries beyond one per event
}

func (l *line) add(o line) {
	l.events, l.handled, l.dead, l.missing = l.events+o.events, l.handled+o.handled, l.dead+o.dead, l.missing+o.missing
	l.failedAttempts, l.redelivered, l.copies = l.failedAttempts+o.failedAttempts, l.redelivered+o.redelivered, l.copies+o.copies
}

// lines accounts for every event in every queue; the last line is the sum.
func (s *story) lines() []line {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := line{queue: "sum"}
	var out []line
	for _, q := range queues {
		a := s.queues[q.name]
		l := line{queue: q.name, redelivered: a.redelivered, copies: a.copies}
		for _, attempts := range a.failed {
			l.failedAttempts += attempts
		}
		for i := range s.events {
			e := &s.events[i]
			if !q.wants(e) {
				continue
			}
			l.events++
			switch {
			case a.handled[e.ID]:
				l.handled++
			case a.dead[e.ID]:
				l.dead++
			default:
				l.missing++
			}
		}
		out = append(out, l)
		sum.add(l)
	}
	return append(out, sum)
}

// print shows what became of every event in every queue.
func (s *story) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "queue\tevents\thandled\tdead-lettered\tmissing\tfailed attempts\tredelivered\tpublished twice\t")
	again := 0
	for _, l := range s.lines() {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", l.queue, l.events, l.handled, l.dead, l.missing, l.failedAttempts, l.redelivered, l.copies)
		again = l.redelivered + l.copies
	}
	t.Flush()
	if again > 0 {
		fmt.Fprintf(w, "%d deliveries were duplicates: redelivered are those whose worker lost its node before the ack, published twice those whose publisher\n"+
			"lost its node before the confirm. Delivery is at least once; the event's id tells them.\n", again)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.queues["verification-email"]; a.urgentSeen > 0 {
		fmt.Fprintf(w, "password resets: %d handled, each overtook %d routine mails on average\n", a.urgentSeen, a.overtaking/a.urgentSeen)
	}
}

// verdict is an error that tells everything that is wrong: events that are missing, dead-lettered for no reason, or mailed to what is no address.
func (s *story) verdict() error {
	var errs []error
	if m := s.missing(); len(m) > 0 {
		errs = append(errs, fmt.Errorf("%d events are MISSING, for example %s", len(m), m[0]))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.events) - len(s.confirmed); n > 0 {
		errs = append(errs, fmt.Errorf("%d events were never confirmed", n))
	}
	for _, q := range queues {
		errs = append(errs, s.faults(&q)...)
	}
	return errors.Join(errs...)
}

// faults are what went wrong with events that are accounted for. Called with mu held.
func (s *story) faults(q *queueSpec) (errs []error) {
	a := s.queues[q.name]
	for id := range a.handled {
		if e := s.byID[id]; e == nil || !q.wants(e) || q.strict && e.malformed() {
			errs = append(errs, fmt.Errorf("%s was handled in %s and should not have been", id, q.name))
		}
	}
	for id := range a.dead {
		if e := s.byID[id]; e == nil || !q.strict || !e.malformed() {
			errs = append(errs, fmt.Errorf("%s was dead-lettered from %s for no reason", id, q.name))
		} else if a.failed[id] <= retryLimit {
			errs = append(errs, fmt.Errorf("%s was dead-lettered from %s after %d attempts, before its limit", id, q.name, a.failed[id]))
		}
	}
	return errs
}
