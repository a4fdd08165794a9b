package fsm

import (
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

func TestDelayOf(t *testing.T) {
	for _, c := range []struct {
		value any
		want  int64
	}{
		{int8(7), 7}, {int32(1000), 1000}, {int64(delayMillisMax), delayMillisMax}, {"1500", 1500},
		{int32(0), 0}, {int32(-1000), 0}, {int64(delayMillisMax + 1), 0}, {"soon", 0}, {"-5", 0}, {true, 0}, {nil, 0},
	} {
		if got := delayOf(content.Table{{Name: headerDelay, Value: c.value}}); got != c.want {
			t.Errorf("%v is a delay of %d, want %d", c.value, got, c.want)
		}
	}
	if got := delayOf(nil); got != 0 {
		t.Errorf("no header is a delay of %d", got)
	}
}
