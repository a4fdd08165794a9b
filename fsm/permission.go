package fsm

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// permission is what a user may do in a virtual host. Without one he may not even connect to it.
type permission struct {
	cold
	serial                 uint64
	user                   *user
	vhost                  *vhost
	configure, write, read pattern
}

// topicPermission narrows what a user may do with one topic exchange to routing keys.
type topicPermission struct {
	cold
	serial                    uint64
	user                      *user
	vhost                     *vhost
	exchange                  string
	writeSource, readSource   string  // as put
	writePattern, readPattern pattern // with {username} and {vhost} replaced (derived)
}

// pattern is a regular expression over names, as RabbitMQ has them: it may match anywhere, and the empty one matches the empty name alone.
type pattern struct {
	source string
	every  bool // matches every name: what nearly all permissions are
	regexp *namePattern
	known  map[string]bool // outcomes for names that were published to (not observable)
}

const patternOutcomesMax = 1024

func newPattern(source string) (pattern, *refusal) {
	p := pattern{source: source}
	switch source {
	case "":
		return p, nil
	case ".*", "^.*$", "^.*", ".*$":
		p.every = true
		return p, nil
	}
	if len(source) > PatternBytesMax {
		return p, refuse(PreconditionFailed, "a regular expression of %d bytes, at most %d are allowed", len(source), PatternBytesMax)
	}
	compiled, err := compilePattern(source)
	if err != nil {
		return p, refuse(PreconditionFailed, "invalid regular expression '%s': %v", source, err)
	}
	p.regexp = &compiled
	return p, nil
}

func (p *pattern) matches(name string) bool {
	switch {
	case p.every:
		return true
	case p.regexp == nil:
		return name == ""
	}
	return p.regexp.matches(name)
}

// matchesAgain is matches for the few names that are asked for with each publish: it remembers. Apply alone calls it, never a view.
func (p *pattern) matchesAgain(name []byte) bool {
	if p.every {
		return true
	}
	if outcome, ok := p.known[string(name)]; ok {
		return outcome
	}
	if p.known == nil || len(p.known) >= patternOutcomesMax {
		p.known = make(map[string]bool)
	}
	outcome := p.matches(string(name))
	p.known[string(name)] = outcome
	return outcome
}

func newPermission(serial uint64, u *user, v *vhost, configure, write, read string) (p *permission, r *refusal) {
	p = &permission{serial: serial, user: u, vhost: v}
	for _, one := range []struct {
		to     *pattern
		source string
	}{{&p.configure, configure}, {&p.write, write}, {&p.read, read}} {
		if *one.to, r = newPattern(one.source); r != nil {
			return nil, r
		}
	}
	return p, nil
}

func (s *State) putPermission(c *PutPermission) *refusal {
	u, v, r := s.userIn(c.User, c.VHost)
	if r != nil {
		return r
	}
	p, r := newPermission(0, u, v, c.Configure, c.Write, c.Read)
	if r != nil {
		return r
	}
	s.allow(p)
	return nil
}

// userIn finds both ends of a permission.
func (s *State) userIn(name, vhost string) (*user, *vhost, *refusal) {
	v := s.vhosts[vhost]
	if v == nil {
		return nil, nil, noVHost(vhost)
	}
	u := s.users[name]
	if u == nil {
		return nil, nil, noUser(name)
	}
	return u, v, nil
}

func (s *State) allowAll(u *user, v *vhost) {
	p, _ := newPermission(0, u, v, ".*", ".*", ".*")
	s.allow(p)
}

// allow puts a permission into the place of the one before, if there is one.
func (s *State) allow(p *permission) {
	p.serial = s.nextSerial()
	if old := p.user.permissions[p.vhost.name]; old != nil {
		s.forget(old)
	}
	p.user.permissions[p.vhost.name] = p
	s.touch(p)
	s.rightsChanged(p.user, p.vhost)
}

func (s *State) deletePermission(c *DeletePermission) *refusal {
	u, v, r := s.userIn(c.User, c.VHost)
	if r != nil {
		return r
	}
	p := u.permissions[v.name]
	if p == nil {
		return refuse(NotFound, "no permissions of user '%s' in vhost '%s'", u.name, v.name)
	}
	delete(u.permissions, v.name)
	s.forget(p)
	s.rightsChanged(u, v)
	return nil
}

