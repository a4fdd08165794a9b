package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// soak is fixedRate with a look at every node's resident set meanwhile: with consumers that keep up it levels off.
func soak(ctx context.Context, c *harness.Cluster, o options) error {
	run, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	r := residentSets{c: c, every: max(time.Second, o.duration/30)}
	watching.Go(func() { r.watch(run) })
	err := fixedRate(ctx, c, o)
	cancel()
	watching.Wait()
	r.print()
	return err
}

// residentSets are the resident sets of nodes over time, in bytes.
type residentSets struct {
	c     *harness.Cluster
	every time.Duration
	looks [][]int64 // by time, then by node
}

func (r *residentSets) watch(ctx context.Context) {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		var look []int64
		for _, n := range r.c.Nodes {
			b, err := n.ResidentBytes()
			if err != nil {
				return
			}
			look = append(look, b)
		}
		r.looks = append(r.looks, look)
	}
}

// print compares the mean of the second third with that of the last: the first is the way to the level.
func (r *residentSets) print() {
	third := len(r.looks) / 3
	if third == 0 {
		return
	}
	for k, n := range r.c.Nodes {
		middle, last := r.mean(k, r.looks[third:2*third]), r.mean(k, r.looks[2*third:])
		fmt.Printf("%s resident: %.0f MiB in the second third, %.0f MiB in the last (%+.1f %%)\n", n.Name, middle, last, (last/middle-1)*100)
	}
}

func (r *residentSets) mean(node int, looks [][]int64) (mebibytes float64) {
	for _, look := range looks {
		mebibytes += float64(look[node]) / (1 << 20) / float64(len(looks))
	}
	return mebibytes
}
