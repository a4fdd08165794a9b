package amqp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/transport/wire"
)

// authority signs certificates for one test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.cert, a.key = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign})
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate, signed by the authority or, for the authority's own, by itself.
func (a *authority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) issue(usage x509.ExtKeyUsage) tls.Certificate {
	cert, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{usage}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func (a *authority) server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.issue(x509.ExtKeyUsageServerAuth)}}
}

func serveTLS(t testing.TB, b Broker, config Config, secrets *tls.Config) *Server {
	t.Helper()
	s := New(config, b)
	if err := openTLS(s, secrets); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitMax)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

// TestTLS: amqp091-go through TLS 1.2 and 1.3, beside a door without; large bodies both ways.
func TestTLS(t *testing.T) {
	a := newAuthority(t)
	s := serve(t, ForNode(newNode(t)), testConfig())
	if err := openTLS(s, a.server()); err != nil {
		t.Fatal(err)
	}
	openChannel(t, connect(t, s))
	address := s.doors[1].Addr().String()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := amqp091.DialTLS("amqps://guest:guest@"+address+"/", &tls.Config{RootCAs: a.pool, MinVersion: version, MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		ch := openChannel(t, conn)
		q, err := ch.QueueDeclare("", false, true, true, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := ch.Confirm(false); err != nil {
			t.Fatal(err)
		}
		deliveries, err := ch.Consume(q.Name, "", true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 3<<20)
		for range 3 {
			confirm, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", q.Name, true, false, amqp091.Publishing{Body: body})
			if err != nil || !confirm.Wait() {
				t.Fatal("not confirmed", err)
			}
			if d := receive(t, deliveries, "delivery"); len(d.Body) != len(body) {
				t.Fatalf("%d bytes", len(d.Body))
			}
		}
		found := false
		for _, info := range s.Connections() {
			found = found || info.TLS == tls.VersionName(version)
		}
		if !found {
			t.Errorf("no connection with %s", tls.VersionName(version))
		}
	}
	if _, err := tls.Dial("tcp", address, &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was taken")
	}
}

// TestClientCertificates: with an authority for clients, only those that it signed get in.
func TestClientCertificates(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	secrets := a.server()
	secrets.ClientCAs, secrets.ClientAuth = a.pool, tls.RequireAndVerifyClientCert
	s := serveTLS(t, newFakeBroker(), testConfig(), secrets)
	try := func(own ...tls.Certificate) error {
		conn, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: a.pool, Certificates: own})
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(waitMax))
		_, _ = io.WriteString(conn, wire.ProtocolHeader)
		_, err = io.ReadFull(conn, make([]byte, frameHeaderBytes)) // in TLS 1.3 the refusal comes with the first read
		return err
	}
	if err := try(a.issue(x509.ExtKeyUsageClientAuth)); err != nil {
		t.Errorf("own client: %v", err)
	}
	if err := try(); err == nil {
		t.Error("a client without a certificate got in")
	}
	if err := try(stranger.issue(x509.ExtKeyUsageClientAuth)); err == nil {
		t.Error("a stranger's client got in")
	}
	if err := try(a.issue(x509.ExtKeyUsageServerAuth)); err == nil {
		t.Error("a server's certificate got in")
	}
}

const frameHeaderBytes = 7

// TestHalfOpenTLS: silence, an AMQP header in the clear and garbage at the TLS door end within the handshake time-out.
func TestHalfOpenTLS(t *testing.T) {
	config := testConfig()
	config.HandshakeTimeout = 200 * time.Millisecond
	s := serveTLS(t, newFakeBroker(), config, newAuthority(t).server())
	for _, words := range []string{"", wire.ProtocolHeader, strings.Repeat("\xff", 1000), "\x16\x03\x01"} {
		conn := dial(t, s)
		_, _ = io.WriteString(conn, words)
		if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
			t.Errorf("%q: still open", words)
		}
	}
	waitFor(t, "the end of all", func() bool { return len(s.live()) == 0 })
}

