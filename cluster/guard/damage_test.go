package guard

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// damageEntries are in the logs that these tests damage: in raft-wal some ten sealed segments and a tail.
const damageEntries = 400

func filler(from, to uint64) []*raft.Log {
	logs := entries("entry", 1, from, to)
	for _, l := range logs {
		l.Data, l.Extensions = append(l.Data, bytes.Repeat([]byte{byte('a' + l.Index%26)}, 120)...), nil
	}
	if err := seal(logs); err != nil {
		panic(err)
	}
	return logs
}

// fillFolder writes a log with its durable index, as a process does that stops in good order, and returns the folder.
func fillFolder(t *testing.T, open func(string) (closableStore, error)) string {
	t.Helper()
	dir := t.TempDir()
	inner, err := open(dir)
	noError(t, err)
	logs := openStore(t, inner, dir)
	for i := uint64(1); i <= damageEntries; i += 20 {
		noError(t, logs.StoreLogs(filler(i, i+19)))
	}
	noError(t, logs.Close())
	noError(t, inner.Close())
	return dir
}

// verdict is what became of a damaged folder.
type verdict struct{ refused, short, wrong bool }

// judgeRaw reads the folder without the wrapper.
func judgeRaw(open func(string) (closableStore, error), dir string) (v verdict) {
	inner, err := Open(func() (closableStore, error) { return open(dir) })
	if err != nil {
		return verdict{refused: true}
	}
	defer faultsAsErrors(inner.Close)
	return judge(func() (first, last uint64, err error) { return bounds(inner) }, inner.GetLog)
}

// judgeGuarded reads the folder with it. Where it opens, an entry may still be refused, loudly.
func judgeGuarded(t *testing.T, open func(string) (closableStore, error), dir string) verdict {
	t.Helper()
	inner, err := Open(func() (closableStore, error) { return open(dir) })
	if err != nil {
		return verdict{refused: true}
	}
	defer faultsAsErrors(inner.Close)
	cfg := storeConfig(t, inner, dir)
	cfg.CacheBytes = 0
	logs, err := OpenLogStore(cfg)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("refused without advice: %v", err)
		}
		return verdict{refused: true}
	}
	defer logs.Close()
	return judge(func() (first, last uint64, err error) { return bounds(logs) }, logs.GetLog)
}

func judge(bounds func() (first, last uint64, err error), get func(uint64, *raft.Log) error) (v verdict) {
	first, last, err := bounds()
	if err != nil {
		return verdict{refused: true}
	}
	v.short = first != 1 || last != damageEntries
	want := filler(1, damageEntries)
	for i := first; i <= last && i <= damageEntries; i++ {
		var got raft.Log
		if err := faultsAsErrors(func() error { return get(i, &got) }); err != nil {
			v.refused = true
		} else if !sameEntry(&got, want[i-1]) {
			v.wrong = true
		}
	}
	return v
}

// TestDamage flips bits in, and cuts the ends off, the files of real logs. What the stores then return without a word must never get past the wrapper.
func TestDamage(t *testing.T) {
	harms := map[string]func(content []byte, at int) []byte{
		"flip": flipped,
		"cut":  func(content []byte, at int) []byte { return content[:at] },
		"zero": func(content []byte, at int) []byte {
			c := bytes.Clone(content)
			clear(c[at:min(at+512, len(c))])
			return c
		},
	}
	for store, open := range innerStores {
		good := fillFolder(t, open)
		for name, harm := range harms {
			t.Run(store+"/"+name, func(t *testing.T) {
				wrong, short, refused := 0, 0, 0
				for file, content := range logFiles(t, good) {
					step := max(len(content)/12, 1)
					for at := step / 2; at < len(content); at += step {
						damaged := copyFolder(t, good)
						noError(t, os.WriteFile(filepath.Join(damaged, file), harm(content, at), 0o600))
						raw := judgeRaw(open, copyFolder(t, damaged))
						if raw.wrong {
							wrong++
						}
						if raw.short {
							short++
						}
						v := judgeGuarded(t, open, damaged)
						if v.refused {
							refused++
						}
						if v.wrong || v.short && !v.refused {
							t.Errorf("%s damaged at %d of %d: %+v", file, at, len(content), v)
						}
					}
				}
				t.Logf("without: %d wrong, %d short; with: %d refused, none wrong or short", wrong, short, refused)
				if name == "flip" && wrong+short == 0 {
					t.Error("the store finds all damage by itself: the wrapper may go")
				}
			})
		}
	}
}

// logFiles are the contents of the folder's files, except the durable index and raft-wal's preallocated space.
func logFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	names, err := os.ReadDir(dir)
	noError(t, err)
	for _, name := range names {
		if name.Name() == durableFile {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, name.Name()))
		noError(t, err)
		files[name.Name()] = bytes.TrimRight(b, "\x00")
	}
	return files
}

