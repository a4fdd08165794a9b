package mux

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/testing/certs"
)

func secrets(names ...string) Credentials {
	var c Credentials
	for _, n := range names {
		c.Secrets = append(c.Secrets, secretOf(n))
	}
	return c
}

func TestCredentialsAreChecked(t *testing.T) {
	for want, c := range map[string]Credentials{
		"has 5 bytes: want at least 16":      {Secrets: [][]byte{[]byte("short")}},
		"cluster secret 2 of 2 has 0 bytes":  {Secrets: [][]byte{secretOf("a"), {}}},
		"cluster secret 3 is number 1 again": secrets("a", "b", "a"),
		"9 cluster secrets: at most 8":       secrets("a", "b", "c", "d", "e", "f", "g", "h", "i"),
	} {
		if _, err := NewTrust(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	trust := trustOf(t, secrets("a"))
	if err := trust.Replace(Credentials{}); err == nil {
		t.Error("the secret could be taken away from open ports")
	}
	if err := trust.Replace(secrets("b", "b")); err == nil || len(trust.Secrets()) != 1 || string(trust.Secrets()[0]) != string(secretOf("a")) {
		t.Errorf("what is invalid was taken: %v", err)
	}
}

// TestSecretsAreReplacedOneNodeAfterTheOther is the documented procedure: at every step, in either order of the nodes, they know each other, and when the old
// secret is gone, so are the connections that rest on it.
func TestSecretsAreReplacedOneNodeAfterTheOther(t *testing.T) {
	trusts := [2]*Trust{trustOf(t, secrets("old")), trustOf(t, secrets("old"))}
	ports := [2]*testPort{openTrusting(t, "a", "c1", trusts[0]), openTrusting(t, "b", "c1", trusts[1])}
	listeners := [2]*Listener{ports[0].serve(t, ProtocolRaft), ports[1].serve(t, ProtocolRaft)}
	connect := func(from int) (out, in *Conn) {
		t.Helper()
		out, err := dial(t, ports[from].Port, ports[1-from].Port, ProtocolRaft, "")
		if err != nil {
			t.Fatal(err)
		}
		in, err = listeners[1-from].AcceptConn()
		if err != nil {
			t.Fatal(err)
		}
		return out, in
	}
	first, _ := connect(0)
	for _, step := range []Credentials{secrets("old", "new"), secrets("new", "old")} {
		for k := range trusts {
			if err := trusts[k].Replace(step); err != nil {
				t.Fatal(err)
			}
			connect(0)
			connect(1)
		}
	}
	second, _ := connect(0) // rests on the new one alone
	if err := first.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Errorf("a connection ended while its secret was still accepted: %v", err)
	}
	for k := range trusts {
		if err := trusts[k].Replace(secrets("new")); err != nil {
			t.Fatal(err)
		}
		connect(0)
		connect(1)
	}
	if err := first.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection of the secret that is gone: %v", err)
	}
	if err := second.SetReadDeadline(time.Now()); err != nil {
		t.Errorf("a connection of the new secret: %v", err)
	}
	if _, err := dial(t, open(t, "late", "c1", "old").Port, ports[0].Port, ProtocolRaft, ""); !errors.Is(err, ErrSecret) {
		t.Errorf("with the old secret: %v", err)
	}
}

// wiretap passes bytes on between a dialler and an address, lets change see and alter what the dialler says, and keeps all of it.
type wiretap struct {
	net.Listener
	mu    sync.Mutex // guards what follows
	seen  bytes.Buffer
	conns []net.Conn
	wg    sync.WaitGroup
}

