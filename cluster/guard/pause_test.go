package guard

import (
	"testing"
	"time"
)

func TestPauseIsNoHang(t *testing.T) {
	start := time.Now()
	age := runningTime{slice: 250 * time.Millisecond, last: start}
	now := start
	for range 4 {
		now = now.Add(250 * time.Millisecond)
		age.at(now)
	}
	now = now.Add(20 * time.Second) // SIGSTOP, SIGCONT
	if ran := age.at(now); ran != 1500*time.Millisecond {
		t.Errorf("a pause of 20 s in the second second of a write counts as %v, want 1.5s in all", ran)
	}
	for range 14 {
		now = now.Add(250 * time.Millisecond)
		age.at(now)
	}
	if ran := age.at(now); ran < 5*time.Second {
		t.Errorf("a write that hangs on after a pause is %v old, want 5s", ran)
	}
}
