package mux

import (
	"errors"
	"fmt"
	"net"

	"github.com/hashicorp/go-hclog"
)

// Config is what a Port needs; every field but Trust and Adopt is required.
type Config struct {
	Addr  string // address to bind, host:port; port 0 takes a free one
	Trust *Trust // what is shown to peers and demanded of them; nil binds loopback only
	// Local is this server's identity at the moment; it is asked at each handshake.
	Local func() Identity
	// Adopt is told of an authenticated peer of a cluster while Local names none. On an error the connection is refused, and so it is where Local names another
	// cluster afterwards: of two peers that come at once to a server without a cluster, one decides whose it is.
	Adopt  func(cluster string, from Identity) error
	Logger hclog.Logger
}

func (c *Config) validate() error {
	var errs []error
	if c.Local == nil {
		errs = append(errs, errors.New("mux: no Local"))
	}
	if c.Logger == nil {
		errs = append(errs, errors.New("mux: no Logger"))
	}
	return errors.Join(append(errs, CheckBind(c.Addr, c.Trust))...)
}

// CheckBind refuses an address beyond loopback where neither a secret nor a certificate is demanded: whoever can write to a peer or gossip port writes the log.
func CheckBind(addr string, trust *Trust) error {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return err
	}
	if !trust.demands() && !a.IP.IsLoopback() {
		return fmt.Errorf("refusing to bind %s without a cluster secret: whoever reaches this port could write the log; set --cluster-secret-file (the same file on all nodes) or --peer-tls-cert, --peer-tls-key and --peer-tls-ca, or bind a loopback address", addr)
	}
	return nil
}
