package broker

import (
	"testing"
	"time"

	"github.com/triagemq/triagemq/broker/memory"
)

func TestShortage(t *testing.T) {
	const mib = 1 << 20
	at := time.Unix(1000, 0)
	var s shortage
	for _, step := range []struct {
		ownMiB int64
		after  time.Duration
		short  bool
	}{
		{100, 0, false}, {207, 0, false}, // the watermark is 160, the second threshold 208
		{209, 0, false}, {231, 200 * time.Millisecond, false}, // what is on its way passes
		{200, 0, false}, {209, 100 * time.Millisecond, false}, {209, 300 * time.Millisecond, true}, {230, 0, true},
		{208, 0, false}, {233, 0, true}, {200, 0, false}, {-1, 0, false}, // 232 is three quarters of the way
	} {
		at = at.Add(step.after)
		m := measurement{memory: memory.Usage{LimitBytes: 256 * mib, OwnBytes: step.ownMiB * mib}, watermarkBytes: 160 * mib}
		if got := s.judge(&m, at); got != step.short {
			t.Errorf("at %d MiB after %v: short is %v", step.ownMiB, step.after, got)
		}
	}
}
