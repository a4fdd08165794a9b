package broker

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
)

// guest is the user that RabbitMQ and its clients know by default; its password is public, so it is for this machine alone.
const guest = "guest"

// tagAdministrator lets a user manage everything.
const tagAdministrator = "administrator"

// Identity is who has logged in.
type Identity struct {
	User string
	Tags []string // management, monitoring, policymaker, administrator and others
}

// Login checks a user name and password as seen from a client address ("127.0.0.1:51324"). ErrAccess, whatever was wrong. Any goroutine.
func (n *Node) Login(_ context.Context, user, password, remoteAddr string) (Identity, error) {
	userOK := equalSecret(user, n.cfg.DefaultUser)
	passwordOK := equalSecret(password, n.cfg.DefaultPass)
	if !userOK || !passwordOK || user == guest && !fromLoopback(remoteAddr) {
		return Identity{}, ErrAccess
	}
	return Identity{User: user, Tags: []string{tagAdministrator}}, nil
}

// LoginExternal lets a user in whose name the door has verified by other means than a password, a certificate for one. The user must exist: ErrAccess
// otherwise. Any goroutine.
func (n *Node) LoginExternal(_ context.Context, user, remoteAddr string) (Identity, error) {
	if user != n.cfg.DefaultUser || user == guest && !fromLoopback(remoteAddr) {
		return Identity{}, ErrAccess
	}
	return Identity{User: user, Tags: []string{tagAdministrator}}, nil
}

// equalSecret takes the same time whatever the two have in common, their lengths included.
func equalSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func fromLoopback(remoteAddr string) bool {
	a, err := netip.ParseAddrPort(remoteAddr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}
