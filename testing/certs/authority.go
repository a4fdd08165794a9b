// Package certs makes certificates for tests: an Authority that signs for the keys of nodes, in memory or as PEM files. It imports nothing of ours, so that
// every package's tests may use it.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates. Its methods may be called by several goroutines.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Template says what a certificate holds. The zero value is that of a node, good for an hour, for both uses and the DNS name "node".
type Template struct {
	Name  string             // DNS name and common name; "" = node
	Until time.Time          // the end of its validity; zero: an hour from now
	Uses  []x509.ExtKeyUsage // nil: server and client
}

// New makes an authority that is good for an hour.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "authority of a test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	a.cert = sign(t, template, template, &a.key.PublicKey, a.key)
	return a
}

// Pool holds the authority's own certificate.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Sign makes a key and a certificate for it.
func (a *Authority) Sign(t Template) tls.Certificate {
	a.t.Helper()
	if t.Name == "" {
		t.Name = "node"
	}
	if t.Until.IsZero() {
		t.Until = time.Now().Add(time.Hour)
	}
	if t.Uses == nil {
		t.Uses = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	key := newKey(a.t)
	leaf := sign(a.t, &x509.Certificate{
		SerialNumber: serial(a.t), Subject: pkix.Name{CommonName: t.Name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: t.Until, DNSNames: []string{t.Name},
		ExtKeyUsage: t.Uses,
	}, a.cert, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Files writes cert.pem, key.pem and ca.pem into a folder, each replaced as a whole, for a certificate of the template.
func (a *Authority) Files(dir string, t Template) (cert, key, authority string) {
	a.t.Helper()
	signed := a.Sign(t)
	private, err := x509.MarshalPKCS8PrivateKey(signed.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key, authority = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	replace(a.t, key, "PRIVATE KEY", private)
	replace(a.t, cert, "CERTIFICATE", signed.Certificate[0])
	replace(a.t, authority, "CERTIFICATE", a.cert.Raw)
	return cert, key, authority
}

// Bundle writes the certificates of several authorities to ca.pem in a folder, replaced as a whole.
func Bundle(t testing.TB, dir string, authorities ...*Authority) {
	t.Helper()
	var ders [][]byte
	for _, a := range authorities {
		ders = append(ders, a.cert.Raw)
	}
	replace(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", ders...)
}

func replace(t testing.TB, path, kind string, ders ...[]byte) {
	t.Helper()
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t testing.TB, template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