// openTLSPeer connects a peer that speaks frames, through TLS.
func openTLSPeer(t testing.TB, config Config) (*peer, *fakeSession, *Server) {
	t.Helper()
	a := newAuthority(t)
	b := newFakeBroker()
	s := serveTLS(t, b, config, a.server())
	conn := tls.Client(dial(t, s), &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1"})
	p := &peer{t: t, conn: conn, in: wire.NewReader()}
	p.open(capable)
	session := receive(t, b.sessions, "session")
	p.send((&wire.ChannelOpen{}).AppendFrame(nil, 1))
	p.await(wire.IDChannelOpenOk)
	return p, session, s
}

// TestSlowTLSPeer: a time-out of one slice is not the end of a TLS connection, and grants that interrupt a read do not harm it.
func TestSlowTLSPeer(t *testing.T) {
	config := testConfig()
	config.WriteStallMax = 400 * time.Millisecond
	config.WindowMessages = 2
	p, session, s := openTLSPeer(t, config)
	p.send((&wire.BasicConsume{Queue: "q", ConsumerTag: "c"}).AppendFrame(nil, 1))
	ref := session.await(t, fsm.KindConsume).ref
	session.effects(fsm.Effect{Kind: fsm.Replied, Ref: ref, Command: fsm.KindConsume, Consumer: "c"})
	const count, bodyBytes = 6, 1 << 20
	for tag := uint64(1); tag <= count; tag++ {
		session.effects(fsm.Effect{Kind: fsm.Delivered, Ref: ref, Consumer: "c", Tag: tag, Body: make([]byte, bodyBytes)})
	}
	ticker := time.NewTicker(150 * time.Millisecond) // longer than a slice, shorter than the limit
	defer ticker.Stop()
	piece := make([]byte, 512<<10)
	for taken := 0; taken < count*bodyBytes; {
		<-ticker.C
		n, err := io.ReadFull(p.conn, piece[:min(len(piece), count*bodyBytes-taken)])
		if taken += n; err != nil {
			t.Fatalf("after %d bytes: %v", taken, err)
		}
	}
	session.await(t, fsm.KindGrant)
	p.send((&wire.BasicAck{DeliveryTag: 1}).AppendFrame(nil, 1))
	session.await(t, fsm.KindAck)
	if s.Stats().PeersStalled != 0 {
		t.Fatalf("%+v", s.Stats())
	}
}

// TestTLSPeerThatTakesNothing is dropped, also where the reader waits for the broker meanwhile and then no more.
func TestTLSPeerThatTakesNothing(t *testing.T) {
	config := testConfig()
	config.WriteStallMax = 200 * time.Millisecond
	_, session, s := openTLSPeer(t, config)
	ref := fsm.Ref{Conn: 1, Channel: 1, Incarnation: 1}
	for tag := uint64(1); tag <= 16; tag++ {
		session.effects(fsm.Effect{Kind: fsm.Delivered, Ref: ref, Consumer: "c", Tag: tag, Body: make([]byte, 1<<20)})
	}
	receiveClosed(t, session.closed)
	if s.Stats().PeersStalled != 1 {
		t.Fatalf("%+v", s.Stats())
	}
}

// TestTLSServerCloses: the farewell arrives, then close_notify.
func TestTLSServerCloses(t *testing.T) {
	p, session, s := openTLSPeer(t, testConfig())
	session.handler.End(fsm.Forced, "over")
	if got := p.frames(wire.IDConnectionClose); !strings.Contains(got, "ReplyCode=320") {
		t.Fatal(got)
	}
	if _, err := p.next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	waitFor(t, "the end", func() bool { return len(s.live()) == 0 })
}

func openTLS(s *Server, secrets *tls.Config) error {
	err := s.Bind("127.0.0.1:0", secrets)
	s.Serve()
	return err
}
