package mux

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Certificates are this node's certificate and what it demands of those of its peers.
type Certificates struct {
	Own         tls.Certificate
	Authorities *x509.CertPool // a peer's certificate must lead to one of them, for both uses: server and client
	Name        string         // and carry this DNS name, where it is not ""
}

// LoadCertificates reads PEM files: a certificate with those between it and its authority, its key, and the authorities.
func LoadCertificates(certFile, keyFile, authoritiesFile, name string) (*Certificates, error) {
	own, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s, %s: %w", certFile, keyFile, err)
	}
	pem, err := os.ReadFile(authoritiesFile)
	if err != nil {
		return nil, err
	}
	c := &Certificates{Own: own, Authorities: x509.NewCertPool(), Name: name}
	if !c.Authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", authoritiesFile)
	}
	return c, c.checkOwn()
}

// checkOwn finds out now what every peer would find out: a node whose own certificate is no good in this cluster had better not take it up.
func (c *Certificates) checkOwn() error {
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := c.verify(c.Own.Leaf, c.Own.Certificate[1:], use); err != nil {
			return fmt.Errorf("this node's own certificate would be refused by its peers: %w", err)
		}
	}
	return nil
}

func (c *Certificates) verify(leaf *x509.Certificate, chain [][]byte, use x509.ExtKeyUsage) error {
	between := x509.NewCertPool()
	for _, der := range chain {
		if cert, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(cert)
		}
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: c.Authorities, Intermediates: between, DNSName: c.Name, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

// config is for one connection. Addresses are no part of the check: nodes are dialled by what gossip says, often by IP address, and prove who they are to
// the cluster, not to a name service.
func (c *Certificates) config(peerUse x509.ExtKeyUsage) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.Own}, SessionTicketsDisabled: true,
		InsecureSkipVerify: true, ClientAuth: tls.RequireAnyClientCert, // VerifyConnection does it, the same way at both ends
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("the peer shows no certificate")
			}
			var chain [][]byte
			for _, cert := range s.PeerCertificates[1:] {
				chain = append(chain, cert.Raw)
			}
			return c.verify(s.PeerCertificates[0], chain, peerUse)
		},
	}
}
