package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// Why a handshake fails. Dial's errors wrap them.
var (
	ErrVersion  = errors.New("mux: versions differ")
	ErrSecret   = errors.New("mux: the cluster secrets differ")
	ErrCluster  = errors.New("mux: the other side belongs to another cluster")
	ErrServer   = errors.New("mux: another server listens at this address")
	ErrSelf     = errors.New("mux: connected to itself")
	ErrProtocol = errors.New("mux: the other side does not serve this protocol now")
	ErrBusy     = errors.New("mux: the other side has too many connections")
	ErrClosed   = errors.New("mux: closed")
)

// status is the accepting side's verdict.
type status byte

const (
	statusOK status = iota
	statusSecret
	statusCluster
	statusServer
	statusSelf
	statusProtocol
	statusBusy
)

var statusErrors = map[status]error{
	statusSecret: ErrSecret, statusCluster: ErrCluster, statusServer: ErrServer, statusSelf: ErrSelf, statusProtocol: ErrProtocol, statusBusy: ErrBusy,
}

// The handshake, D dialling and A accepting; the steps in brackets only where both have a secret:
//
//	D → A  hello
//	A → D  welcome [, proof of A]
//	D → A  [proof of D]
//	A → D  [verdict: one status byte]
//
// A side that misses a proof of the other closes the connection before it believes anything that was said.

// greet is the dialling side.
func (p *Port) greet(c net.Conn, protocol Protocol, expect string) (Identity, error) {
	me := p.cfg.Local()
	h := hello{secret: p.key != nil, protocol: protocol, nonce: newNonce(), from: me, expect: expect}
	sent := h.encode()
	if _, err := c.Write(sent); err != nil {
		return Identity{}, err
	}
	body, err := readFrame(c)
	if err != nil {
		return Identity{}, err
	}
	w, err := decodeWelcome(body)
	if err != nil {
		return Identity{}, err
	}
	if w.status != statusOK {
		return w.from, refused(w.status, w.text)
	}
	if w.secret != h.secret {
		return w.from, ErrSecret
	}
	if p.key != nil {
		if err := p.proveToAcceptor(c, sent, frame(body)); err != nil {
			return w.from, err
		}
	}
	if st, text := judge(me, w.from, expect); st != statusOK {
		return w.from, refused(st, text)
	}
	return w.from, nil
}

func (p *Port) proveToAcceptor(c net.Conn, helloFrame, welcomeFrame []byte) error {
	ok, err := readProof(c, proof(p.key, "accept", helloFrame, welcomeFrame))
	if err != nil {
		return err
	}
	if !ok {
		return ErrSecret
	}
	if _, err := c.Write(proof(p.key, "dial", helloFrame, welcomeFrame)); err != nil {
		return err
	}
	var verdict [1]byte
	if _, err := io.ReadFull(c, verdict[:]); err != nil {
		return err
	}
	if verdict[0] != byte(statusOK) {
		return refused(status(verdict[0]), "")
	}
	return nil
}

// receive is the accepting side. A nil error means that the other side may be believed and was told so.
func (p *Port) receive(c net.Conn) (hello, error) {
	body, err := readFrame(c)
	if err != nil {
		return hello{}, err
	}
	h, err := decodeHello(body)
	if err != nil {
		return hello{}, err
	}
	me := p.cfg.Local()
	st, text := p.verdict(me, &h)
	w := welcome{status: st, secret: p.key != nil, nonce: newNonce(), from: me, text: text}
	out := w.encode()
	if st != statusOK {
		_, _ = c.Write(out) // a courtesy; the connection ends either way
		return h, refused(st, text)
	}
	if p.key == nil {
		_, err = c.Write(out)
		return h, err
	}
	helloFrame := frame(body)
	if _, err := c.Write(append(out, proof(p.key, "accept", helloFrame, out)...)); err != nil {
		return h, err
	}
	ok, err := readProof(c, proof(p.key, "dial", helloFrame, out))
	if err != nil {
		return h, fmt.Errorf("%w (or it gave up: %v)", ErrSecret, err)
	}
	if !ok {
		_, _ = c.Write([]byte{byte(statusSecret)})
		return h, ErrSecret
	}
	_, err = c.Write([]byte{byte(statusOK)})
	return h, err
}

// verdict decides what can be decided before the proofs.
func (p *Port) verdict(me Identity, h *hello) (status, string) {
	switch {
	case h.secret && p.key == nil:
		return statusSecret, "this node has no cluster secret"
	case !h.secret && p.key != nil:
		return statusSecret, "this node demands the cluster secret"
	case h.expect != "" && h.expect != me.Server:
		return statusServer, fmt.Sprintf("this is %s, not %s", me.Server, h.expect)
	}
	l := p.listener(h.protocol)
	if l == nil {
		return statusProtocol, fmt.Sprintf("protocol %d", h.protocol)
	}
	if len(l.queue) == cap(l.queue) {
		return statusBusy, fmt.Sprintf("%d wait to be accepted", cap(l.queue))
	}
	return judge(me, h.from, "")
}

// judge is what both sides check of the other.
func judge(me, other Identity, expect string) (status, string) {
	switch {
	case other.Server == me.Server:
		return statusSelf, me.Server
	case expect != "" && other.Server != expect:
		return statusServer, fmt.Sprintf("it is %s, not %s", other.Server, expect)
	case other.Cluster != "" && me.Cluster != "" && other.Cluster != me.Cluster:
		return statusCluster, fmt.Sprintf("%s is in cluster %s, %s in cluster %s", other.Server, other.Cluster, me.Server, me.Cluster)
	}
	return statusOK, ""
}

func refused(st status, text string) error {
	err, ok := statusErrors[st]
	switch {
	case !ok:
		return fmt.Errorf("mux: refused with status %d: %s", st, text)
	case text == "":
		return err
	}
	return fmt.Errorf("%w: %s", err, text)
}
