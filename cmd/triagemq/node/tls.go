package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
)

// validateTLS reports flags that are only half of what amqps needs.
func (c *Config) validateTLS() error {
	var errs []error
	if c.AMQPSAddr != "" {
		if _, _, err := net.SplitHostPort(c.AMQPSAddr); err != nil {
			errs = append(errs, fmt.Errorf("--amqps-addr %q: want host:port", c.AMQPSAddr))
		}
		if c.TLSCert == "" || c.TLSKey == "" {
			errs = append(errs, errors.New("--amqps-addr needs --tls-cert and --tls-key"))
		}
		return errors.Join(errs...)
	}
	for _, f := range []struct{ flag, value string }{{"tls-cert", c.TLSCert}, {"tls-key", c.TLSKey}, {"tls-ca", c.TLSCA}} {
		if f.value != "" {
			errs = append(errs, fmt.Errorf("--%s needs --amqps-addr", f.flag))
		}
	}
	return errors.Join(errs...)
}

// tlsConfig reads the files; nil without --amqps-addr. TLS 1.2 is the least. With --tls-ca a client must show a certificate that one of
// these authorities signed.
func (c *Config) tlsConfig() (*tls.Config, error) {
	if c.AMQPSAddr == "" {
		return nil, nil
	}
	own, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", c.TLSCert, c.TLSKey, err)
	}
	secrets := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}}
	if c.TLSCA == "" {
		return secrets, nil
	}
	pem, err := os.ReadFile(c.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("--tls-ca: %w", err)
	}
	secrets.ClientCAs, secrets.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !secrets.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--tls-ca: %s holds no certificate in PEM", c.TLSCA)
	}
	return secrets, nil
}
