package main

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/triagemq/triagemq/testing/harness"
)

// tookSnapshot is the nodes' log line, at level debug.
var tookSnapshot = regexp.MustCompile(`took a snapshot: seconds=(\S+) apply_paused_seconds=(\S+)`)

// reportSnapshots tells what snapshots cost, from the nodes' logs.
func reportSnapshots(c *harness.Cluster) error {
	count := 0
	var longest, pause float64
	for _, n := range c.Nodes {
		f, err := os.Open(n.LogFile())
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			m := tookSnapshot.FindStringSubmatch(lines.Text())
			if m == nil {
				continue
			}
			took, err1 := strconv.ParseFloat(m[1], 64)
			paused, err2 := strconv.ParseFloat(m[2], 64)
			if err1 != nil || err2 != nil {
				continue
			}
			count, longest, pause = count+1, max(longest, took), max(pause, paused)
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return err
		}
	}
	seconds := func(s float64) time.Duration {
		return time.Duration(s * float64(time.Second)).Round(10 * time.Microsecond)
	}
	fmt.Printf("%d snapshots on all nodes: the longest took %v, apply stood still for at most %v\n", count, seconds(longest), seconds(pause))
	return nil
}
