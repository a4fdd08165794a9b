package fsm

import (
	"cmp"
	"maps"
	"slices"
)

// UserView is a user as operators see it. Hash is a secret.
type UserView struct {
	Name                        string
	Hash, Algorithm             string // see PutUser
	Tags                        []string
	MaxConnections, MaxChannels int64 // NoLimit: none
	Connections, Channels       int   // open ones, on all nodes
}

// PermissionView is what a user may do in a virtual host: see PutPermission.
type PermissionView struct {
	VHost, User            string
	Configure, Write, Read string
}

// TopicPermissionView narrows what a user may do with a topic exchange: see PutTopicPermission.
type TopicPermissionView struct {
	VHost, User, Exchange string
	Write, Read           string
}

// VHostView is a virtual host as operators see it.
type VHostView struct {
	Name, Description         string
	DefaultQueueType          string
	Tags                      []string
	MaxConnections, MaxQueues int64 // NoLimit: none
	Exchanges, Queues         int   // with the default exchange
	Bindings                  int   // without those of the default exchange
	Connections, Channels     int
	Consumers                 int
}

// UsersInitialised tells whether the first user was made: until then nobody can log in.
func (s *State) UsersInitialised() bool { return s.usersInitialised }

// Users lists all, by name.
func (s *State) Users() []UserView {
	views := make([]UserView, 0, len(s.users))
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		views = append(views, s.users[name].view())
	}
	return views
}

// User returns one.
func (s *State) User(name string) (UserView, bool) {
	u := s.users[name]
	if u == nil {
		return UserView{}, false
	}
	return u.view(), true
}

func (u *user) view() UserView {
	return UserView{
		Name: u.name, Hash: u.hash, Algorithm: u.algorithm, Tags: slices.Clone(u.tags),
		MaxConnections: u.connectionsMax, MaxChannels: u.channelsMax, Connections: u.sessions, Channels: u.channels,
	}
}

// Permissions lists all, by virtual host and user.
func (s *State) Permissions() []PermissionView {
	var views []PermissionView
	//fsm:unordered sorted below
	for _, u := range s.users {
		//fsm:unordered sorted below
		for vhost, p := range u.permissions {
			views = append(views, PermissionView{
				VHost: vhost, User: u.name, Configure: p.configure.source, Write: p.write.source, Read: p.read.source,
			})
		}
	}
	slices.SortFunc(views, func(a, b PermissionView) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.User, b.User))
	})
	return views
}

// WriteRefused tells why a user may not publish to an exchange, which need not exist, in the words that refuse a command of his; "" = he may.
func (s *State) WriteRefused(vhost, user, exchange string) string {
	v := s.vhosts[vhost]
	if v == nil {
		return "" // his session is about to end
	}
	ses := session{user: user, vhost: v}
	ses.rights, _ = s.rightsIn(s.users[user], v)
	if r := ses.mayExchange(write, exchange); r != nil {
		return r.text
	}
	return ""
}

// TopicPermissions lists all, by virtual host, user and exchange.
func (s *State) TopicPermissions() []TopicPermissionView {
	var views []TopicPermissionView
	//fsm:unordered sorted below
	for _, u := range s.users {
		//fsm:unordered sorted below
		for vhost, byExchange := range u.topics {
			//fsm:unordered sorted below
			for exchange, t := range byExchange {
				views = append(views, TopicPermissionView{VHost: vhost, User: u.name, Exchange: exchange, Write: t.writeSource, Read: t.readSource})
			}
		}
	}
	slices.SortFunc(views, func(a, b TopicPermissionView) int {
		return cmp.Or(cmp.Compare(a.VHost, b.VHost), cmp.Compare(a.User, b.User), cmp.Compare(a.Exchange, b.Exchange))
	})
	return views
}

// VHosts lists all, by name.
func (s *State) VHosts() []VHostView {
	views := make([]VHostView, 0, len(s.vhosts))
	for _, name := range slices.Sorted(maps.Keys(s.vhosts)) {
		views = append(views, s.vhosts[name].view())
	}
	return views
}

// VHost returns one.
func (s *State) VHost(name string) (VHostView, bool) {
	v := s.vhosts[name]
	if v == nil {
		return VHostView{}, false
	}
	return v.view(), true
}

func (v *vhost) view() VHostView {
	return VHostView{
		Name: v.name, Description: v.description, DefaultQueueType: v.defaultQueueType, Tags: slices.Clone(v.tags),
		MaxConnections: v.connectionsMax, MaxQueues: v.queuesMax,
		Exchanges: len(v.exchanges) + 1, Queues: len(v.queues), Bindings: v.bindings,
		Connections: v.sessions, Channels: v.channels, Consumers: v.consumers,
	}
}
