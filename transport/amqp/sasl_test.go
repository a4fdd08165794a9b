package amqp

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// greet reads connection.start and returns the mechanisms that it offers.
func (p *peer) greet() string {
	p.send([]byte(wire.ProtocolHeader))
	_, arguments := p.await(wire.IDConnectionStart)
	var start wire.ConnectionStart
	if err := start.Decode(arguments); err != nil {
		p.t.Fatal(err)
	}
	return string(start.Mechanisms)
}

// logIn says who it is and returns the code of the refusal, 0 where there is none.
func (p *peer) logIn(mechanism string) uint16 {
	client := content.Table{{Name: "capabilities", Value: content.Table{{Name: "authentication_failure_close", Value: true}}}}
	p.send((&wire.ConnectionStartOk{Mechanism: mechanism, Locale: "en_US", ClientProperties: client.Append(nil)}).AppendFrame(nil, 0))
	f, err := p.next()
	if err != nil {
		p.t.Fatal(err)
	}
	if isMethod(f, wire.IDConnectionTune) {
		return 0
	}
	var m wire.ConnectionClose
	if err := m.Decode(f.Payload[4:]); err != nil {
		p.t.Fatal(err)
	}
	return m.ReplyCode
}

// TestExternalLogin: a verified certificate is a login, as the user that it names.
func TestExternalLogin(t *testing.T) {
	a := newAuthority(t)
	certificate := func(subject pkix.Name, dns ...string) []tls.Certificate {
		cert, key := a.sign(&x509.Certificate{Subject: subject, DNSNames: dns, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}
	}
	guest := pkix.Name{CommonName: "guest"}
	for _, c := range []struct {
		name         string
		certificates []tls.Certificate
		which        CertificateName
		offered      bool
		code         uint16
	}{
		{"common name", certificate(guest), CommonName, true, 0},
		{"nobody's common name", certificate(pkix.Name{CommonName: "nobody"}), CommonName, true, 403},
		{"no common name", certificate(pkix.Name{Organization: []string{"guest"}}), CommonName, true, 403},
		{"distinguished name", certificate(guest), DistinguishedName, true, 403}, // "CN=guest" is not the user "guest"
		{"alternative name", certificate(pkix.Name{}, "guest", "other"), SubjectAlternativeName, true, 0},
		{"no alternative name", certificate(guest), SubjectAlternativeName, true, 403},
		{"no certificate", nil, CommonName, false, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := testConfig()
			config.CertificateName = c.which
			secrets := a.server()
			secrets.ClientCAs, secrets.ClientAuth = a.pool, tls.VerifyClientCertIfGiven
			s := serveTLS(t, newFakeBroker(), config, secrets)
			conn := tls.Client(dial(t, s), &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", Certificates: c.certificates})
			p := &peer{t: t, conn: conn, in: wire.NewReader()}
			if offered := slices.Contains(strings.Fields(p.greet()), "EXTERNAL"); offered != c.offered {
				t.Errorf("offered: %v", offered)
			}
			if code := p.logIn("EXTERNAL"); code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
		})
	}
}

// TestExternalNeedsTLS: without TLS nobody is who he says.
func TestExternalNeedsTLS(t *testing.T) {
	s := serve(t, newFakeBroker(), testConfig())
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	if offered := p.greet(); offered != "PLAIN AMQPLAIN" {
		t.Errorf("%q are offered", offered)
	}
	if code := p.logIn("EXTERNAL"); code != 503 {
		t.Errorf("code %d", code)
	}
}

func TestAnonymousLogin(t *testing.T) {
	for user, want := range map[string]struct {
		offered string
		code    uint16
	}{
		"":       {"PLAIN AMQPLAIN", 503},
		"guest":  {"PLAIN AMQPLAIN ANONYMOUS", 0},
		"nobody": {"PLAIN AMQPLAIN ANONYMOUS", 403},
	} {
		config := testConfig()
		config.AnonymousUser = user
		s := serve(t, newFakeBroker(), config)
		p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
		if offered := p.greet(); offered != want.offered {
			t.Errorf("user %q: %q are offered", user, offered)
		}
		if code := p.logIn("ANONYMOUS"); code != want.code {
			t.Errorf("user %q: code %d, want %d", user, code, want.code)
		}
	}
}

// TestRefusedLoginNamesItsUser: the client is told nothing, the operator who it was, whatever the mechanism.
func TestRefusedLoginNamesItsUser(t *testing.T) {
	var log lockedBuffer
	config := testConfig()
	config.AnonymousUser = "visitor"
	config.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
	s := serve(t, newFakeBroker(), config)
	p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
	p.greet()
	if code := p.logIn("ANONYMOUS"); code != 403 {
		t.Fatalf("code %d", code)
	}
	if !strings.Contains(log.String(), "visitor") {
		t.Errorf("the log does not say who: %s", log.String())
	}
}

// lockedBuffer is a log that a test reads while others write it.
type lockedBuffer struct {
	mu  sync.Mutex
	all strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// TestDetails: what operators see of a connection, on all nodes.
func TestDetails(t *testing.T) {
	b := newFakeBroker()
	s := serve(t, b, testConfig())
	name := content.Field{Name: "connection_name", Value: "worker 7"}
	for _, c := range []struct {
		properties, shown content.Table
	}{
		{content.Table{name, {Name: "x", Value: int32(1)}}, content.Table{name, {Name: "x", Value: int32(1)}}},
		{content.Table{name, {Name: "x", Value: string(bytes.Repeat([]byte("x"), fsm.DetailsBytesMax))}}, content.Table{name}},
	} {
		p := &peer{t: t, conn: dial(t, s), in: wire.NewReader()}
		p.open(c.properties)
		encoded := receive(t, b.sessions, "session").spec.Details
		if len(encoded) > fsm.DetailsBytesMax {
			t.Fatalf("%d bytes", len(encoded))
		}
		details, _, err := content.DecodeTable(encoded)
		if err != nil {
			t.Fatal(err)
		}
		host, port := hostPort(p.conn.LocalAddr())
		for field, want := range map[string]any{
			"protocol": "AMQP 0-9-1", "peer_host": host, "peer_port": port, "host": "127.0.0.1", "port": int32(s.Addr().(*net.TCPAddr).Port), "ssl": false,
			"auth_mechanism": "PLAIN", "channel_max": int32(2047), "frame_max": int64(131072), "timeout": int32(0),
		} {
			if got, _ := details.Get(field); got != want {
				t.Errorf("%s is %v, want %v", field, got, want)
			}
		}
		if shown, _ := details.Get("client_properties"); !content.Equal(shown, c.shown) {
			t.Errorf("client properties are %v, want %v", shown, c.shown)
		}
	}
}
