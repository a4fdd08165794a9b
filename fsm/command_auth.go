package fsm

// The commands below are operators' (Ref.Conn 0). Each is answered by one Replied, whose Code and Text tell what was wrong, if anything.

// NoLimit stands for a limit that is not set. Any negative number means it.
const NoLimit int64 = -1

// EndSession closes a connection of any node, which its client is told with Forced and the reason. NotFound where the session is over.
type EndSession struct {
	Ref    Ref
	Node   string // of the session's origin, as SessionView.Origin has it
	Boot   uint64
	Conn   uint32
	Reason string
}

// PutVHost creates a virtual host or replaces what is known about it. PreconditionFailed where the name is empty.
type PutVHost struct {
	Ref              Ref
	Name             string
	Description      string
	DefaultQueueType string // "classic", "quorum" or "": the type of queues declared without one
	Creator          string // user who gets all permissions if the virtual host is new and the user exists; "" = nobody
	Tags             []string
}

// DeleteVHost ends the virtual host's sessions and removes all in it, and what users may do in it. NotFound.
type DeleteVHost struct {
	Ref  Ref
	Name string
}

// PutVHostLimits sets what a virtual host may have; NoLimit lifts a limit, 0 allows nothing. What is there already stays. NotFound.
type PutVHostLimits struct {
	Ref                       Ref
	VHost                     string
	MaxConnections, MaxQueues int64
}

// InitUsers makes the first user, tagged administrator and with all permissions on "/", if users were never made before; else it changes nothing. Until then
// nobody can log in, and nothing that sessions do is checked.
type InitUsers struct {
	Ref             Ref
	Name            string
	Hash, Algorithm string // see PutUser
}

// PutUser creates a user or replaces password and tags. PreconditionFailed where the name is empty.
type PutUser struct {
	Ref             Ref
	Name            string
	Hash, Algorithm string // of the password, opaque to the state machine; "" = no login with a password
	Tags            []string
}

// DeleteUser removes a user and what he may do, and ends his sessions. NotFound.
type DeleteUser struct {
	Ref  Ref
	Name string
}

// PutUserLimits sets what a user may have open; NoLimit lifts a limit, 0 allows nothing. What is open stays. NotFound.
type PutUserLimits struct {
	Ref                         Ref
	User                        string
	MaxConnections, MaxChannels int64
}

// PutPermission says which queues and exchanges of a virtual host a user may configure, write to and read from: regular expressions (RE2), found anywhere
// in the name, of at most PatternBytesMax; "" matches the empty name alone. NotFound, PreconditionFailed.
type PutPermission struct {
	Ref                    Ref
	VHost, User            string
	Configure, Write, Read string
}

// DeletePermission takes all access to a virtual host from a user. His sessions stay, and may do nothing in it. NotFound.
type DeletePermission struct {
	Ref         Ref
	VHost, User string
}

// PutTopicPermission narrows what a user may do with a topic exchange to routing keys: regular expressions as in PutPermission, in which {username} and
// {vhost} stand for themselves. NotFound, PreconditionFailed.
type PutTopicPermission struct {
	Ref                   Ref
	VHost, User, Exchange string
	Write, Read           string
}

// DeleteTopicPermission lifts that again, for one exchange or for all. NotFound where there was none.
type DeleteTopicPermission struct {
	Ref                   Ref
	VHost, User, Exchange string
	AllExchanges          bool
}

// PatternBytesMax bounds the regular expressions of permissions and policies.
const PatternBytesMax = 4 << 10
