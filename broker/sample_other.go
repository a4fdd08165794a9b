//go:build !unix

package broker

// diskFreeBytes is unknown here: the disk alarm never fires.
func diskFreeBytes(string) int64 { return -1 }

// openFilesMax is unknown here.
func openFilesMax() int { return -1 }
