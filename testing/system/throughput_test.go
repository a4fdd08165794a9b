package system

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// throughput watches how many publishes are confirmed a second.
//
// A load has recovered at the first moment after the heal from which two windows in a row reach 90 % of what was confirmed in quiet: two, as what was in
// flight when a node was struck is confirmed at once after the heal and would fill the first. The machine may be slower than it was before the strike: where
// the pace is not back soon, it is measured again in quiet, and the lower one counts.
type throughput struct {
	mu      sync.Mutex
	samples []paceSample // the latest paceKept
	bases   []int
}

type paceSample struct {
	at     time.Time
	total  int
	byNode map[string]int
}

const (
	paceEvery  = 25 * time.Millisecond
	paceWindow = time.Second
	paceKept   = 8192 // more than three minutes
	paceShare  = 90   // per cent
	paceDoubt  = 6 * time.Second
	paceHang   = 40 * time.Second
)

// watchThroughput samples count until the test ends.
func watchThroughput(t *testing.T, count func() (total int, byNode map[string]int)) *throughput {
	p := &throughput{}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(paceEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				total, byNode := count()
				p.add(paceSample{time.Now(), total, byNode})
			}
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return p
}

func (p *throughput) add(s paceSample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples = append(p.samples, s)
	if len(p.samples) > 2*paceKept {
		p.samples = slices.Delete(p.samples, 0, paceKept)
	}
}

// quiet measures the pace while nothing strikes: the median of three windows.
func (p *throughput) quiet(t *testing.T) int {
	from := time.Now()
	check(t, harness.Poll(within(t, paceHang), func() error {
		if time.Since(from) < 3*paceWindow+2*paceEvery {
			return fmt.Errorf("still measuring")
		}
		return nil
	}))
	p.mu.Lock()
	defer p.mu.Unlock()
	var windows []int
	for k := range 3 {
		windows = append(windows, p.windowLocked(from.Add(time.Duration(k)*paceWindow)))
	}
	slices.Sort(windows)
	p.bases = append(p.bases, windows[1])
	return windows[1]
}

// windowLocked counts what was confirmed in the window that begins at from; -1 while it is not over.
func (p *throughput) windowLocked(from time.Time) int {
	index := func(at time.Time) int {
		i, _ := slices.BinarySearchFunc(p.samples, at, func(s paceSample, at time.Time) int { return s.at.Compare(at) })
		return i
	}
	i, j := index(from), index(from.Add(paceWindow))
	if i >= len(p.samples) || j >= len(p.samples) {
		return -1
	}
	seconds := p.samples[j].at.Sub(p.samples[i].at).Seconds() // a sampler that was late must not count more
	return int(float64(p.samples[j].total-p.samples[i].total) / seconds * paceWindow.Seconds())
}

// backAfter is when, after the heal, the pace was back for good; ok is false when it is not yet.
func (p *throughput) backAfter(healed time.Time, base int) (after time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	enough := base * paceShare / 100
	for from := healed; ; from = from.Add(paceEvery) {
		second := p.windowLocked(from.Add(paceWindow))
		if second < 0 {
			return 0, false
		}
		if second >= enough && p.windowLocked(from) >= enough {
			return from.Sub(healed), true
		}
	}
}

// awaitBack waits for backAfter. It fails the test when that hangs.
func (p *throughput) awaitBack(t *testing.T, healed time.Time, before int) (after time.Duration) {
	t.Helper()
	back := func(base int, bound time.Duration) error {
		return harness.Poll(within(t, bound), func() error {
			var ok bool
			if after, ok = p.backAfter(healed, base); !ok {
				return fmt.Errorf("the pace is not back to 90 %% of %d a second", base)
			}
			return nil
		})
	}
	if back(before, paceDoubt+2*paceWindow) == nil {
		return after
	}
	check(t, back(before/2, paceHang)) // a machine that is slower by half is another machine
	base := min(before, p.quiet(t))
	t.Logf("measured again: %d a second in quiet, %d before the strike", base, before)
	check(t, back(base, paceHang))
	return after
}

// story tells what each node confirmed in each half second after the heal, until now: which of them was late.
func (p *throughput) story(healed time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var text strings.Builder
	last, _ := slices.BinarySearchFunc(p.samples, healed, func(s paceSample, at time.Time) int { return s.at.Compare(at) })
	for i := last; i < len(p.samples); i++ {
		if p.samples[i].at.Sub(p.samples[last].at) < paceWindow/2 {
			continue
		}
		fmt.Fprintf(&text, "  %.1fs", p.samples[i].at.Sub(healed).Seconds())
		for _, node := range slices.Sorted(maps.Keys(p.samples[i].byNode)) {
			fmt.Fprintf(&text, "  %s %d", node, p.samples[i].byNode[node]-p.samples[last].byNode[node])
		}
		text.WriteByte('\n')
		last = i
	}
	return text.String()
}

// String is the range of what quiet measured.
func (p *throughput) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := slices.Sorted(slices.Values(p.bases))
	if len(b) == 0 {
		return "never quiet"
	}
	return fmt.Sprintf("in quiet %d to %d a second, median %d", b[0], b[len(b)-1], b[len(b)/2])
}

// recovery is how long one round's heal took.
type recovery struct {
	name  string
	round int
	after time.Duration
}

// recoveryTable is the distribution by kind of round, and the slowest rounds.
func recoveryTable(all []recovery) string {
	byName := map[string][]recovery{}
	for _, r := range all {
		byName[r.name] = append(byName[r.name], r)
		byName["all"] = append(byName["all"], r)
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(byName[b]), len(byName[a])), cmp.Compare(a, b))
	})
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(w, "ROUNDS\tMEDIAN\tP90\tMAX\tOVER 2s\tSTRIKE")
	for _, name := range names {
		rs := byName[name]
		slices.SortFunc(rs, func(a, b recovery) int { return cmp.Compare(a.after, b.after) })
		at := func(share int) time.Duration {
			return rs[min(len(rs)-1, len(rs)*share/100)].after.Round(10 * time.Millisecond)
		}
		over := 0
		for _, r := range rs {
			if r.after > 2*time.Second {
				over++
			}
		}
		fmt.Fprintf(w, "%d\t%v\t%v\t%v\t%d\t%s\n", len(rs), at(50), at(90), at(100), over, name)
	}
	w.Flush()
	for _, r := range all {
		if r.after > 2*time.Second {
			fmt.Fprintf(&text, "over 2 s: round %d, %s: %v\n", r.round, r.name, r.after.Round(10*time.Millisecond))
		}
	}
	return text.String()
}
