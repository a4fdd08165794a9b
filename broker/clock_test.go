package broker

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// jumpyClock is the machine's wall clock plus an offset that tests move.
type jumpyClock struct{ offset atomic.Int64 }

func (c *jumpyClock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *jumpyClock) jump(d time.Duration) { c.offset.Store(int64(d)) }

const toYear2099 = 99 * 365 * 24 * time.Hour

// TestLeaderClockSlews: whatever target the clock is steered to, it advances by 1 % more or less than real time, never backwards, never standing still.
func TestLeaderClockSlews(t *testing.T) {
	for _, target := range []time.Duration{toYear2099, -toYear2099, time.Millisecond, -2 * time.Second, 0} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now().UnixMilli()
			c := newLeaderClock(start)
			last := start
			for range 1000 {
				c.steer(time.Now().Add(target).UnixMilli())
				time.Sleep(time.Second)
				now := c.nowMillis()
				if step := now - last; step < 989 || step > 1011 {
					t.Fatalf("target %v: a second of the virtual clock took %d ms", target, step)
				}
				last = now
			}
			real := time.Now().UnixMilli() - start
			if off := last - start - real; target == -2*time.Second && (off > -1900 || off < -2000) {
				t.Errorf("steered to -2 s, arrived at %d ms", off)
			}
		})
	}
}

func TestLeaderClockKeepsFractions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := newLeaderClock(start.UnixMilli())
		for range 100_000 {
			time.Sleep(1500 * time.Nanosecond)
			c.nowMillis()
		}
		if got, want := c.nowMillis()-start.UnixMilli(), time.Since(start).Milliseconds(); got != want {
			t.Errorf("%d ms after many short looks, want %d", got, want)
		}
	})
}

func TestMedianIsNeverAhead(t *testing.T) {
	for _, c := range []struct {
		in   []int64
		want int64
	}{{[]int64{5}, 5}, {[]int64{9, 5}, 5}, {[]int64{1, 9, 5}, 5}, {[]int64{9, 1, 5, 7}, 5}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v: %d, want %d", c.in, got, c.want)
		}
	}
}

// TestClockJump runs a cluster whose first leader's clock goes to 2099 and back. Time in the log keeps to real time throughout, over changes of leader too, and
// the leader hands over once.
func TestClockJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clocks := make([]jumpyClock, 3)
		c := newMemCluster(t, 3, func(i int) Config {
			cfg := memConfig(i)
			cfg.Clock = &clocks[i]
			return cfg
		})
		defer c.close()
		defer c.live()()
		lead := func(i int) {
			c.step.Lock()
			c.elect(i, 1<<30)
			c.step.Unlock()
		}
		start := time.Now()
		var last int64
		run := func(what string, seconds int, slack time.Duration) {
			for range seconds {
				time.Sleep(time.Second)
				leader := c.leads()
				if leader < 0 {
					continue
				}
				d := c.nodes[leader].node.dutiesNow.Load()
				now := d.clock.nowMillis()
				off := time.Duration(now-start.UnixMilli())*time.Millisecond - time.Since(start)
				if now < last || max(off, -off) > slack {
					t.Fatalf("%s: the virtual clock is off by %v (from %d to %d)", what, off, last, now)
				}
				last = now
			}
		}
		lead(0)
		run("at rest", 20, time.Second)
		clocks[0].jump(toYear2099)
		run("leader in 2099", 100, 3*time.Second)
		if c.leads() == 0 {
			t.Error("a leader whose clock is in 2099 did not hand over")
		}
		lead(0)
		run("elected again in 2099", 100, 3*time.Second)
		if c.leads() != 0 {
			t.Error("leadership wanders: handed over twice within the hour")
		}
		clocks[0].jump(0)
		run("back", 100, 3*time.Second)
		lead(1)
		run("next leader", 20, 3*time.Second)
	})
}

// TestClockColdStart: the first leader after a start, its clock in 2099, asks the others before it stamps anything.
func TestClockColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clocks := make([]jumpyClock, 3)
		clocks[0].jump(toYear2099)
		c := newMemCluster(t, 3, func(i int) Config {
			cfg := memConfig(i)
			cfg.Clock = &clocks[i]
			return cfg
		})
		defer c.close()
		synctest.Wait()
		c.step.Lock() // or it might have handed over already
		c.elect(0, 0)
		d := c.nodes[0].node.dutiesNow.Load()
		c.step.Unlock()
		if off := d.clock.nowMillis() - time.Now().UnixMilli(); max(off, -off) > 1000 {
			t.Errorf("the first stamp would be off by %d ms", off)
		}
	})
}
