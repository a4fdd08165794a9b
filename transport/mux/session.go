package mux

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
)

// A handshake by a secret over plain TCP says who is there, and protects nothing of what follows. So both sides draw a key pair when their port opens, name
// their public key in hello and welcome, which the proofs cover, and go on in a TLS 1.3 session in which each demands exactly the key that the other has
// named: whoever only relays the handshake has neither key. A side of an earlier version names no key, and the connection stays plain as it was. Nobody in
// the middle can bring that about: a message from which the key is missing is not the one that the proof covers.

// sessionKey is the key pair of a port, in a certificate that nobody signed: TLS wants one.
type sessionKey struct {
	cert tls.Certificate
	sum  [sha256.Size]byte // of the certificate; what hello and welcome name
}

func newSessionKey() (*sessionKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, err
	}
	return &sessionKey{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, sum: sha256.Sum256(der)}, nil
}

// config is for a session with the one peer that named theirs.
func (k *sessionKey) config(theirs []byte) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{k.cert}, SessionTicketsDisabled: true,
		InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert, // VerifyConnection demands more than a signature: this key and no other
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) != 1 {
				return errors.New("not one certificate")
			}
			sum := sha256.Sum256(s.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(sum[:], theirs) != 1 {
				return errors.New("another key than the one that the handshake named")
			}
			return nil
		},
	}
}

// side is which end of a connection this is.
type side int

const (
	dialling side = iota
	accepting
)

// secure begins a TLS session on c, whose deadline bounds it.
func secure(ctx context.Context, c net.Conn, conf *tls.Config, s side) (*sealed, error) {
	session := tls.Client(c, conf)
	if s == accepting {
		session = tls.Server(c, conf)
	}
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	return &sealed{Conn: session, tcp: c}, nil
}

// sealed is a TLS session that is closed by closing its TCP connection. The farewell that tls.Conn sends would wait up to 5 s for a peer that does not read,
// in callers that end a connection just because its peer does not read; nor does anything here depend on it: what the protocols carry has its own ends.
type sealed struct {
	*tls.Conn
	tcp net.Conn
}

func (s *sealed) Close() error { return s.tcp.Close() }

// channel is a value that the two ends of a TLS session share and nobody else has (RFC 9266).
func (s *sealed) channel() ([]byte, error) {
	state := s.ConnectionState()
	return state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
}