func tap(t *testing.T, to net.Addr, change func([]byte) []byte) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{Listener: l}
	w.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to.String())
			if err != nil {
				in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			w.wg.Go(func() { w.pass(out, in, change) })
			w.wg.Go(func() { w.pass(in, out, nil) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

func (w *wiretap) pass(to, from net.Conn, change func([]byte) []byte) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.seen.Write(b[:n])
		w.mu.Unlock()
		out := b[:n]
		if change != nil {
			out = change(out)
		}
		if _, err := to.Write(out); err != nil {
			return
		}
	}
}

// TestASecretSealsTheStream: who sits on the wire reads nothing of what follows the handshake, and what is altered is noticed.
func TestASecretSealsTheStream(t *testing.T) {
	a, b := open(t, "a", "c1", "s"), open(t, "b", "c1", "s")
	l := b.serve(t, ProtocolRaft)
	var alter sync.Mutex
	flip := false
	w := tap(t, b.Addr(), func(p []byte) []byte {
		alter.Lock()
		defer alter.Unlock()
		if flip {
			p[len(p)-1] ^= 1
		}
		return p
	})
	out, err := a.Dial(t.Context(), w.Addr().String(), ProtocolRaft, "b")
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("attack at dawn "), 100)
	got := make([]byte, len(text))
	if _, err := out.Write(text); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, got); err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%.20q…, %v", got, err)
	}
	w.mu.Lock()
	if bytes.Contains(w.seen.Bytes(), []byte("dawn")) {
		t.Error("the stream can be read on the wire")
	}
	w.mu.Unlock()
	alter.Lock()
	flip = true
	alter.Unlock()
	if _, err := out.Write(text); err != nil {
		t.Fatal(err)
	}
	if n, err := in.Read(got); err == nil {
		t.Errorf("%d altered bytes were taken", n)
	}
}

// TestTheSessionCannotBeTalkedAway: without the key in its message a side looks like one of an earlier version, which gets a plain connection; but then it is
// not the message that the proof covers.
func TestTheSessionCannotBeTalkedAway(t *testing.T) {
	a, b := open(t, "a", "c1", "s"), open(t, "b", "c1", "s")
	b.serve(t, ProtocolRaft)
	w := tap(t, b.Addr(), func(p []byte) []byte {
		body, err := readFrame(bytes.NewReader(p))
		if err != nil {
			return p
		}
		h, err := decodeHello(body)
		if err != nil || h.session == nil {
			t.Errorf("not a hello with a key: %v", err)
		}
		h.session = nil
		return h.encode()
	})
	if c, err := a.Dial(t.Context(), w.Addr().String(), ProtocolRaft, "b"); !errors.Is(err, ErrSecret) {
		t.Errorf("%v, %v", c, err)
	}
}

// TestEarlierVersionsAreServedPlainly speaks the handshake as it was before it named keys, at either end.
func TestEarlierVersionsAreServedPlainly(t *testing.T) {
	p := open(t, "p", "c1", "s")
	l := p.serve(t, ProtocolRaft)
	key := DeriveKey(secretOf("s"), "peer port")
	old := Identity{"c1", "old", "old", 1}

	c, err := net.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := hello{secret: true, protocol: ProtocolRaft, nonce: newNonce(), from: old}
	if _, err := c.Write(h.encode()); err != nil {
		t.Fatal(err)
	}
	body, err := readFrame(c)
	if err != nil {
		t.Fatal(err)
	}
	w, err := decodeWelcome(body)
	if err != nil || w.status != statusOK || w.session != nil {
		t.Fatalf("%+v, %v", w, err)
	}
	script := transcript{hello: h.encode(), welcome: frame(body)}
	if theirs, err := script.readProof(c, [][]byte{key}, "accept"); err != nil || theirs == nil {
		t.Fatalf("no proof: %v", err)
	}
	if _, err := c.Write(append(script.proof(key, "dial"), "x"...)); err != nil {
		t.Fatal(err)
	}
	in, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 1); must(io.ReadFull(in, b)) != 1 || b[0] != 'x' {
		t.Errorf("read %q", b)
	}

	accepting, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer accepting.Close()
	served := make(chan error, 1)
	go func() { served <- serveAsBefore(accepting, key, old) }()
	out, err := p.Dial(t.Context(), accepting.Addr().String(), ProtocolRaft, "old")
	if err != nil {
		t.Fatal(err)
	}
	if b := make([]byte, 1); must(io.ReadFull(out, b)) != 1 || b[0] != 'y' {
		t.Errorf("read %q", b)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func must(n int, err error) int {
	if err != nil {
		return -1
	}
	return n
}

func serveAsBefore(l net.Listener, key []byte, me Identity) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	body, err := readFrame(c)
	if err != nil {
		return err
	}
	w := welcome{secret: true, nonce: newNonce(), from: me}
	script := transcript{hello: frame(body), welcome: w.encode()}
	if _, err := c.Write(append(w.encode(), script.proof(key, "accept")...)); err != nil {
		return err
	}
	if theirs, err := script.readProof(c, [][]byte{key}, "dial"); err != nil || theirs == nil {
		return errors.New("no proof of the dialler")
	}
	_, err = c.Write([]byte{byte(statusOK), 'y'})
	return err
}

