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
