package amqp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm/content"
	"github.com/triagemq/triagemq/transport/wire"
)

// CertificateName says which name of a client's certificate is its user's (SASL EXTERNAL; RabbitMQ: ssl_cert_login_from).
type CertificateName string

// Names of a certificate.
const (
	CommonName             CertificateName = "common_name"
	DistinguishedName      CertificateName = "distinguished_name"       // RFC 2253: "CN=worker,O=Example"
	SubjectAlternativeName CertificateName = "subject_alternative_name" // the first DNS name
)

// mechanisms are those offered to this client: EXTERNAL to one that showed a certificate which the TLS handshake verified, ANONYMOUS where it is switched on.
func (c *connection) mechanisms() string {
	all := "PLAIN AMQPLAIN"
	if c.certificate() != nil {
		all += " EXTERNAL"
	}
	if c.config.AnonymousUser != "" {
		all += " ANONYMOUS"
	}
	return all
}

// certificate is the client's, verified; nil where there is none.
func (c *connection) certificate() *x509.Certificate {
	t, ok := c.socket.(*tls.Conn)
	if !ok {
		return nil
	}
	if state := t.ConnectionState(); len(state.VerifiedChains) > 0 {
		return state.VerifiedChains[0][0]
	}
	return nil
}

// login checks who the client is. One that does not expect a connection.close at this point has its socket closed, after a delay against guessing.
func (c *connection) login(mechanism string, response []byte) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.config.HandshakeTimeout)
	defer cancel()
	identity, err := c.authenticate(ctx, mechanism, response)
	var x *exception
	switch {
	case err == nil:
		c.user, c.mechanism = identity.User, mechanism
		c.impersonates = slices.Contains(identity.Tags, "impersonator")
		c.server.metrics.logins.Add(1)
		return nil
	case errors.As(err, &x) && x.code != accessRefused:
		return x
	case x == nil && !errors.Is(err, broker.ErrAccess):
		return exceptionf(connectionForced, wire.IDConnectionStartOk, "login is not possible now: %v", err)
	}
	c.server.metrics.badLogin.Add(1)
	if c.client.authFailureClose {
		c.log.Info("login refused", "mechanism", mechanism, "error", err)
		return exceptionf(accessRefused, 0, "Login was refused using authentication mechanism %s. For details see the broker logfile.", mechanism)
	}
	delay := time.NewTimer(c.config.LoginDelay)
	defer delay.Stop()
	select {
	case <-delay.C:
	case <-c.ctx.Done():
	}
	return fmt.Errorf("login refused: mechanism %s: %w", mechanism, unframed(err))
}

// unframed hides that an error is an exception: this client is told of none.
func unframed(err error) error { return errors.New(err.Error()) }

// authenticate asks the broker, in the way of the mechanism.
func (c *connection) authenticate(ctx context.Context, mechanism string, response []byte) (broker.Identity, error) {
	peer := c.tcp.RemoteAddr().String()
	if !strings.Contains(" "+c.mechanisms()+" ", " "+mechanism+" ") || mechanism == "" {
		return broker.Identity{}, exceptionf(commandInvalid, wire.IDConnectionStartOk, "unknown authentication mechanism '%s'", mechanism)
	}
	switch mechanism {
	case "EXTERNAL": // the response names whom to act for, which is not supported, as in RabbitMQ
		name := nameOf(c.certificate(), c.config.CertificateName)
		if name == "" {
			return broker.Identity{}, exceptionf(accessRefused, 0, "the certificate has no %s", c.config.CertificateName)
		}
		identity, err := c.server.broker.LoginExternal(ctx, name, peer)
		return identity, ofUser(name, err)
	case "ANONYMOUS": // the response is a trace for people (RFC 4505)
		identity, err := c.server.broker.LoginExternal(ctx, c.config.AnonymousUser, peer)
		return identity, ofUser(c.config.AnonymousUser, err)
	}
	user, password, err := credentials(mechanism, response)
	if err != nil {
		return broker.Identity{}, err
	}
	identity, err := c.server.broker.Login(ctx, user, password, peer)
	return identity, ofUser(user, err)
}

// ofUser adds to the error of a login whose it was: the log says it, the client is not told.
func ofUser(user string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("user %q: %w", user, err)
}

// nameOf is the user's name in a certificate; "" where it has none of that kind.
func nameOf(cert *x509.Certificate, which CertificateName) string {
	switch which {
	case DistinguishedName:
		return cert.Subject.String()
	case SubjectAlternativeName:
		if len(cert.DNSNames) == 0 {
			return ""
		}
		return cert.DNSNames[0]
	}
	return cert.Subject.CommonName
}

// credentials reads a SASL response.
func credentials(mechanism string, response []byte) (user, password string, err error) {
	switch mechanism {
	case "PLAIN": // RFC 4616: [authzid] NUL authcid NUL password
		parts := strings.Split(string(response), "\x00")
		if len(parts) != 3 {
			return "", "", exceptionf(accessRefused, 0, "malformed PLAIN response")
		}
		return parts[1], parts[2], nil
	case "AMQPLAIN": // a field table without its length
		table := append([]byte{byte(len(response) >> 24), byte(len(response) >> 16), byte(len(response) >> 8), byte(len(response))}, response...)
		fields, _, err := content.DecodeTable(table)
		if err != nil {
			return "", "", exceptionf(accessRefused, 0, "malformed AMQPLAIN response")
		}
		login, _ := fields.Get("LOGIN")
		secret, _ := fields.Get("PASSWORD")
		user, isUser := login.(string)
		password, isPassword := secret.(string)
		if !isUser || !isPassword {
			return "", "", exceptionf(accessRefused, 0, "AMQPLAIN response without LOGIN and PASSWORD")
		}
		return user, password, nil
	}
	return "", "", exceptionf(commandInvalid, wire.IDConnectionStartOk, "unknown authentication mechanism '%s'", mechanism)
}
