package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

type testPort struct {
	*Port
	mu      sync.Mutex // guards id
	id      Identity
	adopted chan string
	decides func(cluster string) error // nil: adopts nothing, and minds nothing
}

func (p *testPort) adopt(cluster string) error {
	p.adopted <- cluster
	if p.decides == nil {
		return nil
	}
	return p.decides(cluster)
}

// secretOf makes a name long enough to be a secret.
func secretOf(name string) []byte { return []byte(name + ", a secret of this test") }

func trustOf(t *testing.T, c Credentials) *Trust {
	t.Helper()
	trust, err := NewTrust(c)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func open(t *testing.T, server, cluster, secret string) *testPort {
	t.Helper()
	if secret == "" {
		return openTrusting(t, server, cluster, nil)
	}
	return openTrusting(t, server, cluster, trustOf(t, Credentials{Secrets: [][]byte{secretOf(secret)}}))
}

func openTrusting(t *testing.T, server, cluster string, trust *Trust) *testPort {
	t.Helper()
	p := &testPort{id: Identity{Cluster: cluster, Server: server, Name: "name of " + server, Boot: 7}, adopted: make(chan string, 8)}
	port, err := Open(Config{
		Addr: "127.0.0.1:0", Trust: trust, Logger: hclog.NewNullLogger(),
		Local: func() Identity { p.mu.Lock(); defer p.mu.Unlock(); return p.id },
		Adopt: func(cluster string, _ Identity) error { return p.adopt(cluster) },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Port = port
	t.Cleanup(func() { port.Close() })
	return p
}

func (p *testPort) serve(t *testing.T, protocol Protocol) *Listener {
	t.Helper()
	l, err := p.Listener(protocol)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, from, to *Port, protocol Protocol, expect string) (*Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return from.Dial(ctx, to.Addr().String(), protocol, expect)
}

func TestConnectionsKnowTheirPeers(t *testing.T) {
	for _, secret := range []string{"", "of the cluster"} {
		a, b := open(t, "a", "c1", secret), open(t, "b", "c1", secret)
		raft, calls := b.serve(t, ProtocolRaft), b.serve(t, ProtocolCall)
		for _, l := range []*Listener{calls, raft} {
			out, err := dial(t, a.Port, b.Port, l.protocol, "b")
			if err != nil {
				t.Fatal(err)
			}
			in, err := l.AcceptConn()
			if err != nil {
				t.Fatal(err)
			}
			if in.Peer != a.id || out.Peer != b.id {
				t.Errorf("peers %+v and %+v", in.Peer, out.Peer)
			}
			if _, err := out.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(in, got); err != nil || string(got) != "hello" {
				t.Errorf("%q, %v", got, err)
			}
			out.Close()
			if _, err := in.Read(got); err != io.EOF {
				t.Errorf("reading on: %v", err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	home := open(t, "home", "c1", "secret")
	home.serve(t, ProtocolRaft)
	plain := open(t, "plain", "c1", "")
	plain.serve(t, ProtocolRaft)
	friend, stranger := open(t, "friend", "c1", "secret"), open(t, "stranger", "c2", "secret")
	for _, tt := range []struct {
		name     string
		from, to *testPort
		protocol Protocol
		expect   string
		want     error
	}{
		{"welcome", friend, home, ProtocolRaft, "home", nil},
		{"any server", friend, home, ProtocolRaft, "", nil},
		{"other secret", open(t, "x", "c1", "other"), home, ProtocolRaft, "", ErrSecret},
		{"no secret here", plain, home, ProtocolRaft, "", ErrSecret},
		{"no secret there", friend, plain, ProtocolRaft, "", ErrSecret},
		{"other cluster", stranger, home, ProtocolRaft, "", ErrCluster},
		{"other server", friend, home, ProtocolRaft, "elsewhere", ErrServer},
		{"itself", home, home, ProtocolRaft, "", ErrSelf},
		{"itself by another port", open(t, "home", "c1", "secret"), home, ProtocolRaft, "", ErrSelf},
		{"not served", friend, home, ProtocolCall, "", ErrProtocol},
	} {
		c, err := dial(t, tt.from.Port, tt.to.Port, tt.protocol, tt.expect)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if c != nil {
			c.Close()
		}
	}
}

func TestClusterIsAdoptedFromEitherSide(t *testing.T) {
	member, fresh := open(t, "member", "c1", "s"), open(t, "fresh", "", "s")
	member.serve(t, ProtocolRaft)
	fresh.serve(t, ProtocolRaft)
	for _, way := range [][2]*testPort{{fresh, member}, {member, fresh}} {
		if _, err := dial(t, way[0].Port, way[1].Port, ProtocolRaft, ""); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-fresh.adopted:
			if got != "c1" {
				t.Errorf("adopted %q", got)
			}
		case <-time.After(patience):
			t.Fatal("nothing adopted")
		}
	}
	// Never from one who does not know the secret.
	liar := open(t, "liar", "c9", "t")
	if _, err := dial(t, liar.Port, fresh.Port, ProtocolRaft, ""); !errors.Is(err, ErrSecret) {
		t.Errorf("the liar: %v", err)
	}
	if len(fresh.adopted) != 0 {
		t.Error("a cluster was adopted from a liar")
	}
}

// TestOldProofsAreOfNoUse: what an eavesdropper recorded of one handshake does not open another.
func TestOldProofsAreOfNoUse(t *testing.T) {
	home, friend := open(t, "home", "c1", "s"), open(t, "friend", "c1", "s")
	home.serve(t, ProtocolRaft)
	record := &bytes.Buffer{}
	relay, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		in, err := relay.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", home.Addr().String())
		if err != nil {
			in.Close()
			return
		}
		done := make(chan struct{})
		go func() { defer close(done); _, _ = io.Copy(in, out); in.Close() }()
		_, _ = io.Copy(io.MultiWriter(out, record), in)
		out.Close()
		<-done
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := friend.Dial(ctx, relay.Addr().String(), ProtocolRaft, "home")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-relayed
	raw, err := net.Dial("tcp", home.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Write(record.Bytes()); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(raw) // until home hangs up
	if len(answer) == 0 || answer[len(answer)-1] != byte(statusSecret) {
		t.Errorf("the replayed handshake was answered with %x", answer)
	}
}

func TestGarbageIsClosed(t *testing.T) {
	p := open(t, "p", "c1", "s")
	p.serve(t, ProtocolRaft)
	long := append([]byte(magic), version, 0xff, 0xff)
	for _, garbage := range [][]byte{
		[]byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0}, 1<<16), long, frame(nil), frame([]byte{1, 2, 3}), append([]byte(magic), 99, 0, 0),
	} {
		c, err := net.Dial("tcp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(garbage) // it may be closed before all is written
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q: %v", garbage, err)
		}
		c.Close()
	}
	friend := open(t, "friend", "c1", "s")
	if _, err := dial(t, friend.Port, p.Port, ProtocolRaft, "p"); err != nil {
		t.Errorf("after the garbage: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	a, b := open(t, "a", "", ""), open(t, "b", "", "")
	l := b.serve(t, ProtocolRaft)
	out, err := dial(t, a.Port, b.Port, ProtocolRaft, "")
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Dial("tcp", b.Addr().String()) // stays in its handshake
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range []net.Conn{out, silent} {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection is still open")
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Error("a connection is still open")
		}
	}
	if _, err := l.Accept(); !errors.Is(err, ErrClosed) {
		t.Errorf("accepting: %v", err)
	}
	if _, err := b.Listener(ProtocolCall); !errors.Is(err, ErrClosed) {
		t.Errorf("listening: %v", err)
	}
	if _, err := dial(t, b.Port, a.Port, ProtocolRaft, ""); err == nil {
		t.Error("dialling from a closed port")
	}
}

func TestListenerCloseFreesTheProtocol(t *testing.T) {
	a, b := open(t, "a", "", ""), open(t, "b", "", "")
	l := b.serve(t, ProtocolRaft)
	if _, err := b.Listener(ProtocolRaft); err == nil {
		t.Error("two listeners for a protocol")
	}
	if _, err := dial(t, a.Port, b.Port, ProtocolRaft, ""); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := dial(t, a.Port, b.Port, ProtocolRaft, ""); !errors.Is(err, ErrProtocol) {
		t.Errorf("dialling a closed listener: %v", err)
	}
	b.serve(t, ProtocolRaft)
	if _, err := dial(t, a.Port, b.Port, ProtocolRaft, ""); err != nil {
		t.Errorf("dialling the next listener: %v", err)
	}
}

func TestBacklogIsBounded(t *testing.T) {
	a, b := open(t, "a", "", ""), open(t, "b", "", "")
	b.serve(t, ProtocolRaft)
	for range backlog {
		if _, err := dial(t, a.Port, b.Port, ProtocolRaft, ""); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(patience)
	for { // the last ones may still be on their way into the queue
		c, err := dial(t, a.Port, b.Port, ProtocolRaft, "")
		if errors.Is(err, ErrBusy) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("one too many: %v", err)
		}
		c.Close()
	}
}

func TestBindingBeyondLoopbackNeedsASecret(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0"} {
		if err := CheckBind(addr, nil); err == nil || !strings.Contains(err.Error(), "--cluster-secret-file") {
			t.Errorf("%s: %v", addr, err)
		}
		if err := CheckBind(addr, trustOf(t, Credentials{Secrets: [][]byte{secretOf("s")}})); err != nil {
			t.Errorf("%s with a secret: %v", addr, err)
		}
	}
	if err := CheckBind("127.0.0.1:0", nil); err != nil {
		t.Error(err)
	}
	if _, err := Open(Config{Addr: "0.0.0.0:0"}); err == nil {
		t.Error("opened")
	}
}

func FuzzHandshake(f *testing.F) {
	h := hello{secret: true, protocol: ProtocolCall, nonce: newNonce(), from: Identity{"c", "s", "n", 5}, expect: "e"}
	f.Add(h.encode())
	h.session = bytes.Repeat([]byte{7}, 32)
	f.Add(h.encode())
	w := welcome{status: statusServer, from: Identity{"c", "s", "n", 5}, text: "why"}
	f.Add(w.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := readFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		if h, err := decodeHello(body); err == nil {
			again, err := readFrame(bytes.NewReader(h.encode()))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decodeHello(again); err != nil || !reflect.DeepEqual(got, h) {
				t.Errorf("%+v came back as %+v, %v", h, got, err)
			}
		}
		if w, err := decodeWelcome(body); err == nil {
			again, err := readFrame(bytes.NewReader(w.encode()))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := decodeWelcome(again); err != nil || !reflect.DeepEqual(got, w) {
				t.Errorf("%+v came back as %+v, %v", w, got, err)
			}
		}
	})
}
