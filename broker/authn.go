package broker

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"github.com/triagemq/triagemq/fsm"
)

// guest is the user that RabbitMQ and its clients know by default; its password is public, so it is for this machine alone.
const guest = "guest"

const (
	hashesAtOnce     = 2               // slow hashes under way: a storm of logins must not take the processors from the log
	verifiedUsersMax = 10_000          // remembered logins; the memory is cleared at the bound
	loginCatchUp     = 1 * time.Second // how long a login that would be refused waits for news of its user
)

// Identity is who has logged in.
type Identity struct {
	User string
	Tags []string // management, monitoring, policymaker, administrator and others
}

// Login checks a user name and password as seen from a client address ("127.0.0.1:51324"). ErrAccess, whatever was wrong; ctx's error where it ends first.
// Right passwords are remembered while the user's record stays as it is, so that only the first login of a user at a node pays for the slow hash. Nobody is
// refused on the word of a replica that lags behind. Any goroutine.
func (n *Node) Login(ctx context.Context, user, password, remoteAddr string) (Identity, error) {
	if password == "" || user == guest && !fromLoopback(remoteAddr) {
		return Identity{}, ErrAccess
	}
	record, known := n.User(user)
	if known && n.logins.remembers(&record, password) {
		return Identity{User: user, Tags: record.Tags}, nil
	}
	n.catchUp(ctx)
	record, known = n.User(user)
	ok, err := n.logins.verify(ctx, record, known, password)
	switch {
	case err != nil:
		return Identity{}, err
	case !ok:
		return Identity{}, ErrAccess
	}
	return Identity{User: user, Tags: record.Tags}, nil
}

// LoginExternal lets a user in whose name the door has verified by other means than a password, a certificate for one. The user must exist: ErrAccess
// otherwise. Any goroutine.
func (n *Node) LoginExternal(ctx context.Context, user, remoteAddr string) (Identity, error) {
	if user == guest && !fromLoopback(remoteAddr) {
		return Identity{}, ErrAccess
	}
	record, known := n.User(user)
	if !known {
		n.catchUp(ctx)
		if record, known = n.User(user); !known {
			return Identity{}, ErrAccess
		}
	}
	return Identity{User: user, Tags: record.Tags}, nil
}

// catchUp waits until this replica has applied what was committed before the call, or for loginCatchUp: without a leader the replica's own word stands.
func (n *Node) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, loginCatchUp)
	defer cancel()
	n.CatchUp(ctx)
}

// logins verifies passwords: a few slow hashes at a time, and a memory of those that were right.
type logins struct {
	slots chan struct{} // one for each hash under way
	key   [32]byte      // of this process: the memory holds no hash that would be of use elsewhere
	dummy PasswordHash  // what passwords of unknown users are compared with, so that they take the same time

	mu       sync.Mutex // guards what follows
	verified map[string]verifiedLogin
}

type verifiedLogin struct {
	hash PasswordHash // of the record that it was compared with
	mac  [sha256.Size]byte
}

func newLogins(iterations int) (*logins, error) {
	l := &logins{slots: make(chan struct{}, hashesAtOnce), verified: map[string]verifiedLogin{}}
	if _, err := rand.Read(l.key[:]); err != nil {
		return nil, err
	}
	l.dummy = dummyHash(iterations)
	return l, nil
}

// remembers tells whether this password was right for this very record.
func (l *logins) remembers(u *fsm.UserView, password string) bool {
	mac := l.mac(u.Name, password)
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.verified[u.Name]
	return ok && v.hash == hashOf(u) && hmac.Equal(v.mac[:], mac[:])
}

func (l *logins) remember(u *fsm.UserView, password string) {
	v := verifiedLogin{hash: hashOf(u), mac: l.mac(u.Name, password)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.verified) >= verifiedUsersMax {
		clear(l.verified)
	}
	l.verified[u.Name] = v
}

func (l *logins) mac(user, password string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, l.key[:])
	h.Write([]byte(user))
	h.Write([]byte{0})
	h.Write([]byte(password))
	h.Sum(sum[:0])
	return sum
}

// verify compares a password with a user's hash. It takes the time of one slow hash whether or not the user exists, has a password, or has one that is cheap to compare.
func (l *logins) verify(ctx context.Context, u fsm.UserView, known bool, password string) (ok bool, err error) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-l.slots }()
	if known && l.remembers(&u, password) { // another connection of this user was first
		return true, nil
	}
	h := hashOf(&u)
	if !known || h.Algorithm != HashingPBKDF2 {
		l.dummy.matches(password)
	}
	if ok = known && h.matches(password); ok {
		l.remember(&u, password)
	}
	return ok, nil
}

func hashOf(u *fsm.UserView) PasswordHash { return PasswordHash{Hash: u.Hash, Algorithm: u.Algorithm} }

func fromLoopback(remoteAddr string) bool {
	a, err := netip.ParseAddrPort(remoteAddr)
	return err == nil && a.Addr().Unmap().IsLoopback()
}
