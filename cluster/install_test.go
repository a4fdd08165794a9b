package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLogIsKeptForAnInstall: while a snapshot is on its way, and a while longer, compaction spares the log behind it; not for ever, and not on a full disk.
func TestLogIsKeptForAnInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := logUsage{threshold: 1 << 40, trailingBytes: 64 << 20, trailingTime: time.Second, due: make(chan struct{}, 1)}
		for i := uint64(1); i <= 2000; i++ {
			u.add(i, 64<<10, time.Now(), func() int64 { return 0 })
		}
		want := func(what string, low, high uint64) {
			t.Helper()
			if got := u.trailing(2000, time.Now()); got < low || got > high {
				t.Errorf("%s: %d entries are kept, want %d to %d", what, got, low, high)
			}
		}
		want("no install", 1000, 1100)
		end := u.installs.begin("a", 500)
		other := u.installs.begin("b", 300)
		time.Sleep(time.Hour)
		want("under way", 1700, 1700)
		other(false)
		want("one failed", 1500, 1500)
		end(true)
		time.Sleep(installGrace)
		want("installed", 1500, 1500)
		u.tight.Store(true)
		want("installed, on a full disk", 16, 16)
		u.tight.Store(false)
		time.Sleep(time.Second)
		want("over", 16, 1100)
		older, newer := u.installs.begin("a", 100), u.installs.begin("a", 900)
		older(false)
		want("a second attempt", 1100, 1100)
		newer(true)
	})
}
