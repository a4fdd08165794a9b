package fsm

import "testing"

// BenchmarkCount is what a message pays for each number that is counted for its queue and its virtual host.
func BenchmarkCount(b *testing.B) {
	d := newDriver(b)
	d.declare("q", nil)
	q := d.state.vhosts["/"].queues["q"]
	for b.Loop() {
		d.state.countQueue(q, DeliverCount)
	}
}
