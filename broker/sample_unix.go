//go:build unix

package broker

import "golang.org/x/sys/unix"

// diskFreeBytes is what an ordinary user may still write below dir, -1 if unknown.
func diskFreeBytes(dir string) int64 {
	var st unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &st) != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// openFilesMax is this process's limit of descriptors, -1 if unknown.
func openFilesMax() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return -1
	}
	return int(min(limit.Cur, 1<<31-1))
}
