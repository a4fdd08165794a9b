package fsm

import (
	"maps"
	"slices"
)

// user is someone who may log in. What the password is, the state machine does not know: nodes compare it with the hash.
type user struct {
	cold
	serial                      uint64
	name                        string
	hash, algorithm             string
	tags                        []string
	connectionsMax, channelsMax int64 // NoLimit: none

	permissions map[string]*permission                 // by virtual host
	topics      map[string]map[string]*topicPermission // by virtual host and exchange; no empty ones

	sessions, channels int // open ones (derived)
}

// initUsers makes the first user, once in the life of a cluster.
func (s *State) initUsers(c *InitUsers) *refusal {
	if s.usersInitialised {
		return nil
	}
	if c.Name == "" {
		return namelessUser()
	}
	s.usersInitialised = true
	u := s.addUser(c.Name)
	u.hash, u.algorithm, u.tags = c.Hash, c.Algorithm, []string{"administrator"}
	if v := s.vhosts["/"]; v != nil {
		s.allowAll(u, v)
	}
	s.reattach(func(*session) bool { return true })
	return nil
}

func namelessUser() *refusal { return refuse(PreconditionFailed, "a user needs a name") }

func noUser(name string) *refusal { return refuse(NotFound, "user '%s' not found", name) }

// addUser finds or makes a user.
func (s *State) addUser(name string) *user {
	u := s.users[name]
	if u == nil {
		u = newUser(s.nextSerial(), name)
		s.users[name] = u
		s.reattach(func(ses *session) bool { return ses.user == name })
	}
	s.touch(u)
	return u
}

func newUser(serial uint64, name string) *user {
	return &user{
		serial: serial, name: name, connectionsMax: NoLimit, channelsMax: NoLimit,
		permissions: make(map[string]*permission), topics: make(map[string]map[string]*topicPermission),
	}
}

func (s *State) putUser(c *PutUser) *refusal {
	if c.Name == "" {
		return namelessUser()
	}
	u := s.addUser(c.Name)
	u.hash, u.algorithm, u.tags = c.Hash, c.Algorithm, c.Tags
	return nil
}

func (s *State) deleteUser(c *DeleteUser) *refusal {
	u := s.users[c.Name]
	if u == nil {
		return noUser(c.Name)
	}
	mine := s.sessionsWhere(func(ses *session) bool { return ses.account == u })
	s.forceSessions(mine, KindDeleteUser, "user '"+u.name+"' was deleted")
	for _, vhost := range slices.Sorted(maps.Keys(u.permissions)) {
		s.forget(u.permissions[vhost])
	}
	for _, vhost := range slices.Sorted(maps.Keys(u.topics)) {
		s.forgetTopics(u, vhost)
	}
	delete(s.users, u.name)
	s.forget(u)
	return nil
}

func (s *State) putUserLimits(c *PutUserLimits) *refusal {
	u := s.users[c.User]
	if u == nil {
		return noUser(c.User)
	}
	u.connectionsMax, u.channelsMax = max(c.MaxConnections, NoLimit), max(c.MaxChannels, NoLimit)
	s.touch(u)
	return nil
}

// reached tells whether a limit forbids one more.
func reached(limit int64, have int) bool { return limit >= 0 && int64(have) >= limit }

// attach gives a session its user's record and what he may do in its virtual host. It follows every change of those.
func (s *State) attach(ses *session) {
	u := s.users[ses.user]
	if old := ses.account; old != u {
		if old != nil {
			old.sessions--
			old.channels -= len(ses.channels)
		}
		if u != nil {
			u.sessions++
			u.channels += len(ses.channels)
		}
		ses.account = u
	}
	ses.rights, ses.topics = s.rightsIn(u, ses.vhost)
}

// leaveUser takes a session that ends off its user's count; its channels follow.
func (ses *session) leaveUser() {
	if ses.account != nil {
		ses.account.sessions--
	}
}

func (s *State) reattach(wanted func(*session) bool) {
	for _, ses := range s.sessionsWhere(wanted) {
		s.attach(ses)
	}
}

// countChannels follows the opening and ending of a session's channels.
func (ses *session) countChannels(n int) {
	ses.vhost.channels += n
	if ses.account != nil {
		ses.account.channels += n
	}
}
