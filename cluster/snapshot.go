package cluster

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/triagemq/triagemq/cluster/guard"
)

// Raft counts entries, and an entry is anything from 100 bytes to 32 MiB. So its own policy is off, and this one counts bytes: a snapshot is taken when more
// than max(SnapshotBytes, LiveBytes) were applied since the last, each entry counted as entryCost more than it has, which bounds both the time of a restart
// and the share of writing that snapshots take; and
// behind it stays the least of TrailingTime of traffic and TrailingBytes, for a follower that was away for seconds: an install would disconnect its
// clients. The bytes are translated into raft's entries right before each snapshot.

// logUsage knows how many bytes were applied, when, and up to which index.
type logUsage struct {
	threshold     int64 // least bytes between snapshots
	trailingBytes int64
	trailingTime  time.Duration
	due           chan struct{} // a snapshot is due; capacity 1
	installs      installs
	tight         atomic.Bool // the disk is nearly full: keep no more of the log than must be

	mu      sync.Mutex // guards what follows
	since   int64      // bytes applied since the last snapshot, with entryCost for each entry
	forced  bool       // one was asked for, whatever was applied
	asked   int64      // since, when LiveBytes was asked last
	live    int64      // its answer
	before  int64      // its answer at the last snapshot
	total   int64      // bytes applied in this process
	samples []usageSample
}

type usageSample struct {
	index uint64
	total int64
	at    time.Time
}

const (
	// entryCost is what the smallest entry costs a restart, in bytes of state that are restored in the same time.
	entryCost           = 2 << 10
	sampleBytes         = 1 << 20
	sampleInterval      = time.Second
	trailingLogsAtStart = 1 << 20 // until the first snapshot of this process sets it by bytes
	snapshotRetry       = 5 * time.Second
)

// add counts an applied entry. liveBytes is asked about once per sampleBytes, on the apply goroutine.
func (u *logUsage) add(index uint64, size int, now time.Time, liveBytes func() int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since += int64(size) + entryCost
	u.total += int64(size)
	if n := len(u.samples); n == 0 || u.total-u.samples[n-1].total >= sampleBytes || now.Sub(u.samples[n-1].at) >= sampleInterval {
		u.samples = append(u.samples, usageSample{index, u.total, now})
		u.forgetLocked(now)
	}
	if u.since <= u.threshold {
		return
	}
	if u.live == 0 || u.since-u.asked >= sampleBytes {
		u.asked, u.live = u.since, liveBytes()
	}
	if u.since > u.live {
		u.signal()
	}
}

func (u *logUsage) signal() {
	select {
	case u.due <- struct{}{}:
	default:
	}
}

// ask asks for a snapshot now.
func (u *logUsage) ask() {
	u.mu.Lock()
	u.forced = true
	u.mu.Unlock()
	u.signal()
}

// forgetLocked drops samples that no trailing log will reach back to; the last one dropped bounds the first one kept.
func (u *logUsage) forgetLocked(now time.Time) {
	old := 0
	for old+1 < len(u.samples) && u.beyondLocked(u.samples[old+1], now) {
		old++
	}
	u.samples = append(u.samples[:0], u.samples[old:]...)
}

func (u *logUsage) beyondLocked(s usageSample, now time.Time) bool {
	return now.Sub(s.at) > u.trailingTime || u.total-s.total > u.trailingBytes
}

// frozen starts counting anew: what was applied so far is in a snapshot of a state of that size, as the Machine estimates it.
func (u *logUsage) frozen(liveBytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since, u.asked, u.live, u.forced, u.before = 0, 0, 0, false, liveBytes
}

// notFrozen takes frozen back when the snapshot came to nothing.
func (u *logUsage) notFrozen(since int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since = max(u.since, since)
}

// overdue reports whether a snapshot is still due, as far as is known without asking the Machine.
func (u *logUsage) overdue() (since int64, yes bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.since, u.forced || u.since > max(u.threshold, u.live)
}

// frees estimates by how many bytes a snapshot of a state of that size would make log and snapshots smaller.
func (u *logUsage) frees(liveBytes int64) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.since + u.before - liveBytes
}

// trailing is how many entries to keep behind the last one.
func (u *logUsage) trailing(last uint64, now time.Time) uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forgetLocked(now)
	if u.tight.Load() {
		return guard.TrailingLogsMin
	}
	keep := uint64(guard.TrailingLogsMin)
	if len(u.samples) > 0 && last >= u.samples[0].index {
		keep = max(keep, last-u.samples[0].index)
	}
	if from, ok := u.installs.least(now); ok && last > from {
		keep = max(keep, last-from)
	}
	return keep
}

// takeSnapshots takes a snapshot when one is due, and tries again when it fails: the disk may be full for a while, and the log keeps everything meanwhile.
func (g *Group) takeSnapshots() {
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.fsm.usage.due:
		}
		since, overdue := g.fsm.usage.overdue()
		for overdue && g.ctx.Err() == nil {
			err := g.takeSnapshot()
			if err == nil {
				break
			}
			g.fsm.usage.notFrozen(since)
			g.log.Warn("cannot take a snapshot; trying again", "error", err, "retry_in", snapshotRetry)
			select {
			case <-g.ctx.Done():
			case <-time.After(snapshotRetry):
			}
			since, overdue = g.fsm.usage.overdue()
		}
	}
}

func (g *Group) takeSnapshot() error {
	if err := g.roomForSnapshot(); err != nil {
		return err
	}
	r := g.instance().raft
	conf := r.ReloadableConfig()
	conf.TrailingLogs = g.fsm.usage.trailing(r.LastIndex(), time.Now())
	if err := r.ReloadConfig(conf); err != nil {
		return err
	}
	start := time.Now()
	err := r.Snapshot().Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil
	}
	if err == nil {
		g.log.Debug("took a snapshot", "seconds", time.Since(start).Seconds(), "apply_paused_seconds", time.Duration(g.fsm.paused.Load()).Seconds(), "trailing_entries", conf.TrailingLogs)
	}
	return err
}
