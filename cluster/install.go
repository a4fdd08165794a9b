package cluster

import (
	"sync"
	"time"
)

// installs are the snapshots on their way to followers. The log behind each is kept until the follower has had time to go on from there:
//
//	A snapshot that ends with entry 1000 takes a minute to send and to restore. Meanwhile the leader takes another one and compacts its log up to 1500. The
//	follower asks for 1001, which is gone, and gets the next snapshot; and so on for ever, each a full transfer and a full restore.
//
// What is kept so is bounded by what is written while the install lasts and installGrace longer, and nothing is kept while the disk is low.
type installs struct {
	mu sync.Mutex // guards of
	of map[string]install
}

// install is the newest one to a server.
type install struct {
	index uint64
	until time.Time // zero while it is under way
}

// installGrace is how long a follower has to begin with the log behind its snapshot.
const installGrace = time.Minute

// begin notes an install; the returned function ends it.
func (i *installs) begin(server string, index uint64) (end func(installed bool)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.of == nil {
		i.of = map[string]install{}
	}
	i.of[server] = install{index: index}
	return func(installed bool) {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.of[server].index != index {
			return // another one began
		}
		if !installed {
			delete(i.of, server)
			return
		}
		i.of[server] = install{index: index, until: time.Now().Add(installGrace)}
	}
}

// least is the lowest index that some follower goes on from, ok false where there is none.
func (i *installs) least(now time.Time) (index uint64, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for server, x := range i.of {
		if !x.until.IsZero() && now.After(x.until) {
			delete(i.of, server)
			continue
		}
		if !ok || x.index < index {
			index, ok = x.index, true
		}
	}
	return index, ok
}
