// Package arena lends memory for message contents from outside the Go heap: the garbage collector neither scans it nor counts it towards
// its next cycle, so gigabytes of backlog cost it nothing, and what is freed goes back to the operating system at once.
//
// It is for the chunks of fsm/store alone: blocks of 256 KiB, and larger ones for large contents. It is no allocator for small things.
//
// Memory is mapped in regions of 64 MiB and lent in units of 64 KiB; unused pages of a block are never touched and so never resident.
// Few mappings are needed whatever is freed in whatever order (Linux allows a process 65,530 of them). A mutex guards all state; there are
// no goroutines. On systems without mmap the Go heap serves instead (arena_other.go). Start reading at Alloc.
package arena

import "github.com/triagemq/triagemq/fsm/store"

// Stats are figures for metrics and the memory alarm.
type Stats struct {
	LentBytes   int64 // blocks that are lent, in whole units
	WarmBytes   int64 // freed chunks kept resident for the next Alloc
	MappedBytes int64 // address space; most of what is neither lent nor warm is not resident
}

var _ store.Chunks = (*Arena)(nil)
