package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print shows what became of every event in every queue.
func (s *story) print(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "queue\tevents\thandled\tfailed attempts\tdead-lettered\tduplicates\tmissing\t")
	for _, q := range queues {
		a := s.queues[q.name]
		events, missing := 0, 0
		for i := range s.events {
			e := &s.events[i]
			if !q.wants(e) {
				continue
			}
			events++
			if !a.handled[e.ID] && !a.dead[e.ID] {
				missing++
			}
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", q.name, events, len(a.handled), a.retried, len(a.dead), a.duplicates, missing)
	}
	t.Flush()
	if a := s.queues["verification-email"]; a.urgentSeen > 0 {
		fmt.Printf("password resets: %d handled, each overtook %d routine mails on average\n", a.urgentSeen, a.overtaking/a.urgentSeen)
	}
}

// verdict is an error when an event is missing, was handled in the wrong place, or a malformed address was mailed.
func (s *story) verdict() error {
	if m := s.missing(); len(m) > 0 {
		return fmt.Errorf("%d events are missing, for example %s", len(m), m[0])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range queues {
		a := s.queues[q.name]
		for id := range a.dead {
			if e := s.byID[id]; e == nil || !q.strict || !e.malformed() {
				return fmt.Errorf("%s was dead-lettered from %s for no reason", id, q.name)
			}
		}
	}
	return nil
}
