package broker

import (
	"slices"
	"sync"
	"time"
)

// Clock is the wall clock, which may jump. Elapsed time always comes from the monotonic clock and needs no seam.
type Clock interface {
	Now() time.Time
}

// SystemClock is the machine's.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() time.Time { return time.Now() }

const (
	slewPPMMax    = 10_000           // 1 %
	slewHorizon   = 30 * time.Second // an offset is worked off over this, within slewPPMMax
	clockFarOff   = 10 * time.Second // a leader's wall clock this far off the median hands over
	handOverEvery = time.Hour
)

// leaderClock is the virtual clock that a leader stamps entries with, in Unix microseconds. Within a term it follows the monotonic clock alone, steered
// gently: a wall clock that jumps changes its speed by 1 % and nothing else, so a jump to 2099 expires nothing early, and its correction does not stop time.
type leaderClock struct {
	mu      sync.Mutex
	micros  int64
	at      time.Time // when micros was true; its monotonic reading counts
	slewPPM int64
}

func newLeaderClock(startMillis int64) *leaderClock {
	return &leaderClock{micros: startMillis * 1000, at: time.Now()}
}

// advance brings micros up to now. Time never runs backwards: the slew is far below 100 %.
func (c *leaderClock) advance() {
	now := time.Now()
	elapsed := max(0, now.Sub(c.at).Microseconds())
	c.at = c.at.Add(time.Duration(elapsed) * time.Microsecond) // the remainder below a microsecond stays
	c.micros += elapsed + elapsed/1000*c.slewPPM/1000
}

// nowMillis is the virtual time.
func (c *leaderClock) nowMillis() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	return c.micros / 1000
}

// steer sets the speed so that the clock approaches targetMillis.
func (c *leaderClock) steer(targetMillis int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance()
	offsetMillis := targetMillis - c.micros/1000
	ppm := offsetMillis * 1_000_000 / slewHorizon.Milliseconds()
	c.slewPPM = min(max(ppm, -slewPPMMax), slewPPMMax)
}

// wallClocks is what this node knows of the members' wall clocks: readings, with the local monotonic time at which they came.
type wallClocks struct {
	mu       sync.Mutex
	readings map[string]wallReading
}

type wallReading struct {
	millis int64
	at     time.Time
}

// readingAgeMax is how long a reading is carried forward: a clock that was corrected since is heard of far sooner.
const readingAgeMax = 10 * time.Minute

func (w *wallClocks) heard(node string, millis int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.readings == nil {
		w.readings = map[string]wallReading{}
	}
	w.readings[node] = wallReading{millis: millis, at: time.Now()}
}

// known are the present wall times of nodes, as far as their readings are fresh.
func (w *wallClocks) known(nodes []string) map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	millis := make(map[string]int64, len(nodes))
	for _, node := range nodes {
		if r, ok := w.readings[node]; ok && now.Sub(r.at) <= readingAgeMax {
			millis[node] = r.millis + now.Sub(r.at).Milliseconds()
		}
	}
	return millis
}

// median is the middle one, the lower of two: a clock that is ahead expires what should live, one that is behind only delays.
func median(millis []int64) int64 {
	sorted := slices.Sorted(slices.Values(millis))
	return sorted[(len(sorted)-1)/2]
}
