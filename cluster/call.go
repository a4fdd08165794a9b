package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/triagemq/triagemq/transport/mux"
)

// A call connection carries one call at a time, integers big-endian:
//
//	request: uint8 kind, uint32 milliseconds that the caller is willing to wait, uint32 length, bytes
//	answer:  uint8 status, uint32 length, bytes (of the answer, or of the error's text)
const (
	callMachine    byte = 1 // to Machine.Answer
	callReadIndex  byte = 2 // to the leader: its read index, uint64
	callLeaderGone byte = 3 // see question
	callAdminister byte = 4 // to the leader: an administration, answered by an administered, both JSON

	callOK       byte = 0
	callFailed   byte = 1
	callNoLeader byte = 2

	callMax      = 1 << 20 // bytes of a request or an answer
	callBound    = 30 * time.Second
	callIdle     = 2 * time.Minute // an unused connection is closed after it
	callIdleKept = 2               // connections kept per server
)

// callPool keeps idle call connections.
type callPool struct {
	mu     sync.Mutex // guards what follows
	idle   map[string][]*mux.Conn
	closed bool
}

// Call asks another member's Machine.Answer; requests and answers are at most 1 MiB. ErrUnknown, ctx's error, the other side's error as text. After an error
// of the connection the call may have been served.
func (g *Group) Call(ctx context.Context, server string, request []byte) ([]byte, error) {
	if server == g.self {
		return g.machine.Answer(ctx, g.self, request)
	}
	return g.call(ctx, server, callMachine, request)
}

func (g *Group) call(ctx context.Context, server string, kind byte, request []byte) ([]byte, error) {
	if len(request) > callMax {
		return nil, fmt.Errorf("cluster: a request of %d bytes, at most %d are allowed", len(request), callMax)
	}
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	c, err := g.calls.take(server)
	if c == nil && err == nil {
		c, err = g.dial(ctx, server, mux.ProtocolCall)
	}
	if err != nil {
		return nil, err
	}
	answer, whole, err := exchange(ctx, c, kind, request)
	if !whole {
		c.Close()
		return nil, errors.Join(ctx.Err(), err)
	}
	g.calls.put(server, c)
	return answer, err
}

// exchange does one call. whole says that the connection is fit for another one.
func exchange(ctx context.Context, c net.Conn, kind byte, request []byte) (answer []byte, whole bool, err error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return nil, false, err
	}
	interrupt := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	b := append(make([]byte, 0, 9+len(request)), kind)
	b = binary.BigEndian.AppendUint32(b, uint32(max(1, time.Until(deadline).Milliseconds())))
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(request))), request...)
	var status byte
	if _, err = c.Write(b); err == nil {
		status, answer, err = readAnswer(c)
	}
	if !interrupt() || err != nil {
		return nil, false, err
	}
	switch status {
	case callOK:
		return answer, true, nil
	case callNoLeader:
		return nil, true, ErrNoLeader
	}
	return nil, true, answeredError{string(answer)}
}

// answeredError is an error of the other side's, as text.
type answeredError struct{ text string }

func (e answeredError) Error() string { return "answer of the other side: " + e.text }

func readAnswer(c net.Conn) (status byte, answer []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, nil, err
	}
	answer, err = readBounded(c, head[1:])
	return head[0], answer, err
}

func readBounded(c net.Conn, length []byte) ([]byte, error) {
	size := binary.BigEndian.Uint32(length)
	if size > callMax {
		return nil, errFrame
	}
	b := make([]byte, size)
	_, err := io.ReadFull(c, b)
	return b, err
}

// acceptCalls serves the calls of other nodes.
func (g *Group) acceptCalls(l *mux.Listener) {
	for {
		c, err := l.AcceptConn()
		if err != nil {
			return
		}
		g.wg.Go(func() {
			defer c.Close()
			for g.ctx.Err() == nil {
				if err := g.serveCall(c); err != nil {
					return // the caller hung up, or is none
				}
			}
		})
	}
}

func (g *Group) serveCall(c *mux.Conn) error {
	if err := c.SetDeadline(time.Now().Add(callIdle)); err != nil {
		return err
	}
	var head [9]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	bound := min(time.Duration(binary.BigEndian.Uint32(head[1:]))*time.Millisecond, callBound)
	if err := c.SetDeadline(time.Now().Add(bound + writeBound)); err != nil {
		return err
	}
	request, err := readBounded(c, head[5:])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(g.ctx, bound)
	defer cancel()
	status, answer := g.serve(ctx, c.Peer.Server, head[0], request)
	b := append(make([]byte, 0, 5+len(answer)), status)
	_, err = c.Write(append(binary.BigEndian.AppendUint32(b, uint32(len(answer))), answer...))
	return err
}

func (g *Group) serve(ctx context.Context, from string, kind byte, request []byte) (status byte, answer []byte) {
	var err error
	switch kind {
	case callMachine:
		answer, err = g.machine.Answer(ctx, from, request)
	case callReadIndex:
		answer, err = g.serveReadIndex()
	case callAdminister:
		answer, err = g.serveAdminister(ctx, from, request)
	case callLeaderGone:
		answer, err = g.serveQuestion(ctx, request)
	default:
		err = fmt.Errorf("unknown kind of call %d", kind)
	}
	if len(answer) > callMax {
		err = fmt.Errorf("an answer of %d bytes, at most %d are allowed", len(answer), callMax)
	}
	switch {
	case err == nil:
		return callOK, answer
	case errors.Is(err, ErrNoLeader):
		return callNoLeader, nil
	}
	text := err.Error()
	return callFailed, []byte(text[:min(len(text), 4<<10)])
}

func (g *Group) serveReadIndex() ([]byte, error) {
	index, err := g.leaderIndex()
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

// take returns an idle connection that the other side has not closed, or nil.
func (p *callPool) take(server string) (*mux.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	for idle := p.idle[server]; len(idle) > 0; idle = p.idle[server] {
		c := idle[len(idle)-1]
		p.idle[server] = idle[:len(idle)-1]
		if quiet(c.Conn) {
			return c, nil
		}
		c.Close()
	}
	return nil, nil
}

func (p *callPool) put(server string, c *mux.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle[server]) >= callIdleKept {
		c.Close()
		return
	}
	p.idle[server] = append(p.idle[server], c)
}

func (p *callPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, idle := range p.idle {
		for _, c := range idle {
			c.Close()
		}
	}
}
