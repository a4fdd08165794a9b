package main

import (
	"strings"
	"testing"
)

// perfect is a story in which everything went as it should.
func perfect() *story {
	s := newStory(200)
	for i := range s.events {
		e := &s.events[i]
		s.confirm(e.ID)
		for _, q := range queues {
			switch {
			case !q.wants(e):
			case q.strict && e.malformed():
				for range retryLimit + 1 {
					s.fail(q.name, e.ID)
				}
				s.bury(q.name, e.ID, false)
			default:
				s.take(q.name, e.ID, false)
			}
		}
	}
	return s
}

// TestVerdict breaks a perfect story in every way that the demo is there to notice.
func TestVerdict(t *testing.T) {
	if err := perfect().verdict(); err != nil {
		t.Fatalf("a perfect story: %v", err)
	}
	s := perfect()
	var good, bad string
	for i := range s.events {
		if e := &s.events[i]; e.malformed() && e.Kind == signedUp {
			bad = e.ID
		} else if e.Kind == signedUp {
			good = e.ID
		}
	}
	for want, ruin := range map[string]func(s *story){
		"MISSING, for example analytics: " + good: func(s *story) { delete(s.queues["analytics"].handled, good) },
		"MISSING, for example welcome-email":      func(s *story) { delete(s.queues["welcome-email"].dead, bad) },
		"never confirmed":                         func(s *story) { delete(s.confirmed, good) },
		"dead-lettered from analytics":            func(s *story) { s.bury("analytics", good, false) },
		"after 3 attempts":                        func(s *story) { s.queues["welcome-email"].failed[bad] = retryLimit },
		"handled in welcome-email":                func(s *story) { s.take("welcome-email", bad, false) },
	} {
		s := perfect()
		ruin(s)
		if err := s.verdict(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestTableAddsUp: each line accounts for its events, and duplicates do not count twice.
func TestTableAddsUp(t *testing.T) {
	s := perfect()
	id := s.events[0].ID
	s.take("analytics", id, true)
	s.take("analytics", id, false)
	for _, l := range s.lines() {
		if l.events == 0 || l.events != l.handled+l.dead || l.missing != 0 {
			t.Errorf("%+v does not add up", l)
		}
		if l.queue == "analytics" && (l.redelivered != 1 || l.copies != 1) {
			t.Errorf("%+v: want one redelivered and one published twice", l)
		}
	}
}
