package broker

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/go-hclog"

	"github.com/triagemq/triagemq/fsm"
)

// putUser makes a user on one node and waits until all have him.
func putUser(t *testing.T, n *Node, name, password string, tags ...string) {
	t.Helper()
	h, err := hashPassword(password, 1)
	must(t, err)
	must(t, n.PutUser(t.Context(), UserSpec{Name: name, Password: h, Tags: tags}))
	synctest.Wait()
}

func TestLogin(t *testing.T) {
	inCluster(t, 3, func(t *testing.T, c *memCluster) {
		putUser(t, c.nodes[1].node, "ann", "secret", "management")
		must(t, c.nodes[1].node.PutUser(t.Context(), UserSpec{Name: "certified"}))
		n := c.nodes[2].node
		for _, login := range []struct {
			user, password, addr string
			ok                   bool
		}{
			{"guest", "guest", "127.0.0.1:5000", true},
			{"guest", "guest", "127.0.0.1:5000", true},
			{"guest", "guest", "[::1]:5000", true},
			{"guest", "guest", "[::ffff:127.0.0.1]:5000", true},
			{"guest", "guest", "10.0.0.1:5000", false},
			{"guest", "guest", "nonsense", false},
			{"guest", "Guest", "127.0.0.1:5000", false},
			{"", "", "127.0.0.1:5000", false},
			{"ann", "secret", "10.0.0.1:5000", true},
			{"ann", "", "10.0.0.1:5000", false},
			{"ann", "guest", "127.0.0.1:5000", false},
			{"certified", "", "127.0.0.1:5000", false},
			{"certified", "x", "127.0.0.1:5000", false},
			{"nobody", "x", "127.0.0.1:5000", false},
		} {
			_, err := n.Login(t.Context(), login.user, login.password, login.addr)
			if (err == nil) != login.ok || err != nil && !errors.Is(err, ErrAccess) {
				t.Errorf("%+v: %v", login, err)
			}
		}
		if who, err := n.Login(t.Context(), "ann", "secret", ""); err != nil || who.User != "ann" || !slices.Equal(who.Tags, []string{"management"}) {
			t.Errorf("ann is %+v, %v", who, err)
		}
		for user, want := range map[string]error{"certified": nil, "ann": nil, "nobody": ErrAccess, "guest": ErrAccess} {
			if _, err := n.LoginExternal(t.Context(), user, "10.0.0.1:5000"); !errors.Is(err, want) {
				t.Errorf("%s with a certificate: %v, want %v", user, err, want)
			}
		}
	})
}

// TestRememberedLogin: a password that was right is not hashed again, and is wrong as soon as the user's record says so.
func TestRememberedLogin(t *testing.T) {
	inCluster(t, 1, func(t *testing.T, c *memCluster) {
		n := c.nodes[0].node
		putUser(t, n, "ann", "old")
		login := func(password string) error {
			_, err := n.Login(t.Context(), "ann", password, "")
			return err
		}
		must(t, login("old"))
		for range hashesAtOnce {
			n.logins.slots <- struct{}{} // no hash can be compared any more
		}
		if err := login("old"); err != nil {
			t.Errorf("a remembered password: %v", err)
		}
		for range hashesAtOnce {
			<-n.logins.slots
		}
		putUser(t, n, "ann", "new")
		if err := login("old"); !errors.Is(err, ErrAccess) {
			t.Errorf("the old password after a change: %v", err)
		}
		must(t, login("new"))
		must(t, n.DeleteUser(t.Context(), "ann"))
		if err := login("new"); !errors.Is(err, ErrAccess) {
			t.Errorf("a deleted user: %v", err)
		}
	})
}

// TestFirstUser: in a new cluster the leader's default user appears, once, whatever the other nodes are told, and clients are accepted from then on.
func TestFirstUser(t *testing.T) {
	cfg := func(i int) Config {
		cfg := memConfig(i)
		cfg.DefaultUser = []string{"first", "second", "third"}[i]
		return cfg
	}
	n, err := New(cfg(0))
	must(t, err)
	if accepting, _ := n.Accepting(); accepting {
		t.Error("a node accepts clients before there are users")
	}
	inClusterOf(t, 3, cfg, func(t *testing.T, c *memCluster) {
		for i, m := range c.nodes {
			_, open := m.node.Accepting()
			<-open
			if err := m.node.Ready(); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
			users := m.node.Users()
			if len(users) != 1 || users[0].Name != "first" || !slices.Equal(users[0].Tags, []string{"administrator"}) {
				t.Errorf("node %d has the users %+v", i, users)
			}
			if p := m.node.Permissions(); len(p) != 1 || p[0] != (fsm.PermissionView{VHost: "/", User: "first", Configure: ".*", Write: ".*", Read: ".*"}) {
				t.Errorf("node %d permits %+v", i, p)
			}
		}
	})
}

// TestSecretsStayOutOfLogs: at the finest level, neither a password nor its hash is in a line.
func TestSecretsStayOutOfLogs(t *testing.T) {
	var lines bytes.Buffer
	cfg := func(i int) Config {
		cfg := memConfig(i)
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &lines})
		cfg.DefaultPass = "first-password"
		return cfg
	}
	inClusterOf(t, 1, cfg, func(t *testing.T, c *memCluster) {
		n := c.nodes[0].node
		putUser(t, n, "ann", "second-password")
		_, _ = n.Login(t.Context(), "ann", "second-password", "")
		_, _ = n.Login(t.Context(), "ann", "third-password", "")
		secrets := []string{"first-password", "second-password", "third-password"}
		for _, u := range n.Users() {
			secrets = append(secrets, u.Hash)
		}
		synctest.Wait()
		if lines.Len() == 0 {
			t.Fatal("nothing was logged: the test shows nothing")
		}
		for _, secret := range secrets {
			if strings.Contains(lines.String(), secret) {
				t.Errorf("%q was logged", secret)
			}
		}
	})
}
