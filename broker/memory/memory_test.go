package memory

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var _ flag.Value = (*Watermark)(nil)

// write makes the files of a machine below a folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	mountV1 = "30 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
	mountV2 = "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
)

func TestSource(t *testing.T) {
	with := func(files ...string) map[string]string {
		all := map[string]string{"proc/meminfo": "MemFree: 1 kB\nMemTotal:       4096 kB\n", "proc/self/statm": "9000 300 100 1 0 1 0\n"}
		for i := 0; i < len(files); i += 2 {
			all[files[i]] = files[i+1]
		}
		return all
	}
	const own = 200 * 4096
	for name, c := range map[string]struct {
		files map[string]string
		want  Usage
	}{
		"no groups":           {with(), Usage{LimitBytes: 4 << 20, OwnBytes: own}},
		"nothing can be read": {map[string]string{}, Usage{LimitBytes: 1 << 30, OwnBytes: -1}},
		"v2": {with("proc/self/mountinfo", mountV2, "proc/self/cgroup", "0::/system.slice/x.service\n",
			"sys/fs/cgroup/system.slice/x.service/memory.max", "2097152\n", "sys/fs/cgroup/system.slice/x.service/memory.current", "1500000\n",
			"sys/fs/cgroup/system.slice/x.service/memory.stat", "anon 5\ninactive_file 100000\nactive_file 200000\nslab_reclaimable 1000\n"),
			Usage{2097152, own, 1199000, 2097152}},
		"v2 high": {with("proc/self/mountinfo", mountV2, "proc/self/cgroup", "0::/a\n", "sys/fs/cgroup/a/memory.max", "max\n", "sys/fs/cgroup/a/memory.high", "1048576\n"),
			Usage{LimitBytes: 1048576, OwnBytes: own}},
		"v2 no limit": {with("proc/self/mountinfo", mountV2, "proc/self/cgroup", "0::/a\n", "sys/fs/cgroup/a/memory.max", "max\n"), Usage{LimitBytes: 4 << 20, OwnBytes: own}},
		"v2 nested, the upper group is the tighter one": {with("proc/self/mountinfo", mountV2, "proc/self/cgroup", "0::/pod/box\n",
			"sys/fs/cgroup/pod/box/memory.max", "3000000", "sys/fs/cgroup/pod/box/memory.current", "1000000", "sys/fs/cgroup/pod/box/memory.stat", "",
			"sys/fs/cgroup/pod/memory.max", "2000000", "sys/fs/cgroup/pod/memory.current", "1900000", "sys/fs/cgroup/pod/memory.stat", ""),
			Usage{2000000, own, 1900000, 2000000}},
		"v1": {with("proc/self/mountinfo", mountV1, "proc/self/cgroup", "5:cpu:/else\n4:memory:/a/b\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000000\n",
			"sys/fs/cgroup/memory/a/memory.usage_in_bytes", "900000\n", "sys/fs/cgroup/memory/a/memory.stat", "inactive_file 7\ntotal_inactive_file 100\ntotal_active_file 200\n"),
			Usage{2000000, own, 899700, 2000000}},
		"a container that sees the host's path": {with("proc/self/mountinfo", strings.ReplaceAll(mountV1, " / /sys/fs/cgroup/memory", " /docker/4711 /sys/fs/cgroup/memory"),
			"proc/self/cgroup", "4:memory:/docker/4711/sub\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n", "sys/fs/cgroup/memory/sub/memory.limit_in_bytes", "2000000\n"),
			Usage{LimitBytes: 2000000, OwnBytes: own}},
		"a container whose path lies outside": {with("proc/self/mountinfo", mountV2, "proc/self/cgroup", "0::/../../pod/box\n", "sys/fs/cgroup/memory.max", "2000000\n"),
			Usage{LimitBytes: 2000000, OwnBytes: own}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Open(write(t, c.files)).Read(); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// TestLimitChanges: orchestrators resize groups of running processes.
func TestLimitChanges(t *testing.T) {
	root := write(t, map[string]string{"proc/self/mountinfo": mountV2, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "3000000"})
	s := Open(root)
	if got := s.Read().LimitBytes; got != 3000000 {
		t.Errorf("%d", got)
	}
	if err := os.WriteFile(filepath.Join(root, "sys/fs/cgroup/a/memory.max"), []byte("1000000"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := s.Read().LimitBytes; got != 1000000 {
		t.Errorf("after the change %d", got)
	}
}

func TestThisMachine(t *testing.T) {
	if u := Open("/").Read(); u.OwnBytes < 1<<20 || u.LimitBytes < u.OwnBytes {
		t.Errorf("%+v", u)
	}
}

func TestWatermark(t *testing.T) {
	for text, want := range map[string]int64{
		"0.6": 600 << 20, "0.05": 50 << 20, "512MiB": 512 << 20, "1MB": 0, "2MB": 2e6, "0.5GiB": 512 << 20, "2GiB": 872 << 20, "0.95": 872 << 20, "104857600": 100 << 20,
		"0": 0, "0.04": 0, "0.96": 0, "1": 0, "-1": 0, "x": 0, "": 0, "NaN": 0, "Inf": 0, "1e30": 0, "512M": 0,
	} {
		var w Watermark
		err := w.Set(text)
		if (err == nil) != (want != 0) || want != 0 && w.Of(1000<<20) != want {
			t.Errorf("%q: %v, %d of 1000 MiB, want %d", text, err, w.Of(1000<<20), want)
		}
		var again Watermark
		if err == nil && (again.Set(w.String()) != nil || again != w) {
			t.Errorf("%q writes itself as %q", text, w.String())
		}
	}
	if (Watermark{}).Validate() == nil {
		t.Error("no watermark at all is valid")
	}
}

func TestHeadroom(t *testing.T) {
	w := Watermark{Share: 0.6}
	for limit, want := range map[int64]int64{64 << 20: 32 << 20, 256 << 20: 128 << 20, 512 << 20: 512 << 20 / 10 * 6, 1 << 40: 1 << 40 / 10 * 6} {
		if got := w.Of(limit); got < want || got > want+16 {
			t.Errorf("of %d: %d, want %d", limit, got, want)
		}
	}
}

func TestHeapLimit(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		own, mapped, live, want int64 // MiB
	}{
		"what bodies leave of the watermark": {own: 100, mapped: 40, live: 20, want: 600 - 60},
		"bodies above the watermark":         {own: 660, mapped: 40, live: 20, want: 20 + 5 + 16},
		"the process's limit is near":        {own: 900, mapped: 60, live: 40, want: 900 - 840},
		"the process's limit is reached":     {own: 950, mapped: 50, live: 40, want: 40 + 4},
	} {
		if got := heapLimit(Usage{LimitBytes: 1000 * mib, OwnBytes: c.own * mib}, 600*mib, c.mapped*mib, c.live*mib) / mib; got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