// nodeOf makes the certificates of one node.
func nodeOf(a *certs.Authority) *Certificates {
	return &Certificates{Own: a.Sign(certs.Template{}), Authorities: a.Pool()}
}

func TestCertificatesDecide(t *testing.T) {
	ours, others := certs.New(t), certs.New(t)
	with := func(t certs.Template) *Certificates {
		return &Certificates{Own: ours.Sign(t), Authorities: ours.Pool()}
	}
	named := nodeOf(ours)
	named.Name = "node"
	home := openTrusting(t, "home", "c1", trustOf(t, Credentials{Certificates: named}))
	home.serve(t, ProtocolRaft)
	for _, tt := range []struct {
		name string
		with Credentials
		want error
	}{
		{"a node", Credentials{Certificates: nodeOf(ours)}, nil},
		{"another name", Credentials{Certificates: with(certs.Template{Name: "client"})}, ErrTLS},
		{"another authority", Credentials{Certificates: &Certificates{Own: others.Sign(certs.Template{}), Authorities: ours.Pool()}}, ErrTLS},
		{"an authority that we do not trust", Credentials{Certificates: &Certificates{Own: ours.Sign(certs.Template{}), Authorities: others.Pool()}}, ErrTLS},
		{"expired", Credentials{Certificates: with(certs.Template{Until: time.Now().Add(-time.Minute)})}, ErrTLS},
		{"for servers only", Credentials{Certificates: with(certs.Template{Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})}, ErrTLS},
		{"none", Credentials{}, ErrTLS},
		{"a secret instead", secrets("s"), ErrTLS},
		{"a secret too many", Credentials{Certificates: nodeOf(ours), Secrets: secrets("s").Secrets}, ErrSecret},
	} {
		from := openTrusting(t, "from", "c1", trustOf(t, tt.with))
		from.serve(t, ProtocolRaft)
		c, err := dial(t, from.Port, home.Port, ProtocolRaft, "home")
		if err == nil { // TLS 1.3: the dialler learns of a refusal by its first read
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, read := c.Read(make([]byte, 1)); !isTimeout(read) {
				err = errors.Join(ErrTLS, read)
			}
			c.Close()
		}
		if (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if _, err := dial(t, home.Port, from.Port, ProtocolRaft, "from"); (err == nil) != (tt.want == nil) && tt.name != "for servers only" {
			t.Errorf("%s, the other way: %v, want %v", tt.name, err, tt.want)
		}
	}
	bare, err := net.Dial("tcp", home.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	old := tls.Client(bare, &tls.Config{MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true})
	if err := old.HandshakeContext(t.Context()); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// TestACertificateAloneRelaysNoProof: where certificates and a secret are demanded, somebody with a certificate who passes on what two nodes prove to each
// other gets nowhere: the proofs cover the session that they are made in.
func TestACertificateAloneRelaysNoProof(t *testing.T) {
	a := certs.New(t)
	both := func() *Trust {
		return trustOf(t, Credentials{Certificates: nodeOf(a), Secrets: secrets("s").Secrets})
	}
	from, to := openTrusting(t, "from", "c1", both()), openTrusting(t, "to", "c1", both())
	to.serve(t, ProtocolRaft)
	if _, err := dial(t, from.Port, to.Port, ProtocolRaft, "to"); err != nil {
		t.Fatal(err)
	}
	inTheMiddle := nodeOf(a)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var relay sync.WaitGroup
	defer relay.Wait()
	relay.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		in := tls.Server(c, inTheMiddle.config(x509.ExtKeyUsageClientAuth))
		raw, err := net.Dial("tcp", to.Addr().String())
		if err != nil {
			in.Close()
			return
		}
		out := tls.Client(raw, inTheMiddle.config(x509.ExtKeyUsageServerAuth))
		relay.Go(func() { _, _ = io.Copy(in, out); in.Close() })
		_, _ = io.Copy(out, in)
		out.Close()
	})
	c, err := from.Dial(t.Context(), l.Addr().String(), ProtocolRaft, "to")
	if !errors.Is(err, ErrSecret) {
		t.Errorf("through the middle: %v", err)
	}
	if err == nil {
		c.Close()
	}
}

func TestCertificatesAreReplacedUnderOpenConnections(t *testing.T) {
	ours, next := certs.New(t), certs.New(t)
	trust := trustOf(t, Credentials{Certificates: nodeOf(ours)})
	a, b := openTrusting(t, "a", "c1", trust), openTrusting(t, "b", "c1", trust)
	l := b.serve(t, ProtocolRaft)
	out, err := dial(t, a.Port, b.Port, ProtocolRaft, "")
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.AcceptConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.Replace(Credentials{Certificates: nodeOf(next)}); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Write([]byte("still here")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if _, err := dial(t, a.Port, b.Port, ProtocolRaft, ""); err != nil {
		t.Errorf("with the next authority at both ends: %v", err)
	}
}

func TestCertificateFilesAreChecked(t *testing.T) {
	ours, others := certs.New(t), certs.New(t)
	cert, key, ca := ours.Files(t.TempDir(), certs.Template{})
	if _, err := LoadCertificates(cert, key, ca, "node"); err != nil {
		t.Errorf("what belongs together: %v", err)
	}
	_, _, othersCA := others.Files(t.TempDir(), certs.Template{})
	serverCert, serverKey, _ := ours.Files(t.TempDir(), certs.Template{Uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	for want, files := range map[string][4]string{
		"private key does not match":  {cert, serverKey, ca, ""},
		"signed by unknown authority": {cert, key, othersCA, ""},
		"not another":                 {cert, key, ca, "another"},
		"holds no certificate":        {cert, key, key, ""},
		"no such file":                {cert, key, ca + ".none", ""},
		"incompatible key usage":      {serverCert, serverKey, ca, ""},
	} {
		if _, err := LoadCertificates(files[0], files[1], files[2], files[3]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestClosingDoesNotWaitForThePeer: a peer that does not read must not hold up whoever gives up on it.
func TestClosingDoesNotWaitForThePeer(t *testing.T) {
	a, b := open(t, "a", "c1", "s"), open(t, "b", "c1", "s")
	l := b.serve(t, ProtocolRaft)
	out, err := dial(t, a.Port, b.Port, ProtocolRaft, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AcceptConn(); err != nil {
		t.Fatal(err)
	}
	tcp := out.Conn.(*sealed).tcp
	for _, size := range []int{64 << 10, 1, 1} { // until the buffers are full to the last byte, and have grown as far as they would
		if err := tcp.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		for err = nil; err == nil; {
			_, err = tcp.Write(make([]byte, size))
		}
	}
	start := time.Now()
	out.Close()
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("closing took %v", took)
	}
}

// TestStrangersDoNotKeepPeersOut: the handshakes of one address beyond loopback have a bound of their own.
func TestStrangersDoNotKeepPeersOut(t *testing.T) {
	p := &Port{raw: map[net.Conn]struct{}{}}
	from := func(ip string) net.Conn { return addressed{ip: ip} }
	for port := range maxFromHost {
		p.raw[addressed{ip: "192.0.2.1", port: port + 1}] = struct{}{}
		p.raw[addressed{ip: "127.0.0.1", port: port + 1}] = struct{}{}
	}
	for ip, want := range map[string]bool{"192.0.2.1": true, "192.0.2.2": false, "127.0.0.1": false} {
		if got := p.crowdedLocked(from(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
}

type addressed struct {
	net.Conn
	ip   string
	port int
}

func (a addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(a.ip), Port: a.port} }

func TestTheSameIsToldOnceAMinute(t *testing.T) {
	var out bytes.Buffer
	cfg := Config{
		Addr: "127.0.0.1:0", Trust: trustOf(t, secrets("s")), Logger: hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Warn}),
		Local: func() Identity { return Identity{Cluster: "c1", Server: "quiet"} },
	}
	quiet, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quiet.Listener(ProtocolRaft); err != nil {
		t.Fatal(err)
	}
	stranger := open(t, "stranger", "c2", "s")
	for range 3 {
		if _, err := stranger.Dial(context.Background(), quiet.Addr().String(), ProtocolRaft, ""); !errors.Is(err, ErrCluster) {
			t.Fatal(err)
		}
	}
	quiet.Close() // joins the handshakes, which write the log
	if n := strings.Count(out.String(), "stranger is in cluster c2, quiet in cluster c1"); n != 1 {
		t.Errorf("told %d times:\n%s", n, out.String())
	}
}

// TestOfTwoClustersOneGetsANewcomer: both meet a server without a cluster at the same time; both were let in before either was adopted. One stays.
func TestOfTwoClustersOneGetsANewcomer(t *testing.T) {
	fresh := open(t, "fresh", "", "s")
	fresh.serve(t, ProtocolRaft)
	both := make(chan struct{}) // closed when both are past the verdict
	var arrived int
	fresh.decides = func(cluster string) error {
		fresh.mu.Lock()
		if arrived++; arrived == 2 {
			close(both)
		}
		fresh.mu.Unlock()
		<-both
		fresh.mu.Lock()
		defer fresh.mu.Unlock()
		if fresh.id.Cluster == "" {
			fresh.id.Cluster = cluster
		}
		return nil
	}
	var wg sync.WaitGroup
	ends := make(chan error, 2)
	for _, cluster := range []string{"c1", "c2"} {
		p := open(t, "of "+cluster, cluster, "s")
		wg.Go(func() {
			c, err := p.Dial(t.Context(), fresh.Addr().String(), ProtocolRaft, "")
			if err == nil {
				_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
				_, err = c.Read(make([]byte, 1))
			}
			ends <- err
		})
	}
	wg.Wait()
	if a, b := isTimeout(<-ends), isTimeout(<-ends); a == b {
		t.Errorf("open: %v and %v", a, b)
	}
}

func TestARefusedAdoptionEndsTheConnection(t *testing.T) {
	fresh, member := open(t, "fresh", "", "s"), open(t, "member", "c1", "s")
	fresh.decides = func(string) error { return errors.New("undecided") }
	member.serve(t, ProtocolRaft)
	if _, err := dial(t, fresh.Port, member.Port, ProtocolRaft, ""); !errors.Is(err, ErrCluster) || !strings.Contains(err.Error(), "undecided") {
		t.Errorf("%v", err)
	}
}

// TestWhoRelaysTheHandshakeHasNoSession: somebody in the middle can pass the proofs on, as they are; the session that follows is between two keys, and his is
// neither of them.
func TestWhoRelaysTheHandshakeHasNoSession(t *testing.T) {
	from, to := open(t, "from", "c1", "s"), open(t, "to", "c1", "s")
	to.serve(t, ProtocolRaft)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	relayed := make(chan error, 1)
	go func() { relayed <- relayHandshake(t.Context(), l, to.Addr().String()) }()
	if c, err := from.Dial(t.Context(), l.Addr().String(), ProtocolRaft, "to"); !errors.Is(err, ErrTLS) {
		t.Errorf("through the middle: %v, %v", c, err)
	}
	if err := <-relayed; err != nil {
		t.Errorf("the one in the middle came no further than this: %v", err)
	}
}

// relayHandshake passes a handshake on up to its verdict, and then begins a session of its own with the dialler. Its error is of the former.
func relayHandshake(ctx context.Context, l net.Listener, to string) error {
	in, err := l.Accept()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer out.Close()
	pass := func(to, from net.Conn, frames, bytes int) error {
		for range frames {
			body, err := readFrame(from)
			if err != nil {
				return err
			}
			if _, err := to.Write(frame(body)); err != nil {
				return err
			}
		}
		_, err := io.CopyN(to, from, int64(bytes))
		return err
	}
	for _, step := range []error{pass(out, in, 1, 0), pass(in, out, 1, macSize), pass(out, in, 0, macSize), pass(in, out, 0, 1)} {
		if step != nil {
			return step
		}
	}
	key, err := newSessionKey()
	if err != nil {
		return err
	}
	_ = tls.Server(in, &tls.Config{Certificates: []tls.Certificate{key.cert}, ClientAuth: tls.RequireAnyClientCert}).HandshakeContext(ctx)
	return nil
}
