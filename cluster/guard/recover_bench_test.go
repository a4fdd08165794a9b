package guard

import (
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// BenchmarkOpen opens a log of 20,000 entries, each stored by itself, and reads what raft reads at a start: all once for configurations, all once to apply them.
func BenchmarkOpen(b *testing.B) {
	const count = 20_000
	for _, size := range []int{300, 9 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			dir := b.TempDir()
			open := func() (raft.LogStore, func()) {
				inner, err := OpenWAL(dir, 64<<20, hclog.NewNullLogger())
				if err != nil {
					b.Fatal(err)
				}
				logs, err := OpenLogStore(LogStoreConfig{Inner: inner, Dir: dir, WriteBound: WriteBoundDefault, CacheBytes: 32 << 20, Fatal: func(err error) { b.Error(err) }})
				if err != nil {
					b.Fatal(err)
				}
				return logs, func() {
					logs.Close()
					inner.Close()
				}
			}
			logs, end := open()
			for i := uint64(1); i <= count; i++ {
				if err := logs.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, size)}); err != nil {
					b.Fatal(err)
				}
			}
			end()
			b.ReportAllocs()
			for b.Loop() {
				logs, end := open()
				for range 2 {
					for i := uint64(1); i <= count; i++ {
						var l raft.Log
						if err := logs.GetLog(i, &l); err != nil {
							b.Fatal(err)
						}
					}
				}
				end()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/count, "µs/entry")
		})
	}
}
