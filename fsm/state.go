package fsm

import (
	"fmt"

	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/fsm/route"
	"github.com/triagemq/triagemq/fsm/store"
)

// Options are what a State needs from outside. They must not influence what apply does.
type Options struct {
	Chunks store.Chunks // nil: the Go heap
	Sink   Sink         // nil: effects are dropped
	Check  bool         // run Check after every Apply and panic on a fault
}

// State is one replica of everything: queues, topology, origins, sessions. It is not safe for concurrent use: the node that owns it serialises Apply
// and the views; views may run concurrently with one another.
type State struct {
	options Options
	limits  limits
	local   Origin
	mine    *origin // the record of local while it is open: whose effects are built

	// Replicated scalars.
	applied      uint64
	nowMillis    int64
	level        uint32
	lastSerial   uint64 // of virtual hosts, users, permissions, exchanges, queues, bindings, sessions, channels, consumers: one counter, never reused
	lastDelivery uint64

	next nextState // of a level that is being developed

	usersInitialised bool // the first user was made; until then nothing that sessions do is checked

	// Replicated objects.
	origins    map[string]*origin
	vhosts     map[string]*vhost
	users      map[string]*user
	targets    map[route.Dest]target // every exchange and queue by serial
	parts      map[uint64]*part      // every queue of the store, deleted ones with messages left included
	parameters map[parameterKey]*parameter
	remainders []*remainder // bulk work that Ticks continue, first in first out
	store      *store.Store

	// What sessions may do whose user has no permission in their virtual host: everything before the first user was made, then nothing.
	unrestricted, powerless permission

	// Derived from the above.
	timers  timerHeap // channels and queues that have a deadline
	digest  digest
	marked  mark
	marking bool // a Mark is among the items of the present entry

	// Of this replica alone.
	moved []*meter // that counted something since TakeMoved

	// Of the entry that is being applied.
	index   uint64
	ordinal uint32 // messages created in this entry
	budget  int    // bulk moves that this entry may still make; below 0 by what the last of them made
	woken   []*queue

	committing bool // the commands are those of a transaction that nothing refuses

	// Memory that is used again.
	effect  Effect
	publish Publish
	grant   Grant
	router  router
}

// limits bound work and growth. They are the same on every replica; tests set smaller ones, on all.
type limits struct {
	bulkMoves         int // what one entry moves in bulk: purge, deletion, ends of sessions, channels and origins, multiple acks
	deadQueueMessages int // what the built-in queue for dead letters holds
}

func defaultLimits() limits { return limits{bulkMoves: 10_000, deadQueueMessages: 100_000} }

// New returns the state before the first entry: virtual host "/" with its built-in exchanges, time 0, feature level 1.
func New(o Options) *State {
	s := newEmpty(o)
	s.store = store.New(s.options.Chunks)
	s.level = 1
	s.createVHost("/")
	return s
}

func newEmpty(o Options) *State {
	if o.Chunks == nil {
		o.Chunks = store.HeapChunks{}
	}
	s := &State{
		options: o,
		limits:  defaultLimits(),
		origins: make(map[string]*origin),
		vhosts:  make(map[string]*vhost),
		users:   make(map[string]*user),
		targets: make(map[route.Dest]target),
		parts:   make(map[uint64]*part),

		parameters: make(map[parameterKey]*parameter),
	}
	s.unrestricted.configure.every, s.unrestricted.write.every, s.unrestricted.read.every = true, true, true
	s.router.init()
	return s
}

// SetLocal says whose effects to build: those of this origin. It changes no state.
func (s *State) SetLocal(o Origin) {
	s.local = o
	s.findMine()
}

// findMine follows a change of local or of an origin's record.
func (s *State) findMine() {
	s.mine = nil
	if r := s.origins[s.local.Node]; r != nil && r.open && r.boot == s.local.Boot {
		s.mine = r
	}
}

// Apply applies the entry at a log index; indexes ascend, gaps are allowed (raft's own entries). It panics on an entry that does not decode: it was
// checked before it was proposed, so the log is damaged or the code is wrong, and going on would diverge.
func (s *State) Apply(index uint64, entry []byte) {
	if index <= s.applied {
		panic(fmt.Sprintf("fsm: entry %d applied after %d", index, s.applied))
	}
	timeMillis, items, err := openEntry(entry)
	mustDecode(index, err)
	s.nowMillis = max(s.nowMillis, timeMillis)
	s.index, s.ordinal, s.budget = index, 0, s.limits.bulkMoves
	s.fireDue()
	for {
		it, ok, err := items.next()
		mustDecode(index, err)
		if !ok {
			break
		}
		s.applyItem(&it)
	}
	s.applied = index
	if s.marking {
		s.marking = false
		s.mark()
	}
	if s.options.Check || invariants {
		if err := s.Check(); err != nil {
			panic(fmt.Sprintf("fsm: after entry %d: %v", index, err))
		}
	}
}

func mustDecode(index uint64, err error) {
	if err != nil {
		panic(fmt.Sprintf("fsm: entry %d does not decode: %v", index, err))
	}
}

func (s *State) applyItem(it *item) {
	switch it.kind {
	case itemBatch:
		s.applyBatch(it)
	case itemOriginOpen:
		s.openOrigin(it.Origin)
	case itemOriginDown:
		s.downOrigin(it.Origin)
	case itemTick:
		s.tick()
	case itemMark:
		s.marking = true
	case itemVerify:
		s.verify(it)
	case itemFeatureLevel:
		s.raiseLevel(it.level)
	}
	s.dispatchWoken()
	s.fireDue()
}

// Applied is the index of the last entry applied or restored.
func (s *State) Applied() uint64 { return s.applied }

// NowMillis is the virtual clock.
func (s *State) NowMillis() int64 { return s.nowMillis }

// FeatureLevel is the replicated feature level.
func (s *State) FeatureLevel() uint32 { return s.level }

// Compact spends at most budgetBytes of copying on sparse body memory. Not observable.
func (s *State) Compact(budgetBytes int) { s.store.Compact(budgetBytes) }

// Stats returns memory figures.
func (s *State) Stats() store.Stats { return s.store.Stats() }

// Discard gives the memory of all messages back to Options.Chunks. The State must not be used afterwards, except that an open Snapshot stays readable
// until its Thaw, which gives back the rest. Whoever replaces a State by a restored one calls it.
func (s *State) Discard() { s.store.Discard() }

// LiveBytes estimates the size of a snapshot, for the snapshot policy.
func (s *State) LiveBytes() int64 {
	const perEntryBytes, perObjectBytes = 64, 128
	st := s.store.Stats()
	return st.ContentBytes + perEntryBytes*int64(st.Entries) + perObjectBytes*int64(s.digest.objects)
}

// MemoryBytes is what the messages take in memory: contents, in whole chunks, and records. O(1).
func (s *State) MemoryBytes() int64 {
	st := s.store.Stats()
	return st.ChunkBytes + st.SlabBytes + st.TimerBytes
}

// nextSerial names a new object.
func (s *State) nextSerial() uint64 {
	s.lastSerial++
	return s.lastSerial
}

// tableOf decodes an encoded table that the codec has validated; nil is the empty one.
func tableOf(encoded []byte) content.Table {
	if len(encoded) == 0 {
		return nil
	}
	t, _, err := content.DecodeTable(encoded)
	if err != nil {
		panic(fmt.Sprintf("fsm: a validated table does not decode: %v", err))
	}
	return t
}
