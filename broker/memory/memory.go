// Package memory tells how much memory this process may use and uses, and keeps the Go heap within it.
//
// What kills a process is the limit of its control group, or of one above it, and not what it maps: so a Source reads the limits of all of them (cgroup v1 and
// v2, in containers too, and again each time: orchestrators change limits of running processes) and what is used that the kernel cannot take back. Pages of files
// are left out: the log's and the snapshots' fill any group up to its limit, and are given up when somebody needs the room.
//
// A Source and a Heap belong to one goroutine. Start reading at Source.Read.
package memory

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is what a Source read.
type Usage struct {
	LimitBytes int64 // the least limit of this process's groups, or the machine's memory
	OwnBytes   int64 // anonymous memory of this process that is resident; -1 unknown

	// The group that is nearest to its limit: what all its processes use, the kernel's memory for them included, pages of files not. 0 where no group has a limit.
	GroupUsedBytes, GroupLimitBytes int64
}

// Source finds the figures below a root folder.
type Source struct {
	root         string
	machineBytes int64
	groups       []group
}

// group is one control group on the way from this process's to the root of what it can see.
type group struct {
	dir string
	v2  bool
}

// Open finds this process's control groups; root is "/" but in tests.
func Open(root string) *Source {
	s := &Source{root: root, machineBytes: machineBytes(root)}
	cgroups, _ := os.ReadFile(s.file("/proc/self/cgroup"))
	mounts := s.mounts()
	for line := range strings.Lines(string(cgroups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		v2 := parts[0] == "0"
		if !v2 && !listed(parts[1], "memory") {
			continue
		}
		for _, m := range mounts {
			if m.v2 == v2 {
				s.groups = append(s.groups, s.upwards(m, parts[2])...)
			}
		}
	}
	return s
}

func listed(list, name string) bool { return strings.Contains(","+list+",", ","+name+",") }

func (s *Source) file(path string) string { return filepath.Join(s.root, path) }

// mount is where a hierarchy with the memory controller can be seen, and which of its groups is at the top there.
type mount struct {
	root, point string
	v2          bool
}

// mounts reads /proc/self/mountinfo: ID PARENT DEVICE ROOT POINT OPTIONS [FIELD…] - TYPE SOURCE OPTIONS.
func (s *Source) mounts() (all []mount) {
	b, _ := os.ReadFile(s.file("/proc/self/mountinfo"))
	for line := range strings.Lines(string(b)) {
		before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 {
			continue
		}
		if v2 := right[0] == "cgroup2"; v2 || right[0] == "cgroup" && listed(right[2], "memory") {
			all = append(all, mount{root: left[3], point: left[4], v2: v2})
		}
	}
	return all
}

// upwards lists the groups from path to the top of the mount. In a container path may be as the host sees it, or lie outside of what is mounted: the top of the
// mount is then the container's own group.
func (s *Source) upwards(m mount, path string) (all []group) {
	below, inside := strings.CutPrefix(path, strings.TrimSuffix(m.root, "/"))
	if !inside {
		below = path
	}
	for dir := filepath.Clean("/" + below); ; dir = filepath.Dir(dir) {
		all = append(all, group{dir: s.file(filepath.Join(m.point, dir)), v2: m.v2})
		if dir == "/" {
			return all
		}
	}
}

// Read returns the present figures.
func (s *Source) Read() Usage {
	u := Usage{LimitBytes: s.machineBytes, OwnBytes: s.ownBytes()}
	for _, g := range s.groups {
		limit := g.limitBytes()
		if limit >= s.machineBytes {
			continue
		}
		u.LimitBytes = min(u.LimitBytes, limit)
		used := g.usedBytes()
		if used >= 0 && (u.GroupLimitBytes == 0 || limit-used < u.GroupLimitBytes-u.GroupUsedBytes) {
			u.GroupUsedBytes, u.GroupLimitBytes = used, limit
		}
	}
	return u
}

// limitBytes is math.MaxInt64 where there is none. Above memory.high the kernel slows a group down until it stands still: that is a limit too.
func (g group) limitBytes() int64 {
	if g.v2 {
		return min(number(g.dir, "memory.max"), number(g.dir, "memory.high"))
	}
	return number(g.dir, "memory.limit_in_bytes")
}

// number reads a file of one number; "max", "-1", 0 and no file at all are math.MaxInt64.
func number(dir, file string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}

// usedBytes is -1 where it is unknown.
func (g group) usedBytes() int64 {
	usage, inactive, active := "memory.usage_in_bytes", "total_inactive_file", "total_active_file"
	if g.v2 {
		usage, inactive, active = "memory.current", "inactive_file", "active_file"
	}
	used := number(g.dir, usage)
	stat, err := os.ReadFile(filepath.Join(g.dir, "memory.stat"))
	if err != nil || used == math.MaxInt64 {
		return -1
	}
	for line := range strings.Lines(string(stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == inactive || name == active || g.v2 && name == "slab_reclaimable" {
			n, _ := strconv.ParseInt(value, 10, 64)
			used -= n
		}
	}
	return max(used, 0)
}

// ownBytes is the resident set less what it shares: mapped files and the program itself.
func (s *Source) ownBytes() int64 {
	b, err := os.ReadFile(s.file("/proc/self/statm"))
	fields := bytes.Fields(b)
	if err != nil || len(fields) < 3 {
		return -1
	}
	resident, err := strconv.ParseInt(string(fields[1]), 10, 64)
	shared, err2 := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil || err2 != nil {
		return -1
	}
	return (resident - shared) * int64(os.Getpagesize())
}

// machineBytes is MemTotal; where it cannot be read, 1 GiB, so that a watermark exists.
func machineBytes(root string) int64 {
	const fallback = 1 << 30
	b, err := os.ReadFile(filepath.Join(root, "/proc/meminfo"))
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