// TestTornTail: a batch was being written when the power went; it was never fsynced and is cut, whatever part of it arrived.
func TestTornTail(t *testing.T) {
	open := innerStores["raft-wal"]
	good := fillFolder(t, open)
	written := copyFolder(t, good)
	inner, err := open(written)
	noError(t, err)
	noError(t, inner.StoreLogs(filler(damageEntries+1, damageEntries+20)))
	noError(t, inner.Close())
	after := logFiles(t, written)
	for file, old := range logFiles(t, good) {
		if !strings.HasSuffix(file, ".wal") {
			continue // the metadata changes once the batch is durable, if at all
		}
		content := after[file]
		for at := len(old); at < len(content); at += 53 {
			torn := copyFolder(t, good)
			noError(t, os.WriteFile(filepath.Join(torn, file), content[:at], 0o600))
			inner, err := open(torn)
			noError(t, err)
			logs := openStore(t, inner, torn)
			if last, _ := logs.LastIndex(); last != damageEntries {
				t.Errorf("torn at %d of %d: the log ends at %d", at, len(content), last)
			}
			noError(t, logs.StoreLogs(filler(damageEntries+1, damageEntries+2)))
			noError(t, logs.Close())
			noError(t, inner.Close())
		}
	}
}

// TestUnreadableTail: beyond the durable index an entry that does not match its checksum is cut with all that follow; at or below it, it is damage.
func TestUnreadableTail(t *testing.T) {
	for _, durable := range []uint64{0, 5, 6, 7, 10} {
		t.Run(fmt.Sprint(durable), func(t *testing.T) {
			dir, inner := t.TempDir(), raft.NewInmemStore()
			logs := openStore(t, inner, dir)
			noError(t, logs.StoreLogs(entries("e", 1, 1, 10)))
			noError(t, logs.durable.lower(durable))
			noError(t, logs.Close())
			var l raft.Log
			noError(t, inner.GetLog(7, &l))
			l.Data = []byte("damaged")
			noError(t, inner.StoreLog(&l))

			logs, err := OpenLogStore(storeConfig(t, inner, dir))
			if durable >= 7 {
				if !errors.Is(err, ErrDamaged) || !errors.Is(err, ErrCorrupt) {
					t.Errorf("opened with %v", err)
				}
				return
			}
			noError(t, err)
			defer logs.Close()
			if last, _ := logs.LastIndex(); last != 6 {
				t.Errorf("the log ends at %d", last)
			}
			noError(t, logs.StoreLogs(entries("f", 2, 7, 8)))
		})
	}
}

// TestTermGoesBack: an entry that was truncated long ago has come back, with a checksum that matches.
func TestTermGoesBack(t *testing.T) {
	dir, inner := t.TempDir(), raft.NewInmemStore()
	logs := openStore(t, inner, dir)
	noError(t, logs.StoreLogs(entries("e", 2, 1, 10)))
	noError(t, logs.Close())
	noError(t, inner.StoreLogs(entries("e", 1, 7, 7)))
	if _, err := OpenLogStore(storeConfig(t, inner, dir)); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened with %v", err)
	}
}

// TestDurableIndexMissing: without it nothing can be said about a log that is not empty.
func TestDurableIndexMissing(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"gone":    os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"zeroed":  func(path string) error { return os.WriteFile(path, make([]byte, slotStride+slotSize), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, inner := t.TempDir(), raft.NewInmemStore()
			logs := openStore(t, inner, dir)
			noError(t, logs.StoreLogs(entries("e", 1, 1, 10)))
			noError(t, logs.Close())
			noError(t, harm(filepath.Join(dir, durableFile)))
			if _, err := OpenLogStore(storeConfig(t, inner, dir)); !errors.Is(err, ErrDamaged) {
				t.Errorf("opened with %v", err)
			}
		})
	}
}

// TestLogGone: the durable index is there and the log is empty.
func TestLogGone(t *testing.T) {
	dir := t.TempDir()
	logs := openStore(t, raft.NewInmemStore(), dir)
	noError(t, logs.StoreLogs(entries("e", 1, 1, 10)))
	noError(t, logs.Close())
	if _, err := OpenLogStore(storeConfig(t, raft.NewInmemStore(), dir)); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened with %v", err)
	}
}

// TestDamageAtWork: what the disk loses while the process runs is fatal when it is read, and never returned.
func TestDamageAtWork(t *testing.T) {
	for name, harm := range map[string]func(inner *raft.InmemStore, l raft.Log){
		"data":    func(inner *raft.InmemStore, l raft.Log) { l.Data = []byte("damaged"); inner.StoreLog(&l) },
		"term":    func(inner *raft.InmemStore, l raft.Log) { l.Term++; inner.StoreLog(&l) },
		"no sum":  func(inner *raft.InmemStore, l raft.Log) { l.Extensions = nil; inner.StoreLog(&l) },
		"missing": func(inner *raft.InmemStore, l raft.Log) { inner.DeleteRange(5, 5) },
		"other": func(inner *raft.InmemStore, l raft.Log) {
			other := entries("e", 1, 6, 6)[0]
			l.Data, l.Extensions = other.Data, other.Extensions
			inner.StoreLog(&l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inner := raft.NewInmemStore()
			var fatal error
			cfg := storeConfig(t, inner, t.TempDir())
			cfg.CacheBytes = 0
			cfg.Fatal = func(err error) { fatal = err }
			logs, err := OpenLogStore(cfg)
			noError(t, err)
			defer logs.Close()
			noError(t, logs.StoreLogs(entries("e", 1, 1, 10)))
			var l raft.Log
			if err := logs.GetLog(11, &l); err != raft.ErrLogNotFound || fatal != nil {
				t.Fatalf("beyond the end: %v, fatal %v", err, fatal)
			}
			noError(t, logs.GetLog(5, &l))
			harm(inner, l)
			if err := logs.GetLog(5, &l); !errors.Is(err, ErrCorrupt) || !errors.Is(fatal, ErrCorrupt) {
				t.Errorf("read: %v, fatal: %v", err, fatal)
			}
		})
	}
}
