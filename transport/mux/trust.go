package mux

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
)

// SecretBytesMin is the least length of a cluster secret. Whoever can reach a peer port can ask for a proof and then try secrets at leisure, so a secret must
// be drawn at random, not thought up; the bound keeps out the worst.
const SecretBytesMin = 16

// secretsMax bounds what a proof is compared with: an old secret, a new one, and some patience.
const secretsMax = 8

// Credentials are what a node shows to its peers and demands of them.
type Credentials struct {
	// Secrets are the cluster's: this node proves that it knows the first, and accepts proofs of any, so that a cluster can change its secret one node after
	// the other. 0 to 8 of at least SecretBytesMin bytes; without one no proof is demanded.
	Secrets [][]byte
	// Certificates, where they are not nil, make every connection begin with mutual TLS 1.3. A peer must then satisfy them and the secrets.
	Certificates *Certificates
}

// Trust holds the Credentials of a process for its ports and its gossip, which follow when they are replaced. A nil *Trust demands nothing. Its methods may be
// called by several goroutines.
type Trust struct {
	replacing sync.Mutex // serialises Replace, whose followers must see the changes in order

	mu        sync.Mutex // guards what follows
	now       material
	followers map[*func()]struct{}
}

// material is Credentials as the handshake uses them. It is never changed, only replaced.
type material struct {
	Credentials
	keys [][]byte // of the peer port, one for each secret
}

// NewTrust checks credentials and keeps them.
func NewTrust(c Credentials) (*Trust, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Trust{now: newMaterial(c), followers: map[*func()]struct{}{}}, nil
}

// Replace puts other credentials in the place of those in use: for the handshakes that begin from now on, for the gossip, and for open connections, of which
// those end that rest on a secret that is no longer there. Whether secrets and certificates are demanded at all cannot change while the ports are open.
func (t *Trust) Replace(c Credentials) error {
	if err := c.validate(); err != nil {
		return err
	}
	t.replacing.Lock()
	defer t.replacing.Unlock()
	before := t.material()
	if (len(c.Secrets) > 0) != (len(before.Secrets) > 0) || (c.Certificates != nil) != (before.Certificates != nil) {
		return errors.New("whether peers need a secret, or certificates, can change at a restart only")
	}
	t.mu.Lock()
	t.now = newMaterial(c)
	var followers []func()
	for f := range t.followers {
		followers = append(followers, *f)
	}
	t.mu.Unlock()
	for _, f := range followers {
		f()
	}
	return nil
}

// Follow calls changed after each Replace, from its goroutine, until stop is called.
func (t *Trust) Follow(changed func()) (stop func()) {
	if t == nil {
		return func() {}
	}
	key := &changed
	t.mu.Lock()
	defer t.mu.Unlock()
	t.followers[key] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.followers, key)
	}
}

// Secrets are those in use, the one to prove with first.
func (t *Trust) Secrets() [][]byte { return t.material().Secrets }

// Certified tells whether every connection begins with mutual TLS.
func (t *Trust) Certified() bool { return t.material().Certificates != nil }

// demands tells whether a stranger is kept out at all.
func (t *Trust) demands() bool { return len(t.Secrets()) > 0 || t.Certified() }

func (t *Trust) material() material {
	if t == nil {
		return material{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

func newMaterial(c Credentials) material {
	m := material{Credentials: c}
	for _, secret := range c.Secrets {
		m.keys = append(m.keys, DeriveKey(secret, "peer port"))
	}
	return m
}

func (c *Credentials) validate() error {
	var errs []error
	if len(c.Secrets) > secretsMax {
		errs = append(errs, fmt.Errorf("%d cluster secrets: at most %d", len(c.Secrets), secretsMax))
	}
	for i, secret := range c.Secrets {
		if len(secret) < SecretBytesMin {
			errs = append(errs, fmt.Errorf("cluster secret %d of %d has %d bytes: want at least %d, drawn at random (head -c 32 /dev/urandom | base64)",
				i+1, len(c.Secrets), len(secret), SecretBytesMin))
		}
		for j := range i {
			if bytes.Equal(secret, c.Secrets[j]) {
				errs = append(errs, fmt.Errorf("cluster secret %d is number %d again", i+1, j+1))
			}
		}
	}
	return errors.Join(errs...)
}

// proves is the key that this node proves its knowledge with; nil where no secret is set.
func (m *material) proves() []byte {
	if len(m.keys) == 0 {
		return nil
	}
	return m.keys[0]
}

// accepts tells whether a key is one of those that proofs may be made with.
func (m *material) accepts(key []byte) bool {
	for _, k := range m.keys {
		if subtle.ConstantTimeCompare(k, key) == 1 {
			return true
		}
	}
	return false
}
