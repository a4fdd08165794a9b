package broker

import "github.com/triagemq/triagemq/fsm"

// lane holds the commands of one connection, or of the node's operators, that have no batch yet. All fields are guarded by pipeline.mu.
type lane struct {
	buf     []byte        // encoded commands; those before head are in batches
	head    int           // start of what waits
	last    uint64        // number of the batch that took this lane's latest commands
	room    chan struct{} // capacity 1: a Submit waits for room; nil until one did
	waits   bool          // it does so now
	drained chan struct{} // closed when everything is applied; nil when nobody waits
	closing bool          // CloseSession is in buf or in a batch: nothing may follow it
	over    bool          // the session has ended

	// The ring of lanes that have something waiting, and their turns (deficit round robin).
	next     *lane
	inRing   bool
	credit   int  // bytes this lane may still move in its turn
	credited bool // credit of the present turn was given
}

// turnBytes is what a lane may move into batches in one turn, on top of what earlier turns left: fairness is by bytes, not by commands.
const turnBytes = 16 << 10

func (l *lane) waiting() int { return len(l.buf) - l.head }

// add appends commands, moving what waits to the front of the buffer rather than growing it.
func (l *lane) add(commands []byte) {
	if l.head > 0 && len(l.buf)+len(commands) > cap(l.buf) {
		l.buf = l.buf[:copy(l.buf, l.buf[l.head:])]
		l.head = 0
	}
	l.buf = append(l.buf, commands...)
}

// take moves whole commands of at most room bytes in all, and within the lane's credit unless alone, out of the lane. The result aliases the buffer.
// first lets one command of any size through, for a batch that is empty.
func (l *lane) take(room int, alone, first bool) []byte {
	limit := room
	if !alone {
		limit = min(limit, l.credit)
	}
	start, rest := l.head, l.buf[l.head:]
	if len(rest) > limit { // else all of it, without looking inside
		size := 0
		for {
			command, tail, ok := fsm.NextCommand(l.buf[start+size:])
			if !ok {
				break
			}
			fits := size+len(command) <= limit || first && size == 0 && (alone || len(command) <= l.credit)
			if !fits {
				break
			}
			size += len(command)
			if len(tail) == 0 {
				break
			}
		}
		rest = rest[:size]
	}
	l.head += len(rest)
	l.credit -= len(rest)
	return rest
}
