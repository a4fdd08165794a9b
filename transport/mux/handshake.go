package mux

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
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
	ErrTLS      = errors.New("mux: no TLS session with the other side")
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
//	[both: mutual TLS, where certificates are set]
//	D → A  hello
//	A → D  welcome [, proof of A]
//	D → A  [proof of D]
//	A → D  [verdict: one status byte]
//	[both: TLS with the keys that hello and welcome named, see session.go]
//
// A side that misses a proof of the other closes the connection before it believes anything that was said. Every handshake goes by the credentials of its
// beginning.

// established is what a handshake ends in.
type established struct {
	conn     net.Conn
	peer     Identity
	protocol Protocol
	keys     [][]byte // those that the proofs were made with, ours and theirs
}

// handshake is one in progress.
type handshake struct {
	*Port
	material
	transcript
	conn net.Conn
	keys [][]byte
}

func (p *Port) newHandshake(ctx context.Context, c net.Conn, s side) (*handshake, error) {
	h := &handshake{Port: p, material: p.cfg.Trust.material(), conn: c}
	if h.Certificates == nil {
		return h, nil
	}
	use := x509.ExtKeyUsageServerAuth
	if s == accepting {
		use = x509.ExtKeyUsageClientAuth
	}
	session, err := secure(ctx, c, h.Certificates.config(use), s)
	if err != nil {
		return nil, err
	}
	h.conn = session
	h.channel, err = session.channel()
	return h, err
}

// names is the session key that this side offers: none inside of TLS, and none without a secret, which alone makes it worth something.
func (h *handshake) names() []byte {
	if h.Certificates != nil || h.proves() == nil {
		return nil
	}
	return h.session.sum[:]
}

// greet is the dialling side.
func (p *Port) greet(ctx context.Context, c net.Conn, protocol Protocol, expect string) (established, error) {
	h, err := p.newHandshake(ctx, c, dialling)
	if err != nil {
		return established{}, err
	}
	me := p.cfg.Local()
	mine := hello{secret: h.proves() != nil, protocol: protocol, nonce: newNonce(), from: me, expect: expect, session: h.names()}
	h.hello = mine.encode()
	if _, err := h.conn.Write(h.hello); err != nil {
		return established{}, err
	}
	body, err := readFrame(h.conn)
	if err != nil {
		return established{}, err
	}
	w, err := decodeWelcome(body)
	if err != nil {
		return established{}, err
	}
	if w.status != statusOK {
		return established{}, refused(w.status, w.text)
	}
	if w.secret != mine.secret {
		return established{}, ErrSecret
	}
	h.welcome = frame(body)
	if mine.secret {
		if err := h.proveToAcceptor(); err != nil {
			return established{}, err
		}
	}
	if st, text := judge(me, w.from, expect); st != statusOK {
		return established{}, refused(st, text)
	}
	return h.finish(ctx, dialling, w.from, protocol, w.session)
}

func (h *handshake) proveToAcceptor() error {
	theirs, err := h.readProof(h.conn, h.material.keys, "accept")
	if err != nil {
		return err
	}
	if theirs == nil {
		return ErrSecret
	}
	h.keys = [][]byte{h.proves(), theirs}
	if _, err := h.conn.Write(h.proof(h.proves(), "dial")); err != nil {
		return err
	}
	var verdict [1]byte
	if _, err := io.ReadFull(h.conn, verdict[:]); err != nil {
		return err
	}
	if verdict[0] != byte(statusOK) {
		return refused(status(verdict[0]), "")
	}
	return nil
}

// finish begins the session that both named a key for.
func (h *handshake) finish(ctx context.Context, s side, peer Identity, protocol Protocol, theirs []byte) (established, error) {
	done := established{conn: h.conn, peer: peer, protocol: protocol, keys: h.keys}
	if h.names() == nil {
		return done, nil
	}
	if theirs == nil {
		if h.warned.Over("plain " + peer.Server) {
			h.cfg.Logger.Info("a peer of an earlier version: what passes between it and this node is not encrypted until it is upgraded", "peer", peer.Server)
		}
		return done, nil
	}
	session, err := secure(ctx, h.conn, h.session.config(theirs), s)
	if err != nil {
		return established{}, err
	}
	done.conn = session
	return done, nil
}

// receive is the accepting side. A nil error means that the other side may be believed and was told so.
func (p *Port) receive(ctx context.Context, c net.Conn) (established, error) {
	h, err := p.newHandshake(ctx, c, accepting)
	if err != nil {
		return established{}, err
	}
	body, err := readFrame(h.conn)
	if err != nil {
		return established{}, err
	}
	theirs, err := decodeHello(body)
	if err != nil {
		return established{}, err
	}
	me := p.cfg.Local()
	st, text := h.verdict(me, &theirs)
	w := welcome{status: st, secret: h.proves() != nil, nonce: newNonce(), from: me, text: text}
	if theirs.session != nil {
		w.session = h.names()
	}
	h.hello, h.welcome = frame(body), w.encode()
	if st != statusOK {
		_, _ = h.conn.Write(h.welcome) // a courtesy; the connection ends either way
		return established{}, refused(st, text)
	}
	if err := h.proveToDialler(); err != nil {
		return established{}, err
	}
	return h.finish(ctx, accepting, theirs.from, theirs.protocol, theirs.session)
}

func (h *handshake) proveToDialler() error {
	if h.proves() == nil {
		_, err := h.conn.Write(h.welcome)
		return err
	}
	if _, err := h.conn.Write(slices.Concat(h.welcome, h.proof(h.proves(), "accept"))); err != nil {
		return err
	}
	theirs, err := h.readProof(h.conn, h.material.keys, "dial")
	if err != nil {
		return fmt.Errorf("%w (or it gave up: %v)", ErrSecret, err)
	}
	if theirs == nil {
		_, _ = h.conn.Write([]byte{byte(statusSecret)})
		return ErrSecret
	}
	h.keys = [][]byte{h.proves(), theirs}
	_, err = h.conn.Write([]byte{byte(statusOK)})
	return err
}

// verdict decides what can be decided before the proofs.
func (h *handshake) verdict(me Identity, theirs *hello) (status, string) {
	switch {
	case theirs.secret && h.proves() == nil:
		return statusSecret, "this node has no cluster secret"
	case !theirs.secret && h.proves() != nil:
		return statusSecret, "this node demands the cluster secret"
	case theirs.expect != "" && theirs.expect != me.Server:
		return statusServer, fmt.Sprintf("this is %s, not %s", me.Server, theirs.expect)
	}
	l := h.listener(theirs.protocol)
	if l == nil {
		return statusProtocol, fmt.Sprintf("protocol %d", theirs.protocol)
	}
	if len(l.queue) == cap(l.queue) {
		return statusBusy, fmt.Sprintf("%d wait to be accepted", cap(l.queue))
	}
	return judge(me, theirs.from, "")
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
