package amqp

import "testing"

// TestConfirmsOutOfOrder: next follows whatever was told, in whatever order.
func TestConfirmsOutOfOrder(t *testing.T) {
	var r confirmRun
	for _, step := range []struct{ first, last, next uint64 }{
		{2, 2, 0}, {4, 5, 0}, {1, 1, 3}, {7, 7, 3}, {3, 3, 6}, {6, 6, 8}, {8, 20, 21},
	} {
		r.told(step.first, step.last)
		if r.next != step.next {
			t.Fatalf("after %d to %d the lowest open number is %d, want %d", step.first, step.last, r.next, step.next)
		}
	}
	if len(r.early) > 0 {
		t.Errorf("%v are still remembered", r.early)
	}
	for n := uint64(22); n < 22+2*earlyConfirmsMax; n++ {
		r.told(n, n)
	}
	if len(r.early) != earlyConfirmsMax {
		t.Errorf("%d early confirms are remembered", len(r.early))
	}
}
