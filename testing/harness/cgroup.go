package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Cgroup is a control group with a memory limit, of version 1 or 2, whichever has this machine's memory controller. It needs root.
type Cgroup struct {
	dir string
	v2  bool
}

const (
	cgroupV1 = "/sys/fs/cgroup/memory"
	cgroupV2 = "/sys/fs/cgroup"

	groupPrefix = "triagemq-" // the test's process id and the name follow
)

// NewCgroup makes a group; the test removes it, after the processes in it have ended. name tells groups of one test apart.
func NewCgroup(t testing.TB, name string, limitBytes int64) *Cgroup {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: control groups")
	}
	c := &Cgroup{dir: fmt.Sprintf("%s/%s%d-%s", cgroupV1, groupPrefix, os.Getpid(), name)}
	if controllers, err := os.ReadFile(cgroupV2 + "/cgroup.controllers"); err == nil && strings.Contains(string(controllers), "memory") {
		c = &Cgroup{dir: fmt.Sprintf("%s/%s%d-%s", cgroupV2, groupPrefix, os.Getpid(), name), v2: true}
		if err := os.WriteFile(cgroupV2+"/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
			t.Skipf("the memory controller of cgroup v2 is not to be had: %v", err)
		}
	}
	sweep(filepath.Dir(c.dir))
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		t.Skipf("no control groups here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(c.dir); err != nil {
			t.Errorf("removing a control group: %v", err)
		}
	})
	if err := c.SetLimit(limitBytes); err != nil {
		t.Fatal(err)
	}
	return c
}

// sweep removes the groups of test processes that ended without removing them: a time-out runs no Cleanup. A group in which something still runs stays.
func sweep(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		var pid int
		if n, _ := fmt.Sscanf(e.Name(), groupPrefix+"%d-", &pid); n != 1 {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); errors.Is(err, os.ErrNotExist) {
			_ = os.Remove(filepath.Join(parent, e.Name())) // best effort
		}
	}
}

// Host is this machine's loopback, with every process in the group from before its first instruction.
func (c *Cgroup) Host() Host {
	return Host{IP: "127.0.0.1", Run: []string{"sh", "-c", "echo $$ > " + c.dir + `/cgroup.procs && exec "$@"`, "sh"}}
}

// SetLimit changes the limit, also while processes run.
func (c *Cgroup) SetLimit(limitBytes int64) error {
	return os.WriteFile(filepath.Join(c.dir, c.file("memory.limit_in_bytes", "memory.max")), []byte(strconv.FormatInt(limitBytes, 10)), 0)
}

// Kills is how many processes of the group the kernel has killed for want of memory.
func (c *Cgroup) Kills() (int64, error) {
	return c.figure(c.file("memory.oom_control", "memory.events"), "oom_kill")
}

// UsedBytes is what the kernel could not take back without killing: all but the cache of files.
func (c *Cgroup) UsedBytes() (int64, error) {
	b, err := os.ReadFile(filepath.Join(c.dir, c.file("memory.usage_in_bytes", "memory.current")))
	if err != nil {
		return 0, err
	}
	usage, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	inactive, err1 := c.figure("memory.stat", c.file("total_inactive_file", "inactive_file"))
	active, err2 := c.figure("memory.stat", c.file("total_active_file", "active_file"))
	return usage - inactive - active, errors.Join(err, err1, err2)
}

func (c *Cgroup) file(v1, v2 string) string {
	if c.v2 {
		return v2
	}
	return v1
}

func (c *Cgroup) figure(file, key string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, key)
}
