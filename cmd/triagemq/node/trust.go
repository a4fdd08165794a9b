package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/transport/mux"
)

// trustInterval is how often the files of the cluster secret and of the peer certificates are read again.
const trustInterval = 2 * time.Second

// readSecrets returns the cluster secrets: the lines of --cluster-secret-file, else those of the environment's value.
func (c *Config) readSecrets(environment string) ([][]byte, error) {
	text := []byte(environment)
	if c.ClusterSecretFile != "" {
		var err error
		if text, err = os.ReadFile(c.ClusterSecretFile); err != nil {
			return nil, fmt.Errorf("--cluster-secret-file: %w", err)
		}
	}
	var secrets [][]byte
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			secrets = append(secrets, line)
		}
	}
	if c.ClusterSecretFile != "" && len(secrets) == 0 {
		return nil, fmt.Errorf("--cluster-secret-file: %s is empty", c.ClusterSecretFile)
	}
	return secrets, nil
}

// warnOfOpenFiles tells of files with secrets that every user of this machine can read.
func (c *Config) warnOfOpenFiles(log hclog.Logger) {
	for _, file := range []string{c.ClusterSecretFile, c.PeerTLSKey, c.TLSKey} {
		if file == "" {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
			log.Warn("every user of this machine can read a secret of this node: take the right away with chmod o-r", "file", file)
		}
	}
}

func (c *Config) validatePeerTLS() error {
	given := 0
	for _, v := range []string{c.PeerTLSCert, c.PeerTLSKey, c.PeerTLSCA} {
		if v != "" {
			given++
		}
	}
	switch {
	case given != 0 && given != 3:
		return errors.New("--peer-tls-cert, --peer-tls-key and --peer-tls-ca belong together")
	case given == 0 && c.PeerTLSName != "":
		return errors.New("--peer-tls-name needs --peer-tls-cert, --peer-tls-key and --peer-tls-ca")
	}
	return nil
}

// trust is what this node shows to its peers and demands of them.
func (c *Config) trust() (*mux.Trust, error) {
	certificates, err := c.peerCertificates()
	if err != nil {
		return nil, err
	}
	return mux.NewTrust(mux.Credentials{Secrets: c.ClusterSecrets, Certificates: certificates})
}

func (c *Config) peerCertificates() (*mux.Certificates, error) {
	if c.PeerTLSCert == "" {
		return nil, nil
	}
	certificates, err := mux.LoadCertificates(c.PeerTLSCert, c.PeerTLSKey, c.PeerTLSCA, c.PeerTLSName)
	if err != nil {
		return nil, fmt.Errorf("--peer-tls-cert, --peer-tls-key, --peer-tls-ca: %w", err)
	}
	return certificates, nil
}

// trustFiles returns what the files hold, or why they cannot be read, all in one: when it changes there is something to take up.
func (c *Config) trustFiles() (all []byte) {
	for _, file := range []string{c.ClusterSecretFile, c.PeerTLSCert, c.PeerTLSKey, c.PeerTLSCA} {
		if file == "" {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			b = []byte(err.Error())
		}
		all = append(append(all, b...), 0)
	}
	return all
}

// watchTrust takes up the secrets and certificates that are put in the place of those in use, until ctx ends. What cannot be used changes nothing: it may be
// half of a replacement, or a mistake that must not part this node from its cluster.
func (c *Config) watchTrust(ctx context.Context, trust *mux.Trust, log hclog.Logger) {
	if c.ClusterSecretFile == "" && c.PeerTLSCert == "" {
		return
	}
	tick := time.NewTicker(trustInterval)
	defer tick.Stop()
	var seen []byte // the first tick takes up what changed since the start
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := c.trustFiles()
		if bytes.Equal(now, seen) {
			continue
		}
		first := seen == nil
		seen = now
		if err := c.reloadTrust(trust); err != nil {
			log.Warn("the files of the cluster secret or of the peer certificates have changed and cannot be used: what was read before stays in use", "error", err)
			continue
		}
		if first {
			continue
		}
		log.Info("read the cluster secret and the peer certificates again", "secrets", len(trust.Secrets()))
	}
}

func (c *Config) reloadTrust(trust *mux.Trust) error {
	now := mux.Credentials{Secrets: trust.Secrets()}
	var err error
	if c.ClusterSecretFile != "" {
		if now.Secrets, err = c.readSecrets(""); err != nil {
			return err
		}
	}
	if now.Certificates, err = c.peerCertificates(); err != nil {
		return err
	}
	return trust.Replace(now)
}