func newTopicPermission(u *user, v *vhost, exchange, write, read string) (t *topicPermission, r *refusal) {
	t = &topicPermission{user: u, vhost: v, exchange: exchange, writeSource: write, readSource: read}
	expand := strings.NewReplacer("{username}", regexp.QuoteMeta(u.name), "{vhost}", regexp.QuoteMeta(v.name))
	if t.writePattern, r = newPattern(expand.Replace(write)); r != nil {
		return nil, r
	}
	if t.readPattern, r = newPattern(expand.Replace(read)); r != nil {
		return nil, r
	}
	return t, nil
}

func (s *State) putTopicPermission(c *PutTopicPermission) *refusal {
	u, v, r := s.userIn(c.User, c.VHost)
	if r != nil {
		return r
	}
	t, r := newTopicPermission(u, v, c.Exchange, c.Write, c.Read)
	if r != nil {
		return r
	}
	t.serial = s.nextSerial()
	if old := u.topics[v.name][t.exchange]; old != nil {
		s.forget(old)
	}
	t.attach()
	s.touch(t)
	s.rightsChanged(u, v)
	return nil
}

// attach makes a topic permission known to its user.
func (t *topicPermission) attach() {
	byExchange := t.user.topics[t.vhost.name]
	if byExchange == nil {
		byExchange = make(map[string]*topicPermission)
		t.user.topics[t.vhost.name] = byExchange
	}
	byExchange[t.exchange] = t
}

func (s *State) deleteTopicPermission(c *DeleteTopicPermission) *refusal {
	u, v, r := s.userIn(c.User, c.VHost)
	if r != nil {
		return r
	}
	byExchange := u.topics[v.name]
	t := byExchange[c.Exchange]
	switch {
	case c.AllExchanges && len(byExchange) > 0:
		s.forgetTopics(u, v.name)
	case !c.AllExchanges && t != nil:
		delete(byExchange, c.Exchange)
		s.forget(t)
		if len(byExchange) == 0 {
			delete(u.topics, v.name)
		}
	default:
		return refuse(NotFound, "no topic permissions of user '%s' in vhost '%s'", u.name, v.name)
	}
	s.rightsChanged(u, v)
	return nil
}

// forgetTopics removes all topic permissions of a user in a virtual host.
func (s *State) forgetTopics(u *user, vhost string) {
	byExchange := u.topics[vhost]
	for _, exchange := range slices.Sorted(maps.Keys(byExchange)) {
		s.forget(byExchange[exchange])
	}
	delete(u.topics, vhost)
}

// forgetPermissions removes what all users may do in a virtual host that is being deleted. It has no sessions any more.
func (s *State) forgetPermissions(v *vhost) {
	for _, u := range bySerial(s.users) {
		if p := u.permissions[v.name]; p != nil {
			delete(u.permissions, v.name)
			s.forget(p)
		}
		s.forgetTopics(u, v.name)
	}
}

// rightsIn is what a user may do in a virtual host; topics is nil where no topic exchange is narrowed. Before the first user was made nothing is checked.
func (s *State) rightsIn(u *user, v *vhost) (rights *permission, topics map[string]*topicPermission) {
	switch {
	case !s.usersInitialised:
		return &s.unrestricted, nil
	case u == nil || u.permissions[v.name] == nil:
		return &s.powerless, nil
	}
	return u.permissions[v.name], u.topics[v.name]
}

// rightsChanged tells the sessions of a user in a virtual host what he may do from now on. Consumers of queues that he may no longer read are cancelled.
func (s *State) rightsChanged(u *user, v *vhost) {
	for _, ses := range s.sessionsWhere(func(ses *session) bool { return ses.account == u && ses.vhost == v }) {
		s.attach(ses)
		if !ses.rights.read.every {
			s.cancelUnreadable(ses)
		}
	}
}

func (s *State) cancelUnreadable(ses *session) {
	for _, number := range slices.Sorted(maps.Keys(ses.channels)) {
		for _, c := range slices.Clone(ses.channels[number].consumers) {
			if s.isGone(c) || ses.rights.read.matches(c.queue.name) {
				continue // gone: with an auto-delete queue that the one before was the last consumer of
			}
			s.serverCancel(c)
			s.deleteIfUnused(c.queue)
		}
	}
}
