package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/triagemq/triagemq/transport/mux"
)

// sight is what a node finds when it looks for the process of another server.
type sight int

const (
	sightUnclear sight = iota // silence, an unreachable host, any other failure: nothing follows from it
	sightThere                // it answered
	sightGone                 // nothing listens at its peer port: the host itself refused
)

// A call of kind callLeaderGone asks one of three things; integers big-endian:
//
//	request: uint8 what (askPresence, askLeader, askOrigin), uint64 term, uint8 length and server
//	answer:  uint8 flags, uint64 term, uint64 term and uint64 index of the last log entry, uint64 nonce
//
// Both may grow at the end. A node that does not know the kind answers with an error, from which nothing follows.
const (
	askPresence byte = 1 // of the server itself: do you lead term? flag: yes
	askLeader   byte = 2 // of a voter: you follow this server in term; is its process gone? flag: yes
	askOrigin   byte = 3 // of a voter: is the process of this server gone? flag: yes

	flagYes = 1

	testimonySize = 1 + 4*8
)

var errAsk = errors.New("cluster: undecodable question about a server")

// question is the request of a call of kind callLeaderGone.
type question struct {
	what   byte
	term   uint64
	server string
}

func (q question) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{q.what}, q.term)
	return append(append(b, byte(len(q.server))), q.server...)
}

func decodeQuestion(b []byte) (q question, err error) {
	if len(b) < 10 || len(b) < 10+int(b[9]) {
		return q, errAsk
	}
	return question{what: b[0], term: binary.BigEndian.Uint64(b[1:]), server: string(b[10 : 10+int(b[9])])}, nil
}

// testimony is the answer. term, the last log entry and the nonce are those of the node that gives it.
type testimony struct {
	yes                 bool
	term                uint64
	lastTerm, lastIndex uint64
	nonce               uint64 // drawn at random when the group was opened; never 0
}

func (t testimony) encode() []byte {
	b := make([]byte, 1, testimonySize)
	if t.yes {
		b[0] = flagYes
	}
	for _, v := range []uint64{t.term, t.lastTerm, t.lastIndex, t.nonce} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func decodeTestimony(b []byte) (t testimony, err error) {
	if len(b) < testimonySize {
		return t, errAsk
	}
	t.yes = b[0]&flagYes != 0
	for i, v := range []*uint64{&t.term, &t.lastTerm, &t.lastIndex, &t.nonce} {
		*v = binary.BigEndian.Uint64(b[1+8*i:])
	}
	return t, nil
}

func (g *Group) ask(ctx context.Context, server string, q question) (testimony, error) {
	b, err := g.call(ctx, server, callLeaderGone, q.encode())
	if err != nil {
		return testimony{}, err
	}
	return decodeTestimony(b)
}

func (g *Group) serveQuestion(ctx context.Context, b []byte) ([]byte, error) {
	q, err := decodeQuestion(b)
	if err != nil {
		return nil, err
	}
	var t testimony
	switch q.what {
	case askPresence:
		_, term, leads := g.instance().leadership()
		t = g.testimony(leads && term == q.term)
	case askLeader:
		t = g.testify(ctx, charge{q.server, q.term})
		g.suspect(q.server) // whoever noticed first, the one with the best log acts
	case askOrigin:
		t = g.testimony(g.look(ctx, q.server) == sightGone)
	default:
		return nil, errAsk
	}
	return t.encode(), nil
}

// testimony adds what a node says of itself to its answer.
func (g *Group) testimony(yes bool) testimony {
	in := g.instance()
	t := testimony{yes: yes, term: in.raft.CurrentTerm(), nonce: g.nonce}
	t.lastTerm, t.lastIndex = g.lastEntry(in.raft)
	return t
}

// lastEntry is the end of the log, or of the snapshot where the log holds nothing behind it: what votes compare. A term of 0 is unknown, and loses.
func (g *Group) lastEntry(r *raft.Raft) (term, index uint64) {
	index = r.LastIndex()
	var l raft.Log
	if g.stores.logs.GetLog(index, &l) == nil {
		return l.Term, index
	}
	if list, err := g.stores.snapshots.List(); err == nil && len(list) > 0 && list[0].Index == index {
		return list[0].Term, index
	}
	return 0, index
}

// lookBound keeps a look at a host that is silent short: nothing follows from silence.
const lookBound = 300 * time.Millisecond

// look dials the peer port of a server. REFUSED comes from its host: nothing listens there, the process that did has ended. A firewall may say the same, which
// is why nobody acts on what it alone has seen.
func (g *Group) look(ctx context.Context, server string) sight {
	ctx, cancel := context.WithTimeout(ctx, lookBound)
	defer cancel()
	c, err := g.dial(ctx, server, mux.ProtocolCall)
	switch {
	case err == nil:
		g.calls.put(server, c)
		return sightThere
	case errors.Is(err, syscall.ECONNREFUSED):
		return sightGone
	}
	return sightUnclear
}
