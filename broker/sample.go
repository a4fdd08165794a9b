package broker

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	sampleEvery = time.Second
	// An alarm ends only when there is some way back to its limit, so that it does not flutter.
	memoryClearPercent = 95
	diskClearPercent   = 110
)

// sample looks at memory and disk once a second and raises this node's alarms.
func (n *Node) sample(ctx context.Context) {
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	for {
		resident, free := n.measure()
		a := n.judge(n.flow.ownAlarms(), resident, free, n.LiveBytes())
		if n.flow.sampled(a) {
			n.logger.Warn("alarms changed: publishers are held on all nodes while one stands", "alarms", a.String(),
				"resident_bytes", resident, "resident_limit_bytes", n.cfg.MemoryWatermarkBytes,
				"data_dir", n.cfg.DataDir, "free_bytes", free, "free_needed_bytes", n.cfg.DiskFreeLowBytes+n.LiveBytes())
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// judge applies the limits with their hysteresis; -1 stands for an unknown figure, which leaves its alarm as it is. The disk has to have room for a snapshot of
// the live state beside what the log needs.
func (n *Node) judge(before alarms, residentBytes, freeBytes, liveBytes int64) alarms {
	a := before
	limit := n.cfg.MemoryWatermarkBytes
	switch {
	case residentBytes < 0:
	case residentBytes > limit:
		a |= alarmMemory
	case residentBytes <= limit/100*memoryClearPercent:
		a &^= alarmMemory
	}
	limit = n.cfg.DiskFreeLowBytes + liveBytes
	switch {
	case n.cfg.DiskFreeLowBytes == 0 || freeBytes < 0:
	case freeBytes < limit:
		a |= alarmDisk
	case freeBytes >= limit/100*diskClearPercent:
		a &^= alarmDisk
	}
	return a
}

// residentBytes is the resident set of this process, -1 if unknown.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return -1
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return -1
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return -1
	}
	return pages * int64(os.Getpagesize())
}

// MemoryShareBytes is a share of the memory that this process may use: the lowest limit of its cgroup and those above it, or the machine's memory.
func MemoryShareBytes(share float64) int64 {
	limit := machineBytes()
	cgroups, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(cgroups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0": // cgroup v2
			limit = min(limit, cgroupLimit("/sys/fs/cgroup", parts[2], "memory.max"))
		case strings.Contains(","+parts[1]+",", ",memory,"):
			limit = min(limit, cgroupLimit("/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	return int64(float64(limit) * share)
}

// cgroupLimit is the lowest limit from a cgroup up to the root. Inside a container the path may not exist below the mount, but the mount's root does.
func cgroupLimit(mount, path, file string) int64 {
	limit := int64(math.MaxInt64)
	for dir := filepath.Clean("/" + path); ; dir = filepath.Dir(dir) {
		if b, err := os.ReadFile(filepath.Join(mount, dir, file)); err == nil {
			if v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && v > 0 {
				limit = min(limit, v)
			}
		}
		if dir == "/" {
			return limit
		}
	}
}

// machineBytes is MemTotal; where /proc cannot be read, 1 GiB, so that a watermark exists.
func machineBytes() int64 {
	const fallback = 1 << 30
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return fallback
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return fallback
}
